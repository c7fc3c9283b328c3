"""System alerts told as stories on a time line, and their rules held against any story."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from router.routing import labels_of
from router.system import Backlog, CameraFact, Facts, Growth, SystemWatch, watchdog
from schemas.documents.routes import SystemAlerts, Watchdog
from schemas.messages import Alert

LIMITS = SystemAlerts()
S = 1000


class Story:
    """An installation of cameras of site `north`, looked at every two seconds."""

    def __init__(self, *cameras: str, expected: bool = False) -> None:
        self.now = 1_700_000_000_000
        self.begun = self.now
        self.facts = Facts(
            began_at=self.now, cameras={each: CameraFact("north", self.now, expected=expected) for each in cameras}
        )
        self.watch = SystemWatch()
        self.told: list[tuple[int, str, str, str]] = []
        self.alerts: list[Alert] = []

    def so(self, **facts: object) -> None:
        self.facts = replace(self.facts, **facts)

    def away(self, *cameras: str) -> None:
        self._are(cameras, offline_since=self.now)

    def back(self, *cameras: str) -> None:
        self._are(cameras, offline_since=None, seen_at=self.now)

    def frozen(self, *cameras: str) -> None:
        self._are(cameras, frozen_since=self.now)

    def moves(self, *cameras: str) -> None:
        self._are(cameras, frozen_since=None)

    def passes(self, seconds: int) -> None:
        for _ in range(seconds // 2):
            self.now += 2 * S
            for alert in self.watch.look(self.facts, LIMITS, self.now):
                self.alerts.append(alert)
                self.told.append(((self.now - self.begun) // S, alert.label, alert.camera_id, alert.phase))

    def another_observer(self) -> None:
        """Another router takes over: it knows what the topic says, and of no camera yet."""
        over = {alert.alert_id for alert in self.alerts if alert.phase == "resolved"}
        self.watch = SystemWatch([each for each in self.alerts if each.alert_id not in over])
        blank = {name: replace(fact, seen_at=None, offline_since=None) for name, fact in self.facts.cameras.items()}
        self.so(cameras=blank, began_at=self.now)

    def _are(self, cameras: tuple[str, ...], **facts: object) -> None:
        self.so(cameras={**self.facts.cameras, **{n: replace(self.facts.cameras[n], **facts) for n in cameras}})


def test_a_camera_away_for_thirty_seconds_is_told_and_resolves_when_it_has_been_back_for_ten() -> None:
    story = Story("gate", "yard")
    story.passes(10)
    story.away("gate")
    story.passes(40)
    story.back("gate")
    story.passes(40)
    assert story.told == [(40, "camera_offline", "gate", "opened"), (60, "camera_offline", "gate", "resolved")]
    opened, resolved = story.alerts
    assert opened.alert_id == resolved.alert_id
    assert labels_of(opened, "north") == {
        "kind": "system",
        "site": "north",
        "camera": "gate",
        "roi": "system/camera",
        "label": "camera_offline",
        "severity": "warning",
    }


def test_a_camera_that_comes_and_goes_within_the_limits_is_not_told() -> None:
    story = Story("gate", "yard")
    for _ in range(10):
        story.away("gate")
        story.passes(20)
        story.back("gate")
        story.passes(4)
    assert story.told == []


def test_an_alert_stays_open_over_short_returns() -> None:
    story = Story("gate", "yard")
    story.away("gate")
    story.passes(40)
    for _ in range(5):
        story.back("gate")
        story.passes(6)
        story.away("gate")
        story.passes(6)
    assert [phase for *_, phase in story.told] == ["opened"]


def test_a_site_that_is_down_is_one_alert_and_its_cameras_are_held_until_it_is_up() -> None:
    story = Story("gate", "yard", "dock")
    story.away("gate")
    story.passes(4)
    story.away("yard", "dock")
    story.passes(60)
    story.back("yard", "dock")
    story.passes(40)
    assert story.told == [
        (30, "site_offline", "north", "opened"),
        (74, "site_offline", "north", "resolved"),
        (76, "camera_offline", "gate", "opened"),
    ]


def test_a_camera_told_before_its_site_went_down_stays_open() -> None:
    story = Story("gate", "yard")
    story.away("gate")
    story.passes(40)
    story.away("yard")
    story.passes(60)
    story.back("gate", "yard")
    story.passes(30)
    assert [(label, subject, phase) for _, label, subject, phase in story.told] == [
        ("camera_offline", "gate", "opened"),
        ("site_offline", "north", "opened"),
        ("camera_offline", "gate", "resolved"),
        ("site_offline", "north", "resolved"),
    ]


def test_a_frozen_camera_is_told_at_once_and_resolves_when_it_has_moved_for_ten_seconds() -> None:
    story = Story("gate", "yard")
    story.frozen("gate")
    story.passes(20)
    story.moves("gate")
    story.passes(6)
    story.frozen("gate")
    story.passes(10)
    story.moves("gate")
    story.passes(20)
    assert story.told == [(2, "camera_frozen", "gate", "opened"), (46, "camera_frozen", "gate", "resolved")]
    assert [(each.opened_at - each.first_hit_at) // S for each in story.alerts] == [2, 2]


def test_while_a_site_is_down_no_frozen_camera_is_told_and_one_told_before_stays_open() -> None:
    story = Story("gate", "yard", "dock")
    story.frozen("gate")
    story.passes(2)
    story.away("gate", "yard", "dock")
    story.passes(40)
    story.frozen("yard")
    story.passes(20)
    story.back("gate", "yard", "dock")
    story.passes(20)
    assert [(label, subject, phase) for _, label, subject, phase in story.told] == [
        ("camera_frozen", "gate", "opened"),
        ("site_offline", "north", "opened"),
        ("site_offline", "north", "resolved"),
        ("camera_frozen", "yard", "opened"),
    ]


def test_the_only_camera_of_a_site_is_told_as_a_camera() -> None:
    story = Story("gate")
    story.away("gate")
    story.passes(40)
    assert [told[1] for told in story.told] == ["camera_offline"]


def test_a_camera_that_should_send_and_falls_silent_is_offline_and_one_whose_file_ended_is_not() -> None:
    for expected, labels in ((True, ["camera_offline"]), (False, [])):
        story = Story("gate", "yard", expected=expected)
        for _ in range(30):
            story.back("yard")
            story.passes(2)
        assert [told[1] for told in story.told] == labels


def test_while_inference_is_behind_silent_cameras_are_not_blamed() -> None:
    story = Story("gate", "yard", expected=True)
    for age in range(0, 90, 2):
        story.so(ages={"inference": age * S})
        story.passes(2)
    assert [told[1:] for told in story.told] == [("lag", "inference", "opened")]


def test_another_observer_goes_on_with_what_is_open() -> None:
    story = Story("gate", "yard")
    story.away("gate")
    story.passes(40)
    story.another_observer()
    story.passes(60)
    assert [phase for *_, phase in story.told] == ["opened"]
    story.back("gate", "yard")
    story.passes(20)
    assert [phase for *_, phase in story.told] == ["opened", "resolved"]
    assert len({alert.alert_id for alert in story.alerts}) == 1


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        ({"ages": {"rules": 60_000}}, ("lag", "rules")),
        ({"dead_letters": 11}, ("dead_letters_growing", "dead-letters")),
        ({"breakers": frozenset({"desk"})}, ("breaker_open", "desk")),
        ({"refused": True}, ("reload_refused", "routes.yaml")),
    ],
)
def test_each_trouble_is_told_and_resolves(fact: dict[str, object], told: tuple[str, str]) -> None:
    story = Story("gate", "yard")
    story.so(**fact)
    story.passes(20)
    story.so(ages={}, dead_letters=0, breakers=frozenset(), refused=False)
    story.passes(20)
    assert [each[1:] for each in story.told] == [(*told, "opened"), (*told, "resolved")]


def test_a_lag_about_its_limit_is_one_alert() -> None:
    story = Story()
    for age in (61, 59, 61, 59, 61, 31) * 5:
        story.so(ages={"rules": age * S})
        story.passes(12)
    assert [phase for *_, phase in story.told] == ["opened"]


STEPS = st.lists(
    st.tuples(
        st.integers(1, 30),
        st.sets(st.sampled_from(["gate", "yard", "dock"])),
        st.sets(st.sampled_from(["desk", "siren"])),
        st.booleans(),
    ),
    max_size=30,
)


@given(STEPS)
def test_whatever_happens_each_thing_has_one_open_alert_and_it_ends_when_all_is_well(
    steps: list[tuple[int, set[str], set[str], bool]],
) -> None:
    story = Story("gate", "yard", "dock")
    for seconds, away, breakers, refused in steps:
        here = {"gate", "yard", "dock"} - away
        story.away(*(name for name in away if story.facts.cameras[name].offline_since is None))
        story.back(*here)
        story.so(breakers=frozenset(breakers), refused=refused)
        story.passes(2 * seconds)
    story.back("gate", "yard", "dock")
    story.so(breakers=frozenset(), refused=False)
    story.passes(20)
    running: dict[tuple[str, str], str] = {}
    site_down = False
    for alert in story.alerts:
        key = (alert.label, alert.camera_id)
        if alert.phase == "opened":
            assert key not in running
            running[key] = alert.alert_id
            assert not (alert.label == "camera_offline" and site_down), "held while the site is down"
        else:
            assert running.pop(key) == alert.alert_id
            assert alert.resolved_at is not None
            assert alert.opened_at <= alert.last_hit_at <= alert.resolved_at
        site_down = ("site_offline", "north") in running
    assert running == {}


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Madrid")).timestamp() * S)


def test_the_watchdog_is_told_once_a_day_at_its_hour_in_its_zone() -> None:
    document = Watchdog(at="08:00", timezone="Europe/Madrid")
    last: int | None = None
    told = []
    for minute in range(4 * 24 * 60):
        now = at("2026-10-23T00:00") + minute * 60_000  # the clocks go back on the 25th
        if phases := watchdog(document, last, now):
            opened, resolved = phases
            last = opened.opened_at
            told.append(opened.opened_at)
            assert (opened.severity, resolved.phase) == ("info", "resolved")
    assert told == [at(f"2026-10-{day}T08:00") for day in (23, 24, 25, 26)]


def test_a_router_that_begins_in_the_afternoon_tells_no_watchdog_and_one_that_is_late_a_little_does() -> None:
    document = Watchdog(at="23:58", timezone="Europe/Madrid")
    assert watchdog(document, None, at("2026-10-23T15:00")) is None
    late = watchdog(document, None, at("2026-10-24T00:03"))
    assert late is not None
    assert late[0].opened_at == at("2026-10-23T23:58")
    assert watchdog(document, late[0].opened_at, at("2026-10-24T00:03")) is None
    assert late == watchdog(document, None, at("2026-10-24T00:05")), "two that tell it tell the same"


def test_a_backlog_is_as_old_as_the_first_end_that_is_not_done() -> None:
    backlog = Backlog()
    assert backlog.look({0: 10, 1: 5}, {0: 10, 1: 5}, 0) == 0
    assert backlog.look({0: 20, 1: 5}, {0: 10, 1: 5}, 1000) == 0
    assert backlog.look({0: 30, 1: 5}, {0: 10, 1: 5}, 3000) == 2000
    assert backlog.look({0: 30, 1: 5}, {0: 20, 1: 5}, 4000) == 1000, "the first ten are done"
    assert backlog.look({0: 30, 1: 5}, {0: 30, 1: 5}, 5000) == 0
    assert Backlog().look({0: 30}, {}, 5000) == 0, "a stage that never ran here is not judged"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=3000))
def test_a_backlog_never_says_more_than_since_it_began(steps: list[tuple[int, int]]) -> None:
    backlog, end, done = Backlog(), 0, 0
    for now, (written, finished) in enumerate(steps):
        end += written
        done = min(end, done + finished)
        age = backlog.look({0: end}, {0: done}, now)
        assert 0 <= age <= now
        if done == end:
            assert age == 0


def test_growth_counts_what_came_within_the_last_minute() -> None:
    growth = Growth(60_000)
    assert [growth.look(count, second * S) for count, second in ((500, 0), (505, 20), (512, 60), (512, 90))] == [
        0,
        5,
        12,
        7,
    ]
