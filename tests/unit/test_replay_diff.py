"""Two judgements held against one another, beside a slow and plain way of saying what differs."""

from collections import Counter
from collections.abc import Sequence
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from replay.diff import KINDS, Difference, changes, compare, last_phases
from replay.judging import CameraRun, Timeline
from replay.spans import Span
from schemas.messages import Alert, DetectionEvent
from tests.support.alerts import OPENED_AT, opened, resolved
from tests.support.histories import CAMERA, START, histories, timelines
from tests.support.reference import Published, reference_alerts
from tests.support.replay import brief_timelines, busy_history, busy_timeline, timeline_of

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
EVER = Span(0, 1 << 60)


def judged(documents: Timeline, history: Sequence[DetectionEvent], span: Span) -> list[Alert]:
    """One side's alerts as the replay gives them."""
    run = CameraRun(CAMERA, documents, span, None)
    run.feed(history)
    return last_phases(run.alerts, span)


def slowly_judged(timeline: list[Published], history: Sequence[DetectionEvent], span: Span) -> list[Alert]:
    """The same by the reference: every phase of the whole history, of those in the span the last of each alert."""
    phases = []
    for phase in reference_alerts(history, timeline):
        if span.begin <= (phase.opened_at if phase.phase == "opened" else phase.resolved_at) < span.end:
            phases.append(phase)
    openings = [phase for phase in phases if phase.phase == "opened"]
    last = []
    for opening in openings:
        resolves = [each for each in phases if each.phase == "resolved" and each.alert_id == opening.alert_id]
        last.append(resolves[0] if resolves else opening)
    return last


def slowly_paired(before: list[Alert], after: list[Alert]) -> list[tuple[str, Alert | None, Alert | None]]:
    """What became of each alert, by looking at every pair of alerts again and again."""
    found: list[tuple[str, Alert | None, Alert | None]] = []
    ours, theirs = list(before), list(after)

    def take(meets) -> bool:  # type: ignore[no-untyped-def]
        candidates = [
            (one.opened_at, other.opened_at, number, place)
            for number, one in enumerate(ours)
            for place, other in enumerate(theirs)
            if (one.camera_id, one.roi, one.label) == (other.camera_id, other.roi, other.label) and meets(one, other)
        ]
        if not candidates:
            return False
        _, _, number, place = min(candidates)
        one, other = ours.pop(number), theirs.pop(place)
        equal = (one.opened_at, one.resolved_at, one.severity) == (other.opened_at, other.resolved_at, other.severity)
        found.append(("same" if equal else "changed", one, other))
        return True

    while take(lambda one, other: one.opened_at == other.opened_at):
        pass
    while take(lambda one, other: not_apart(one, other)):
        pass
    return found + [("removed", one, None) for one in ours] + [("added", None, other) for other in theirs]


def not_apart(one: Alert, other: Alert) -> bool:
    """Whether some instant lies in both stays, first hit to resolve."""
    ends = [each.resolved_at for each in (one, other) if each.resolved_at is not None]
    return not ends or max(one.first_hit_at, other.first_hit_at) <= min(ends)


def as_list(differences: Sequence[Difference]) -> list[tuple[str, Alert | None, Alert | None]]:
    return [(each.kind, each.before, each.after) for each in differences]


def in_any_order(pairs: list[tuple[str, Alert | None, Alert | None]]) -> list[str]:
    return sorted(map(str, pairs))


def assert_differs_as_slowly(one: list[Published], other: list[Published], history: list[DetectionEvent]) -> int:
    instants = [each.captured_at for each in history]
    span = Span(min(instants) + 1000, max(max(instants) - 2000, min(instants) + 1001))
    before, after = (judged(timeline_of(each), history, span) for each in (one, other))
    slowly = slowly_paired(slowly_judged(one, history, span), slowly_judged(other, history, span))
    assert in_any_order(as_list(compare(before, after))) == in_any_order(slowly)
    return len({kind for kind, _, _ in slowly})


@FEW
@given(timelines(), timelines(), histories())
def test_two_documents_differ_on_a_history_as_the_slow_reference_says(
    one: list[Published], other: list[Published], history: list[DetectionEvent]
) -> None:
    assert_differs_as_slowly(one, other, history)


def test_they_differ_so_where_much_happens() -> None:
    kinds = []
    for seed in range(60):
        dice = Random(seed)
        history = busy_history(dice)
        kinds.append(assert_differs_as_slowly(busy_timeline(dice), busy_timeline(dice), history))
    assert max(kinds) == len(KINDS), "no history had every kind of difference"


