"""A span judged again: what must hold whatever was seen, whatever the documents say and however the span is cut."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from replay.judging import BelowFloor, CameraRun, Outcome, Timeline, instant_of
from replay.run import Side, judge
from replay.spans import Span
from schemas.codec import encode
from schemas.effective import CameraRules, Point
from schemas.messages import Alert, DetectionEvent
from tests.support.histories import (
    CAMERA,
    SQUARE,
    START,
    documents,
    histories,
    pixels,
    published,
    roi,
    rois,
    rules,
    seen,
    timelines,
)
from tests.support.histories import event as event_at
from tests.support.reference import Published, is_active
from tests.support.replay import MemorySource, busy_history, busy_timeline, timeline_of

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
EVER = Span(0, 1 << 60)


def judged(source: MemorySource, span: Span, timelines: dict[str, Timeline]) -> dict[str, Outcome]:
    """What one side makes of a span of the source, as the commands ask for it."""
    (judgement,) = judge(source, span, [Side("one", timelines)])
    return judgement.outcomes


def outcome(timeline: Timeline, history: list[DetectionEvent], span: Span = EVER) -> Outcome:
    """One camera, read whole."""
    run = CameraRun(CAMERA, timeline, span, None)
    run.feed(history)
    return run.outcome()


def on_the_wire(alerts: tuple[Alert, ...]) -> list[bytes]:
    return [encode(alert) for alert in alerts]


def assert_pieces_are_the_whole(timeline: list[Published], history: list[DetectionEvent], cuts: list[int]) -> int:
    source = MemorySource(history)
    sides = {CAMERA: timeline_of(timeline)}

    def alerts(begin: int, end: int) -> tuple[Alert, ...]:
        outcomes = judged(source, Span(begin, end), sides)
        return outcomes[CAMERA].alerts if outcomes else ()

    pieces = [alert for begin, end in pairwise(cuts) for alert in alerts(begin, end)]
    whole = alerts(cuts[0], cuts[-1])
    # Phases come in the order of the events that caused them; two pieces tell them apart by their instants.
    assert sorted(on_the_wire(tuple(pieces))) == sorted(on_the_wire(whole))
    return len(whole)


@FEW
@given(timelines(), histories(), st.data())
def test_a_span_judged_in_pieces_gives_the_alerts_of_the_whole(
    timeline: list[Published], history: list[DetectionEvent], data: st.DataObject
) -> None:
    around = st.sampled_from([each.captured_at for each in history]).flatmap(
        lambda at: st.integers(-3, 3).map(lambda by: at + by)
    )
    cuts = data.draw(st.lists(around, min_size=2, max_size=5, unique=True).map(sorted))
    assert_pieces_are_the_whole(timeline, history, cuts)


def test_it_does_so_where_much_happens() -> None:
    alerts = 0
    for seed in range(150):
        dice = Random(seed)
        history = busy_history(dice)
        instants = sorted({each.captured_at for each in history})
        cuts = sorted({dice.choice(instants) + dice.choice((-1, 0, 1, 400)) for _ in range(5)})
        alerts += assert_pieces_are_the_whole(busy_timeline(dice), history, cuts)
    assert alerts > 500


def test_an_alert_that_a_later_revision_closes_within_the_span_is_closed_there() -> None:
    """The revision shortens the time to resolve, so that the alert was over before the event that told."""
    slow, swift = roi(confirm_hits=1, resolve_after_ms=10_000), roi(confirm_hits=1, resolve_after_ms=2000)
    timeline = [published(rules(slow)), published(rules(swift), START + 6000)]
    history = [event_at(0), event_at(1000, seen()), event_at(4000), event_at(5000), event_at(6000), event_at(7000)]
    source = MemorySource(history)
    outcomes = judged(source, Span(START, START + 4500), {CAMERA: timeline_of(timeline)})
    assert [(each.seq, instant_of(each) - START) for each in outcomes[CAMERA].alerts] == [(0, 1000), (1, 3000)]


@FEW
@given(timelines(), st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_an_event_given_twice_changes_nothing(timeline: list[Published], seed: int, dice: Random) -> None:
    """At once or later, as inference sends events again after it was killed."""
    history = busy_history(Random(seed))
    again: list[DetectionEvent] = []
    for each in history:
        again.append(each)
        if dice.random() < 0.2:
            again += again[-dice.randint(1, 20) :]
    once, twice = (outcome(timeline_of(timeline), events) for events in (history, again))
    assert on_the_wire(once.alerts) == on_the_wire(twice.alerts)
    assert once.state == twice.state
    assert (once.judged, once.skipped, once.hits, once.unlisted) == (
        twice.judged,
        twice.skipped,
        twice.hits,
        twice.unlisted,
    )
    assert twice.late == once.late + len(again) - len(history)


@FEW
@given(timelines(), st.integers(0, 10_000), st.booleans())
def test_other_cameras_in_the_same_partition_change_nothing(
    timeline: list[Published], seed: int, only_this_one: bool
) -> None:
    """Whether they are judged with it or not, and however far behind it they are."""
    dice = Random(seed)
    mine = busy_history(dice)
    others = [[replace(each, camera_id=name) for each in busy_history(dice)] for name in ("gate", "belt")]
    behind = dice.choice((0, 50_000))
    dated = [(each.captured_at, each) for each in mine]
    dated += [(each.captured_at + behind, each) for other in others for each in other]
    together = [each for _, each in in_each_cameras_order(dated)]
    span = Span(START + 20_000, START + 60_000)
    sides = {CAMERA: timeline_of(timeline), "gate": Timeline.constant(rules(roi(confirm_hits=1), camera="gate"))}
    alone = judged(MemorySource(mine), span, sides)[CAMERA]
    (judgement,) = judge(
        MemorySource(together), span, [Side("one", sides)], frozenset([CAMERA]) if only_this_one else None
    )
    assert judgement.outcomes[CAMERA] == alone
    assert set(judgement.outcomes) == ({CAMERA} if only_this_one else {CAMERA, "gate", "belt"})


def in_each_cameras_order(dated: list[tuple[int, DetectionEvent]]) -> list[tuple[int, DetectionEvent]]:
    """Sorted by date, late events of a camera left where they were among its own."""
    newest: dict[str, int] = {}
    placed = []
    for number, (date, each) in enumerate(dated):
        newest[each.camera_id] = max(date, newest.get(each.camera_id, 0))
        placed.append((newest[each.camera_id], number, each))
    return [(date, each) for date, _, each in sorted(placed, key=lambda one: one[:2])]


@FEW
@given(st.integers(0, 10_000), st.floats(0.3, 1.0), st.floats(1.0, 3.0), st.booleans())
def test_a_roi_that_grows_never_loses_a_hit(seed: int, small: float, larger: float, convex: bool) -> None:
    """Each point of the smaller polygon lies in the larger one. With one hit to confirm and no debounce window, every
    instant at which an alert stands under the smaller one lies in an alert of the larger one too."""
    dice = Random(seed)
    shape = SQUARE if convex else ((0.25, 0.25), (0.75, 0.25), (0.5, 0.4), (0.75, 0.75), (0.25, 0.75))
    history = [
        replace(each, detections=tuple(replace(one, box=somewhere(dice)) for one in each.detections))
        for each in busy_history(dice)
    ]
    loose = {"confirm_hits": 1, "debounce_window_ms": 0, "resolve_after_ms": 1000}
    inner, outer = (
        outcome(Timeline.constant(rules(roi(points=scaled(shape, by), **loose))), history)
        for by in (small, small * larger)
    )
    assert outer.hits >= inner.hits
    stays = [(each.first_hit_at, each.resolved_at) for each in outer.alerts if each.resolved_at is not None]
    still = [each.first_hit_at for each in outer.alerts if each.seq == 0][len(stays) :]
    for each in inner.alerts:
        if each.seq == 0:
            assert any(begin <= each.opened_at <= end for begin, end in stays) or any(
                begin <= each.opened_at for begin in still
            )


def somewhere(dice: Random) -> tuple[float, float, float, float]:
    x, y = dice.uniform(0.1, 0.9), dice.uniform(0.2, 1.0)
    return (x - 0.05, y - 0.1, x + 0.05, y)


def scaled(points: tuple[Point, ...], by: float) -> tuple[Point, ...]:
    """The polygon seen from a point inside it from which all of it is seen, so that the larger one holds it."""
    return tuple((0.35 + (x - 0.35) * by, 0.45 + (y - 0.45) * by) for x, y in points)


@FEW
@given(documents(with_active=False), st.integers(0, 10_000), st.integers(1, 10**9))
def test_shifting_all_times_shifts_all_alerts(document: CameraRules, seed: int, shift: int) -> None:
    history = busy_history(Random(seed))
    later = [replace(each, captured_at=each.captured_at + shift) for each in history]
    span = Span(START + 10_000, START + 60_000)

    def shifted(alert: Alert) -> dict[str, object]:
        times = {name: getattr(alert, name) for name in ("first_hit_at", "opened_at", "last_hit_at", "resolved_at")}
        moved = {name: at if at is None else at + shift for name, at in times.items()}
        evidence = replace(alert.evidence, captured_at=alert.evidence.captured_at + shift)
        return asdict(replace(alert, **moved, evidence=evidence, alert_id=""))

    there = outcome(Timeline.constant(document), history, span)
    then = outcome(Timeline.constant(document), later, Span(span.begin + shift, span.end + shift))
    assert [shifted(alert) for alert in there.alerts] == [asdict(replace(each, alert_id="")) for each in then.alerts]
    assert (there.judged, there.hits, there.late, there.skipped) == (then.judged, then.hits, then.late, then.skipped)


@FEW
@given(documents(), histories(longest=60))
def test_no_alert_opens_while_its_roi_is_inactive(document: CameraRules, history: list[DetectionEvent]) -> None:
    ranges = {each.name: each.active for each in document.rois}
    for alert in outcome(Timeline.constant(document), history).alerts:
        active = ranges[alert.roi]
        if active is not None:
            assert any(is_active(each, alert.opened_at) for each in active)
            assert any(is_active(each, alert.last_hit_at) for each in active)


@FEW
@given(rois("zone", with_active=False), st.integers(0, 10_000))
def test_every_confirmed_stay_opened_or_was_counted_as_suppressed(watched: object, seed: int) -> None:
    """Without a debounce window each stay opens; with one it opens, is still held, or is counted by an alert or the
    state. `resolved` repeats the count of its opening."""
    history = busy_history(Random(seed))
    held = outcome(Timeline.constant(rules(watched)), history)  # type: ignore[arg-type]
    free = outcome(Timeline.constant(rules(replace(watched, debounce_window_ms=0))), history)  # type: ignore[type-var]
    opened = [each for each in held.alerts if each.seq == 0]
    kept = held.state.subjects.values()
    waiting = sum(each.episode is not None and each.episode.opening is None for each in kept)
    counted = sum(each.suppressed for each in opened) + sum(each.suppressed for each in kept)
    assert len(opened) + counted + waiting == sum(each.seq == 0 for each in free.alerts)
    said = {each.alert_id: each.suppressed for each in opened}
    assert all(said[each.alert_id] == each.suppressed for each in held.alerts)


def test_asking_for_less_than_the_detector_recorded_is_refused_where_it_is_tried() -> None:
    document = rules(roi("low", min_confidence=0.05), roi("high", min_confidence=0.5))
    history = [event_at(0), event_at(200, seen(confidence=0.1))]
    with pytest.raises(BelowFloor, match=r"low asks for min_confidence 0\.05, .* nothing under 0\.1 ") as refused:
        outcome(Timeline.constant(document), history)
    assert "high" not in str(refused.value)
    held_then = Timeline(timeline_of([published(document)]).revisions)
    assert outcome(held_then, history).judged == 2


def test_asking_for_as_much_as_was_recorded_is_not_refused() -> None:
    document = rules(roi(min_confidence=0.1, confirm_hits=1))
    assert outcome(Timeline.constant(document), [event_at(0, seen(confidence=0.1))]).hits == 1


def test_a_camera_without_a_document_is_counted_and_not_judged() -> None:
    events = [event_at(0, seen()), event_at(200, seen()), event_at(200, seen()), event_at(400, skipped="stale")]
    found = outcome(Timeline([]), events)
    assert (found.alerts, found.judged, found.skipped, found.late, found.hits) == ((), 3, 1, 1, 0)
    assert (found.first_at, found.last_at) == (START, START + 400)


def test_only_what_lies_in_the_span_is_counted() -> None:
    events = [event_at(at, seen("cat"), seen()) for at in range(0, 1000, 200)]
    found = outcome(Timeline.constant(rules(roi())), events, Span(START + 200, START + 600))
    assert (found.judged, found.hits, found.unlisted) == (2, 2, 2)
    assert (found.first_at, found.last_at) == (START + 200, START + 400)


def test_each_event_is_judged_by_the_document_of_its_own_instant() -> None:
    """Also where time goes back: a late event before a revision and one after it."""
    one, other = published(rules(roi("zone"))), published(rules(roi("belt")), START + 1000)
    timeline = timeline_of([one, other])
    assert [timeline.at(START + at)[0].revision for at in (0, 999, 1000, 5000)] == [  # type: ignore[union-attr]
        one.revision,
        one.revision,
        other.revision,
        other.revision,
    ]
    assert Timeline([]).at(START)[0] is None
    assert timeline_of([other]).at(START + 999)[0] is None


def test_an_event_that_cannot_be_judged_changes_nothing_and_is_counted() -> None:
    """As the rules app does: it puts such an event away, and its state stays as it was."""
    document = rules(roi("zone", units="pixels", points=pixels(SQUARE)))
    whole = [event_at(at, seen()) for at in range(0, 2000, 200)]
    sizeless = event_at(1100, seen(), size=(0, 0))
    run, plain = (CameraRun(CAMERA, Timeline.constant(document), Span(START, START + 10_000), None) for _ in range(2))
    run.feed([*whole[:6], sizeless, *whole[6:]])
    plain.feed(whole)
    assert run.alerts == plain.alerts
    assert run.alerts != []
    assert (run.outcome().unjudgeable, plain.outcome().unjudgeable) == (1, 0)
