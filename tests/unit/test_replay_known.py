"""Warm-up: what a replay that begins amid a history says is exact is what the whole history gives, to the byte."""

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from replay import run
from replay.judging import CameraRun, Outcome
from replay.run import Side, judge
from replay.spans import Span
from schemas.codec import encode
from schemas.messages import Alert, DetectionEvent
from tests.support.histories import CAMERA, START, histories, published, roi, rules, seen
from tests.support.histories import event as event_at
from tests.support.reference import Published
from tests.support.replay import MemorySource, brief_timelines, busy_history, busy_timeline, timeline_of

MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SECOND = 1000


def outcome(timeline: list[Published], history: list[DetectionEvent], span: Span, since: int | None) -> Outcome:
    """One camera's run over the events from ``since`` on, as a source would give them."""
    judged = CameraRun(CAMERA, timeline_of(timeline), span, since)
    judged.feed(each for each in history if since is None or each.captured_at >= since)
    return judged.outcome()


def assert_true(timeline: list[Published], history: list[DetectionEvent], since: int, span: Span) -> tuple[int, int]:
    """Holds a run that begins at ``since`` against the whole; answers how many phases were exact, and but for a count.

    A subject said to be inexact in its count alone must be right in everything else.
    """
    whole = outcome(timeline, history, span, None)
    part = outcome(timeline, history, span, since)
    wrong = {(each.roi, each.label) for each in part.inexact if each.what == "time"}
    miscounted = {(each.roi, each.label) for each in part.inexact} - wrong
    exact = phases(whole.alerts, {subject_of(each) for each in whole.alerts} - wrong - miscounted)
    assert phases(part.alerts, {subject_of(each) for each in part.alerts} - wrong - miscounted) == exact
    uncounted = phases([replace(each, suppressed=0) for each in whole.alerts], miscounted)
    assert phases([replace(each, suppressed=0) for each in part.alerts], miscounted) == uncounted
    return len(exact), len(uncounted)


def subject_of(alert: Alert) -> tuple[str, str]:
    return alert.roi, alert.label


def phases(alerts: Iterable[Alert], subjects: set[tuple[str, str]]) -> list[bytes]:
    """The phases of these subjects, as they are on the wire."""
    return [encode(alert) for alert in alerts if subject_of(alert) in subjects]