@st.composite
def alert_lists(draw: st.DrawFn) -> list[Alert]:
    """Alerts of a few subjects with stays of any length, also across one another, some still open."""
    drawn = []
    for number in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, 8)) * 1000
        alert = opened(at=OPENED_AT + at, roi=draw(st.sampled_from(("zone", "belt"))))
        alert = replace(
            alert,
            alert_id=f"{draw(st.integers(0, 9))}-{number}",
            first_hit_at=alert.opened_at - draw(st.sampled_from((0, 1000, 5000))),
            severity=draw(st.sampled_from(("warning", "critical"))),
        )
        drawn.append(resolved(alert, after_ms=draw(st.integers(1, 6)) * 1000) if draw(st.booleans()) else alert)
    return last_phases(drawn, EVER)


@given(alert_lists(), alert_lists())
def test_every_alert_appears_once_and_pairs_meet(before: list[Alert], after: list[Alert]) -> None:
    differences = compare(before, after)
    assert sorted(each.before.alert_id for each in differences if each.before) == sorted(a.alert_id for a in before)
    assert sorted(each.after.alert_id for each in differences if each.after) == sorted(a.alert_id for a in after)
    for each in differences:
        one, other = each.before, each.after
        if one is None or other is None:
            assert each.kind == ("added" if one is None else "removed")
            assert not each.identical
            continue
        assert (one.camera_id, one.roi, one.label) == (other.camera_id, other.roi, other.label)
        assert one.opened_at == other.opened_at or not_apart(one, other)
        assert bool(changes(each)) == (each.kind == "changed")
    assert [each.at for each in differences] == sorted(each.at for each in differences)


@given(alert_lists(), alert_lists())
def test_alerts_are_paired_as_a_plain_search_pairs_them(before: list[Alert], after: list[Alert]) -> None:
    assert in_any_order(as_list(compare(before, after))) == in_any_order(slowly_paired(before, after))


@FEW
@given(brief_timelines(), brief_timelines(), st.integers(0, 10_000))
def test_seen_from_the_other_side_added_is_removed_and_the_rest_stays(
    one: list[Published], other: list[Published], seed: int
) -> None:
    history = busy_history(Random(seed))
    span = Span(START, START + 10**7)
    before, after = (judged(timeline_of(each), history, span) for each in (one, other))
    there, back = (Counter(each.kind for each in compare(*sides)) for sides in ((before, after), (after, before)))
    assert (there["added"], there["removed"]) == (back["removed"], back["added"])
    assert (there["same"], there["changed"]) == (back["same"], back["changed"])


@given(alert_lists())
def test_alerts_held_against_themselves_are_the_same_and_identical(alerts: list[Alert]) -> None:
    assert all(each.kind == "same" and each.identical for each in compare(alerts, alerts))


def test_the_last_phase_counts_doubles_once_and_only_what_opened_within_the_span() -> None:
    early, late = opened(0), opened(1)
    span = Span(late.opened_at, late.opened_at + 60_000)
    sent = [early, resolved(early), late, late, resolved(late), resolved(late), late]
    assert last_phases(sent, span) == [resolved(late)]


def test_what_changed_is_said_in_words() -> None:
    before = resolved(opened(), after_ms=5000)
    later = replace(before, opened_at=before.opened_at + 400, resolved_at=before.opened_at + 4000, severity="info")
    (difference,) = compare([before], [later])
    assert changes(difference) == ("opened 0.4 s later", "resolved 1 s earlier", "severity critical → info")
    (difference,) = compare([before], [opened()])
    assert changes(difference) == ("not resolved any more",)
    (difference,) = compare([opened()], [before])
    assert changes(difference) == ("now resolved",)


def test_two_alerts_of_one_instant_find_one_partner_each() -> None:
    """Recorded alerts of two revisions may have opened at the same instant."""
    one, twin = opened(), replace(opened(), alert_id="another", roi_revision="f" * 16)
    (same, alone) = compare([one], [one, twin])
    assert (same.kind, alone.kind, alone.after) == ("same", "added", twin)
    assert [each.kind for each in compare([one, twin], [one])] == ["same", "removed"]


def test_the_name_of_revision_and_model_do_not_make_a_difference_but_evidence_does() -> None:
    one = resolved(opened())
    renamed = replace(one, alert_id="x", roi_revision="f" * 16, model=replace(one.model, version="2"))
    (difference,) = compare([one], [renamed])
    assert (difference.kind, difference.identical) == ("same", True)
    unsure = replace(one, evidence=replace(one.evidence, confidence=0.3))
    (difference,) = compare([one], [unsure])
    assert (difference.kind, difference.identical) == ("same", False)
