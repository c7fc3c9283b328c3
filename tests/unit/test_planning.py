"""What a sink is told and when: told as stories on a time line, and as laws that hold for any story."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from router.planning import Plan, Planner
from router.routing import Leg, Terms
from router.sinks import Notice
from schemas.codec import encode
from schemas.documents.routes import Flood
from schemas.effective import ActiveRange
from schemas.messages import Alert
from tests.support.alerts import OPENED_AT, opened, resolved

T = OPENED_AT
SECOND = 1000
MINUTE = 60_000


def notice(alert: Alert, severity: str = "warning") -> Notice:
    alert = replace(alert, severity=severity)
    return Notice(alert, encode(alert))


def leg(**terms: Any) -> Leg:
    return Leg("desk", "route", Terms(**terms))


def kinds(plan: Plan) -> list[str]:
    return [each.kind for each in plan.tell]


def ids(plan: Plan) -> list[list[str]]:
    return [[member.delivery_id for member in each.members] for each in plan.tell]


def test_without_terms_every_phase_is_told_at_once_and_alone() -> None:
    planner, way = Planner(), leg()
    first = notice(opened())
    assert planner.take(first, way, T).tell == [first]
    planner.ended(first, way, T + 5)
    last = notice(resolved(opened()))
    assert planner.take(last, way, T + 6000).tell == [last]
    assert planner.due(T + MINUTE * 600) == Plan([], [])


def test_the_resolve_waits_until_the_company_in_which_its_opening_is_told_has_ended() -> None:
    planner, way = Planner(), leg(group_wait_ms=SECOND)
    first, other, last = notice(opened(1)), notice(opened(2)), notice(resolved(opened(1)))
    planner.take(first, way, T)
    planner.take(other, way, T)
    (together,) = planner.due(T + SECOND).tell
    assert planner.take(last, way, T + SECOND) == Plan([], [])
    assert planner.due(T + MINUTE).tell == []
    planner.ended(together, way, T + MINUTE)
    assert planner.due(T + MINUTE + SECOND).tell == [last]


def test_told_alone_both_phases_go_on_in_the_lane_of_their_alert() -> None:
    planner, way = Planner(), leg(repeat_every_ms=MINUTE)
    first, last = notice(opened()), notice(resolved(opened()))
    assert planner.take(first, way, T).tell == [first]
    assert planner.take(last, way, T + 1).tell == [last]
    assert first.lane == last.lane
    planner.ended(first, way, T + 2)
    planner.ended(last, way, T + 3)
    assert planner.due(T + 10 * MINUTE) == Plan([], []), "an alert that is over is not told again"


def test_alerts_of_one_group_are_told_together_after_the_wait_and_critical_ones_alone_at_once() -> None:
    planner, way = Planner(), leg(group_wait_ms=10 * SECOND, group_by=("camera",))
    yard = [notice(opened(number, camera="yard")) for number in range(2)]
    gate = notice(opened(7, camera="gate"))
    urgent = notice(opened(8, camera="yard"), "critical")
    assert planner.take(yard[0], way, T).tell == []
    assert planner.take(gate, way, T + 2 * SECOND).tell == []
    assert planner.take(urgent, way, T + 3 * SECOND).tell == [urgent]
    assert planner.take(yard[1], way, T + 9 * SECOND).tell == []
    assert planner.due(T + 10 * SECOND - 1).tell == []
    plan = planner.due(T + 10 * SECOND)
    assert (kinds(plan), ids(plan)) == (["alerts.grouped"], [[each.delivery_id for each in yard]])
    assert planner.due(T + 12 * SECOND).tell == [gate]


def test_the_same_company_has_the_same_id_and_another_company_another() -> None:
    one, two, three = (notice(opened(number)) for number in range(3))
    together = one.with_company([two], folded=False)
    assert together.delivery_id == two.with_company([one], folded=False).delivery_id
    assert together.delivery_id != one.with_company([three], folded=False).delivery_id
    assert "." not in together.delivery_id
    assert together.lane == together.delivery_id
    assert [member.delivery_id for member in together.members] == [one.delivery_id, two.delivery_id]


def test_an_alert_that_resolves_while_its_opening_waits_comes_in_the_same_company() -> None:
    planner, way = Planner(), leg(group_wait_ms=10 * SECOND)
    first, last = notice(opened()), notice(resolved(opened()))
    planner.take(first, way, T)
    planner.take(last, way, T + 5 * SECOND)
    (together,) = planner.due(T + 10 * SECOND).tell
    assert [member.delivery_id for member in together.members] == [first.delivery_id, last.delivery_id]


def test_an_open_alert_is_told_again_at_every_interval_after_its_opening_until_it_resolves() -> None:
    planner, way = Planner(), leg(repeat_every_ms=10 * MINUTE)
    first = notice(opened())
    planner.take(first, way, T)
    planner.ended(first, way, T + 500)
    assert planner.due(T + 10 * MINUTE - 1).tell == []
    (again,) = planner.due(T + 10 * MINUTE).tell
    assert (again.kind, again.delivery_id) == ("alert.repeated", f"{first.delivery_id}_r1")
    planner.ended(again, way, T + 10 * MINUTE + 5)
    assert planner.due(T + 20 * MINUTE - 1).tell == []
    # A router that began meanwhile tells the same one under the same id.
    other = Planner()
    other.know_open(first, way, T + 15 * MINUTE, silenced=False)
    assert [each.delivery_id for each in other.due(T + 20 * MINUTE).tell] == [f"{first.delivery_id}_r2"]
    planner.take(notice(resolved(opened())), way, T + 21 * MINUTE)
    assert planner.due(T + 60 * MINUTE).tell == []


def test_what_a_silence_holds_is_told_when_it_ends_if_the_alert_is_still_open() -> None:
    until = T + 5 * MINUTE
    planner, way = Planner(lambda _notice, now: now < until), leg()
    staying, gone = notice(opened(1)), notice(opened(2))
    assert planner.take(staying, way, T) == Plan([], [staying])
    assert planner.take(gone, way, T) == Plan([], [gone])
    over = notice(resolved(opened(2)))
    assert planner.take(over, way, T + MINUTE) == Plan([], [over])
    assert planner.due(until - 1) == Plan([], [])
    assert planner.due(until) == Plan([staying], [])


def test_the_resolve_of_an_alert_that_was_told_is_told_in_a_silence_too() -> None:
    planner, way = Planner(lambda _notice, now: now > T + MINUTE), leg()
    first, last = notice(opened()), notice(resolved(opened()))
    planner.ended(planner.take(first, way, T).tell[0], way, T + 1)
    assert planner.take(last, way, T + 2 * MINUTE).tell == [last]


def test_outside_its_times_a_route_waits_and_inside_a_mute_too() -> None:
    midnight = T - T % 86_400_000
    day = ActiveRange((0, 1, 2, 3, 4, 5, 6), 6 * 60, 22 * 60, "UTC")
    for way in (leg(active=(day,)), leg(mute=(replace(day, start_minute=22 * 60, end_minute=6 * 60),))):
        planner = Planner()
        alert = notice(opened(at=midnight + MINUTE))
        assert planner.take(alert, way, midnight + MINUTE).kept_silent == [alert]
        assert planner.due(midnight + 6 * 60 * MINUTE - 1).tell == []
        assert planner.due(midnight + 6 * 60 * MINUTE).tell == [alert]


def test_resolves_are_not_told_where_nobody_asked_for_them() -> None:
    planner, way = Planner(), leg(send_resolved=False)
    first, last = notice(opened()), notice(resolved(opened()))
    planner.ended(planner.take(first, way, T).tell[0], way, T)
    assert planner.take(last, way, T + 1) == Plan([], [last])


def test_a_flood_folds_all_but_critical_alerts_into_one_summary_a_minute() -> None:
    flood = Flood(above=10, below=5, within_seconds=600, summary_every_seconds=60)
    planner, way = Planner(), leg(flood=flood)
    alone = []
    for number in range(10):
        alone += planner.take(notice(opened(number)), way, T + number * SECOND).tell
    assert len(alone) == 10
    folded = [notice(opened(number)) for number in range(10, 40)]
    for number, each in enumerate(folded):
        assert planner.take(each, way, T + (10 + number) * SECOND).tell == []
    urgent = notice(opened(99), "critical")
    assert planner.take(urgent, way, T + 45 * SECOND).tell == [urgent]
    plan = planner.due(T + 70 * SECOND)
    assert kinds(plan) == ["alerts.summary"]
    assert ids(plan) == [[each.delivery_id for each in folded]]
    # Ten minutes later fewer than five of the last ten minutes are left: alerts are told one by one again.
    planner.ended(plan.tell[0], way, T + 71 * SECOND)
    later = notice(opened(100))
    assert planner.take(later, way, T + 12 * MINUTE).tell == [later]


def test_who_loses_a_partition_lets_go_of_it_and_tells_the_rest_of_the_company_after_all() -> None:
    planner, way = Planner(), leg(group_wait_ms=SECOND, group_by=())
    ours, theirs = notice(opened(1, camera="ours")), notice(opened(2, camera="theirs"))
    planner.take(ours, way, T)
    planner.take(theirs, way, T)
    assert len(planner.due(T + SECOND).tell) == 1
    planner.forget(lambda each: each.alert.camera_id == "theirs")
    assert planner.due(T + SECOND).tell == [ours]
    waiting = notice(opened(3, camera="theirs"))
    planner.take(waiting, way, T)
    planner.forget(lambda each: each.alert.camera_id == "theirs")
    assert planner.due(T + MINUTE) == Plan([], [])


TERMS = st.builds(
    Terms,
    send_resolved=st.booleans(),
    repeat_every_ms=st.sampled_from([None, None, 10 * SECOND]),
    group_by=st.sampled_from([(), ("camera",)]),
    group_wait_ms=st.sampled_from([0, 0, 5 * SECOND]),
    flood=st.sampled_from([None, Flood(above=2, below=1, within_seconds=20, summary_every_seconds=7)]),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["open", "resolve", "end", "end", "wait"]), st.integers(0, 5)), min_size=1, max_size=60
)


@settings(max_examples=300)
@given(TERMS, STEPS, st.integers(0, 40), st.sampled_from(["warning", "critical"]))
def test_every_phase_comes_out_once_and_those_of_an_alert_in_their_order(
    terms: Terms, steps: list[tuple[str, int]], silent_until: int, severity: str
) -> None:
    planner = Planner(lambda _notice, now: now < T + silent_until * SECOND)
    way = Leg("desk", "route", terms)
    now = T
    under_way: list[Notice] = []
    told: list[str] = []
    silent: list[str] = []
    taken: Counter[str] = Counter()
    open_now: dict[int, Alert] = {}

    def follow(plan: Plan) -> None:
        for each in plan.tell:
            names = {member.alert.alert_id for member in each.members}
            for other in under_way:
                both = names & {member.alert.alert_id for member in other.members}
                assert not both or each.lane == other.lane, "two notices of one alert at once"
            under_way.append(each)
            if severity == "critical":
                assert len(each.members) == 1, "a critical alert waits for no company"
            told.extend(member.delivery_id for member in each.members)
        silent.extend(each.delivery_id for each in plan.kept_silent)

    for number, (what, which) in enumerate(steps):
        if what == "open" and which not in open_now:
            open_now[which] = opened(number, camera=f"cam{which}", at=now)
            first = notice(open_now[which], severity)
            taken[first.delivery_id] += 1
            follow(planner.take(first, way, now))
        elif what == "resolve" and which in open_now:
            last = notice(resolved(open_now.pop(which), after_ms=1), severity)
            taken[last.delivery_id] += 1
            follow(planner.take(last, way, now))
        elif what == "end" and under_way:
            follow(planner.ended(under_way.pop(which % len(under_way)), way, now))
        elif what == "wait":
            now += (which + 1) * SECOND
            follow(planner.due(now))
    for _ in range(20):  # everybody answers, and time goes on until nothing is left but repeats
        now += 60 * SECOND
        follow(planner.due(now))
        while under_way:
            follow(planner.ended(under_way.pop(), way, now))
    firsts = Counter(each for each in told if "_r" not in each)
    assert all(count == 1 for count in firsts.values())
    unasked = {each for each in taken if each not in firsts}
    assert unasked <= set(silent), "a phase was lost"
    for each in firsts:
        if each.endswith("_1"):
            before = f"{each[:-2]}_0"
            assert before not in firsts or told.index(before) < told.index(each)