@st.composite
def cuts(draw: st.DrawFn, history: list[DetectionEvent]) -> tuple[int, Span]:
    """An instant early in the history from which it is read, and a span that mostly begins later and takes the rest."""
    instants = sorted({each.captured_at for each in history})
    last = len(instants) - 1
    cut = draw(st.integers(0, last // 2))
    since = instants[cut] - draw(st.integers(0, 1))
    begin = instants[draw(st.integers(max(0, cut - 1), last))] + draw(st.sampled_from((-1, 0, 1, 3000)))
    end = draw(st.sampled_from((instants[-1] + 10_000, instants[-1], begin + 5000)))
    return since, Span(begin, max(end, begin + 1))


@MANY
@given(brief_timelines(), histories(longest=60), st.data())
def test_what_is_not_said_to_be_inexact_is_what_the_whole_history_gives(
    timeline: list[Published], history: list[DetectionEvent], data: st.DataObject
) -> None:
    assert_true(timeline, history, *data.draw(cuts(history)))


def test_it_is_so_too_where_much_happens_about_the_cut() -> None:
    """Drawn plainly and many: what matters are silences about as long as settling takes, on either side of a cut."""
    exact = miscounted = 0
    for seed in range(2000):
        dice = Random(seed)
        timeline, history = busy_timeline(dice), busy_history(dice)
        instants = sorted({each.captured_at for each in history})
        since = dice.choice(instants[: len(instants) // 2]) + dice.choice((-1, 0, 1))
        begin = since + dice.choice((-5000, 0, 1, 1000, 3000, 5000, 9000, 12_000, 20_000))
        try:
            found = assert_true(timeline, history, since, Span(begin, instants[-1] + 5000))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
        exact += found[0]
        miscounted += found[1]
    assert exact > 100, "nothing was exact"
    assert miscounted > 20, "nothing was miscounted"


def test_a_hit_forgotten_at_the_very_end_of_a_stay_may_have_begun_one_in_the_whole_history() -> None:
    """The whole forgets the hit at 1 s with the stay from 0 s and opens at 2 s; a run from 0.5 s on opens at 1 s and
    forgets the hit at 2 s. Another hit soon after is not the first after a silence, in the whole."""
    zone = roi(confirm_hits=1, confirm_within_ms=0, resolve_after_ms=SECOND, debounce_window_ms=0)
    history = [event_at(at, seen()) for at in (0, 1000, 2000, 2500)]
    since, span = START + 500, Span(START + 2400, START + 9000)
    assert_true([published(rules(zone))], history, since, span)
    part = outcome([published(rules(zone))], history, span, since)
    assert [each.what for each in part.inexact] == ["time"]


def test_cameras_are_read_from_further_back_until_all_is_known_or_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three cameras mixed in one partition whose oldest records are deleted, several sides, a reading at a time."""
    monkeypatch.setattr(run, "FIRST_WARM_UP_MS", 1)
    exact = said = grown = 0
    for seed in range(300):
        dice = Random(seed)
        cameras = {"cam_0", "cam_1", "cam_2"}
        apart = {camera: in_order(busy_history(dice, stays=30), camera) for camera in sorted(cameras)}
        events = merged(apart, dice)
        timelines = [
            {camera: timeline_of(renamed(busy_timeline(dice), camera)) for camera in sorted(cameras)} for _ in "ab"
        ]
        instants = sorted({each.captured_at for each in events})
        begin = dice.choice(instants)
        span = Span(begin, begin + dice.choice((1000, 20_000, 200_000)))
        gone = dice.choice((0, dice.randrange(len(events) // 2)))
        source = MemorySource(events, gone)
        sides = [Side(f"side {number}", each) for number, each in enumerate(timelines)]
        judgements = judge(source, span, sides)
        grown += len(source.reads) > 1
        for judgement, documents in zip(judgements, timelines, strict=True):
            for camera in sorted(cameras - cut_unseen(events, gone, source.reads)):
                whole = CameraRun(camera, documents[camera], span, None)
                whole.feed(apart[camera])
                part = judgement.outcomes.get(camera)
                if part is None:
                    assert not whole.alerts, f"seed {seed}: {camera} was not judged"
                    continue
                wrong = {(each.roi, each.label) for each in part.inexact}
                assert gone or not wrong, f"seed {seed}: all was there"
                expected = phases(whole.alerts, {subject_of(each) for each in whole.alerts} - wrong)
                found = phases(part.alerts, {subject_of(each) for each in part.alerts} - wrong)
                assert found == expected, f"seed {seed}, {camera}"
                exact += len(expected)
                said += bool(wrong)
    assert exact > 1000
    assert said > 20
    assert grown > 20


def cut_unseen(events: list[DetectionEvent], gone: int, reads: list[Span]) -> set[str]:
    """Cameras of which newer events were deleted than the oldest record left: nothing in the log tells of that."""
    if not gone or events[gone].captured_at >= max(read.begin for read in reads):
        return set()
    return {each.camera_id for each in events[:gone] if each.captured_at > events[gone].captured_at}


def in_order(history: list[DetectionEvent], camera: str) -> list[DetectionEvent]:
    """The history as a camera's, without what came late: what is late where a log is cut cannot be told."""
    newest, kept = 0, []
    for each in history:
        if each.captured_at > newest:
            newest = each.captured_at
            kept.append(replace(each, camera_id=camera))
    return kept


def merged(apart: dict[str, list[DetectionEvent]], dice: Random) -> list[DetectionEvent]:
    """One partition's order: each camera in its own, one of them up to minutes behind the others."""
    behind = {camera: dice.choice((0, 0, 3000, 100_000)) for camera in apart}
    dated = [(each.captured_at + behind[camera], each) for camera, events in apart.items() for each in events]
    return [each for _, each in sorted(dated, key=lambda pair: pair[0])]


def renamed(timeline: list[Published], camera: str) -> list[Published]:
    return [published(replace(each.rules, camera_id=camera), each.effective_from) for each in timeline]
