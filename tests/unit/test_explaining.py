"""The way of a subject through the rules, in words, and that it is the engine's way."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from replay.explained import Explanation, clock_of, lines
from replay.explaining import Tracer
from replay.history import Extent
from replay.judging import Timeline, instant_of
from replay.misses import look
from replay.question import Question, alert_of, answer, question_of, subject_of
from replay.spans import Span
from replay.telling import ordinal
from replay.trial import Refused
from rules.engine import compile_rules, step
from rules.state import NEW_CAMERA, Subject
from schemas.effective import ActiveRange, CameraRules, RoiRevision, revision_of
from schemas.messages import Alert, Detection, DetectionEvent
from tests.support.histories import CAMERA, START, event, histories, published, roi, rules, seen, timelines
from tests.support.reference import Published
from tests.support.rules_shell import Documents, judge_all

SUBJECT = Subject("zone", "object")
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WHOLE = Span(START, START + 3_600_000)  # 14:13:20 UTC


def revision(document: CameraRules, effective_from: int = 0) -> RoiRevision:
    return RoiRevision(CAMERA, revision_of(document), effective_from, 0, "file", document)


def explained(
    history: Sequence[DetectionEvent],
    *documents: CameraRules | RoiRevision,
    span: Span = WHOLE,
    subject: Subject = SUBJECT,
    since: int | None = None,
) -> Explanation:
    revisions = [each if isinstance(each, RoiRevision) else revision(each) for each in documents or (rules(roi()),)]
    tracer = Tracer(CAMERA, subject, Timeline(revisions), span, since, clock_of(span))
    tracer.feed(history)
    return tracer.explanation()


def told(explanation: Explanation) -> list[str]:
    """The steps but the first, which names the document."""
    return [" ".join(line.split()) for line in lines(explanation, clock_of(explanation.span))[2:-1]]


def hits(*instants: int) -> list[DetectionEvent]:
    return [event(at, seen()) for at in instants]


OPENED = hits(0, 1200, 1400)
"""An alert opens at 14:13:21.400."""


def test_an_opening_is_told_hit_by_hit_until_it_resolves() -> None:
    explanation = explained([*OPENED, *hits(1600, 1800), *(event(at) for at in range(2000, 9000, 200))])
    (opened, _) = explanation.alerts
    assert told(explanation) == [
        "14:13:20 1st hit of 3 within 2 s",
        "14:13:21.200 2nd hit of 3 within 2 s",
        f"14:13:21.400 3rd hit of 3 within 2 s (the first at 14:13:20): the alert opens [{opened.alert_id}]",
        "14:13:21.600 to 14:13:21.800 the alert stays open, 5 hits by then (2 events)",
        (
            "14:13:26.800 the alert resolves, 5 s after the last hit at 14:13:21.800 "
            "(quiet: frames were looked at and showed none)"
        ),
    ]
    assert explanation.before == "nothing open, no hit that still counts"
    assert explanation.conclusion == "Opened once: 14:13:21.400."
    assert (explanation.events, explanation.seen, explanation.hits) == (40, 5, 5)


def test_the_first_line_says_how_it_stood_and_the_first_step_by_what_it_is_judged() -> None:
    before, by, *_ = lines(explained(OPENED), clock_of(WHOLE))
    assert before.split(maxsplit=1) == ["before", "nothing open, no hit that still counts"]
    assert by.split(maxsplit=1)[1] == (
        f"judged by revision {revision_of(rules(roi()))}: 3 hits within 2 s, confidence 0.25, bottom_center inside, "
        "resolves after 5 s, debounce window 30 s"
    )


def test_what_is_held_back_says_until_when_and_what_became_of_it() -> None:
    history = [
        *OPENED,
        event(8000),
        *hits(10_000, 10_200, 10_400, 10_600),
        event(20_000),
        *hits(40_000, 40_200, 40_400),
    ]
    explanation = explained(history, span=Span(START + 9000, START + 60_000))
    assert explanation.before == "debounce window until 14:13:51.400"
    assert told(explanation) == [
        "14:13:30 1st hit of 3 within 2 s",
        "14:13:30.200 2nd hit of 3 within 2 s",
        (
            "14:13:30.400 3rd hit of 3 within 2 s (the first at 14:13:30); "
            "held back by the debounce window until 14:13:51.400"
        ),
        "14:13:30.600 held back until 14:13:51.400, 4 hits by then",
        (
            "14:13:35.600 the episode that was held back ends, 5 s after its last hit at 14:13:30.600, "
            "and never opened (suppressed: 1)"
        ),
        "14:14:00 1st hit of 3 within 2 s",
        "14:14:00.200 2nd hit of 3 within 2 s",
        (
            "14:14:00.400 3rd hit of 3 within 2 s (the first at 14:14:00): the alert opens; suppressed before it: 1 "
            f"[{explanation.alerts[0].alert_id}]"
        ),
    ]


def test_what_stands_still_opens_when_the_window_ends() -> None:
    history = [*OPENED, event(9000), *hits(*range(10_000, 40_000, 1000))]
    explanation = explained(history, span=Span(START + 13_000, START + 40_000))
    assert explanation.before == (
        "3 hits held back since 14:13:30, last hit 14:13:32, debounce window until 14:13:51.400"
    )
    assert told(explanation)[0] == "14:13:33 to 14:13:51 held back until 14:13:51.400, 22 hits by then (19 events)"
    assert told(explanation)[1].startswith(
        "14:13:52 23rd hit of the episode held back since 14:13:30, and the debounce window is over: the alert opens ["
    )


def test_hits_that_never_suffice_are_told_one_by_one_and_then_together() -> None:
    explanation = explained(hits(0, 3000, 6000, 9000, 9500, 14_000, 20_000))
    assert told(explanation) == [
        "14:13:20 1st hit of 3 within 2 s",
        "14:13:23 1st hit of 3 within 2 s; the one of 14:13:20, 3 s ago, no longer counts",
        "14:13:26 1st hit of 3 within 2 s; the one of 14:13:23, 3 s ago, no longer counts",
        (
            "14:13:29 to 14:13:40 2nd hit of 3 within 2 s; the one of 14:13:26, 3.5 s ago, no longer counts "
            "(the nearest of 4 events)"
        ),
    ]
    assert explanation.conclusion == "Nothing opened: 7 hits, never more than 2 of 3 within 2 s."


def test_a_miss_says_by_how_far() -> None:
    history = [
        event(0, seen(confidence=0.2)),
        event(200, seen(confidence=0.2496)),
        event(1000, seen(y=0.85)),
        event(1200, seen(y=0.8), seen(y=0.9)),
        event(2000, seen(y=0.9, confidence=0.1)),
    ]
    explanation = explained(history)
    assert told(explanation) == [
        "14:13:20 to 14:13:20.200 no hit: confidence 0.2496 is below 0.25 (the nearest of 2 events)",
        "14:13:21 to 14:13:21.200 no hit: bottom_center (0.5 0.8) lies 40 px outside zone (the nearest of 2 events)",
        "14:13:22 no hit: bottom_center (0.5 0.9) lies 120 px outside zone; confidence 0.10 is below 0.25",
    ]
    assert explanation.conclusion == (
        "Nothing opened: object was seen in 5 events and never was a hit (2 × not confident enough, "
        "2 × outside the ROI, 1 × outside the ROI and not confident enough)."
    )


def test_too_little_of_a_box_and_a_roi_that_is_not_active_are_misses() -> None:
    active = (ActiveRange((0, 1), 22 * 60, 6 * 60, "Europe/Madrid"),)
    document = rules(roi(anchors={"object": 0.3}, active=active))
    history = [event(0, seen()), event(200, Detection("object", 0.9, (0.2, 0.3, 0.3, 0.4))),
               event(400, Detection("object", 0.9, (0.1, 0.3, 0.3, 0.4)))]  # fmt: skip
    assert told(explained(history, document)) == [
        (
            "14:13:20 to 14:13:20.200 no hit: zone is not active then (it is mon tue 22:00 to 06:00 Europe/Madrid) "
            "(the nearest of 2 events)"
        ),
        (
            "14:13:20.400 no hit: 0.25 of the box lies in zone, 0.3 is asked for; "
            "zone is not active then (it is mon tue 22:00 to 06:00 Europe/Madrid)"
        ),
    ]


def test_events_that_nobody_looked_at_and_late_ones_are_told() -> None:
    history = [*OPENED, *(event(2000 + 200 * i, skipped="offline") for i in range(30)), event(2000, seen())]
    explanation = explained(history)
    assert told(explanation)[3:] == [
        "14:13:22 to 14:13:26.200 nobody looked: the camera was away (offline) (22 events)",
        "14:13:26.400 the alert resolves, 5 s after the last hit at 14:13:21.400 (blind: no frame was looked at since)",
        "14:13:26.400 to 14:13:27.800 nobody looked: the camera was away (offline) (8 events)",
        "14:13:22 seen, but late: the newest event was of 14:13:27.800 by then; not judged",
    ]
    assert (explanation.skipped, explanation.late) == (30, 1)


def test_a_hit_at_the_very_end_is_forgotten_with_the_episode() -> None:
    assert told(explained([*OPENED, *hits(6400)]))[3:] == [
        (
            "14:13:26.400 the alert resolves, 5 s after the last hit at 14:13:21.400 "
            "(quiet: frames were looked at and showed none)"
        ),
        "14:13:26.400 a hit at the very instant at which an episode ends is forgotten with it",
    ]


def test_a_revision_that_takes_the_roi_away_is_told() -> None:
    later = rules(roi("belt"))
    explanation = explained([*OPENED, *hits(2000, 2200)], revision(rules(roi())), revision(later, START + 1900))
    assert told(explanation)[3:] == [
        f"14:13:22 revision {revision_of(later)} has no ROI zone: not judged",
        (
            "14:13:21.900 the alert resolves, 0.5 s after the last hit at 14:13:21.400 "
            "(revision: the ROI or label is gone)"
        ),
    ]


def test_a_label_that_is_not_judged_says_why() -> None:
    history = [event(0, seen("pine"), seen("cat"))]
    assert (
        "pine is in allowed_classes: never a hit" in explained(history, subject=Subject("zone", "pine")).steps[0].words
    )
    cat = explained(history, subject=Subject("zone", "cat"))
    assert "cat is not in alert_classes: never a hit" in cat.steps[0].words
    assert cat.conclusion == "Nothing opened: no ROI document that held in the span judges it."


def test_a_roi_that_asks_for_less_than_was_recorded_is_told_once() -> None:
    explanation = explained(hits(0, 1000, 9000, 9200, 9400), rules(roi(min_confidence=0.05)))
    assert [step.words for step in explanation.steps if step.kind == "floor"] == [
        "the detector reported nothing under 0.1 and zone asks for 0.05: what lies between is not in the record"
    ]


def test_an_event_that_cannot_be_judged_is_told_and_the_next_is_judged() -> None:
    document = rules(roi(units="pixels", points=((400.0, 200.0), (1200.0, 200.0), (1200.0, 600.0))))
    blind = replace(event(100, seen(x=0.7)), width=0, height=0)
    explanation = explained([blind, *(event(at, seen(x=0.7)) for at in (200, 400, 600))], document)
    assert explanation.steps[0].words.startswith("this event cannot be judged: roi 'zone' is in pixels")
    assert explanation.conclusion == "Opened once: 14:13:20.600."


@pytest.mark.parametrize(
    ("history", "conclusion"),
    [
        ([], "Nothing opened: the camera has no event in the span."),
        ([event(9000, skipped="stale")], "Nothing opened: nobody looked, every event was skipped (1)."),
        ([event(9000), event(9200)], "Nothing opened: no object was seen in 2 events."),
        ([event(9000), event(9000)], "Nothing opened: no object was seen in 1 event."),
        ([event(99_000), event(9000)], "Nothing opened: every event came late (1)."),
        (
            [*OPENED, *hits(6000, 9000)],
            "Nothing opened beside the alert that was open already: 1 hit of an alert that was open.",
        ),
        (
            [*OPENED, *hits(9000, 9200, 9400, 9600)],
            ("Nothing opened: 2 hits of an episode that the debounce window held back, "
            "2 hits, never more than 2 of 3 within 2 s."),
        ),
    ],
)  # fmt: skip
def test_where_nothing_opened_the_conclusion_says_why(history: list[DetectionEvent], conclusion: str) -> None:
    assert explained(history, span=Span(START + 9000, START + 60_000)).conclusion == conclusion


def test_an_alert_that_was_over_before_the_span_is_said_to_be() -> None:
    explanation = explained([*OPENED, event(9000)], span=Span(START + 8000, START + 60_000))
    assert "last hit 14:13:21.400, over at 14:13:26.400, as the next event tells" in explanation.before
    assert [(step.kind, step.at) for step in explanation.steps] == [
        ("revision", START + 9000),
        ("resolved", START + 6400),
    ]
    assert explanation.alerts == ()
    assert explanation.conclusion == "Nothing opened: no object was seen in 1 event."


def test_the_clock_shows_the_date_where_the_span_is_of_several_days() -> None:
    assert clock_of(Span(START, START + 1000))(START + 50) == "14:13:20.050"
    assert clock_of(Span(START, START + 86_400_000))(START) == "2026-09-21 14:13:20"
    assert clock_of(Span(START, START + 1000))(START - 86_400_000) == "2026-09-20 14:13:20"


def test_several_openings_are_counted() -> None:
    history = [*OPENED, event(8000), *hits(40_000, 40_200, 40_400)]
    assert explained(history).conclusion == "Opened 2 times, first 14:13:21.400, last 14:14:00.400."


def test_ordinals_are_english() -> None:
    assert [ordinal(each) for each in (1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th",
    ]  # fmt: skip


def subjects_of(timeline: Sequence[Published]) -> list[Subject]:
    return sorted({Subject(each.name, label) for item in timeline for each in item.rules.rois
                   for label in item.rules.alert_classes})  # fmt: skip


def as_revisions(timeline: Sequence[Published]) -> list[RoiRevision]:
    return [RoiRevision(CAMERA, each.revision, each.effective_from, 0, "file", each.rules) for each in timeline]


def phases(alerts: Sequence[Alert], span: Span, subject: Subject) -> list[Alert]:
    return [each for each in alerts if (each.roi, each.label) == subject and span.holds(instant_of(each))]


@FEW
@given(timelines(), histories(), st.integers(-1000, 20_000), st.integers(1, 60_000))
def test_what_is_told_to_open_and_to_resolve_is_what_the_engine_says(
    timeline: list[Published], history: list[DetectionEvent], begin: int, length: int
) -> None:
    alerts, _ = judge_all(timeline, history)
    span = Span(START + begin, START + begin + length)
    for subject in subjects_of(timeline):
        explanation = explained(history, *as_revisions(timeline), span=span, subject=subject)
        of_the_engine = phases(alerts, span, subject)
        assert list(explanation.alerts) == of_the_engine
        opened = [(step.at, step.alert_id) for step in explanation.steps if step.kind == "opened"]
        resolved = [(step.at, step.alert_id) for step in explanation.steps if step.kind == "resolved"]
        assert opened == [(each.opened_at, each.alert_id) for each in of_the_engine if each.seq == 0]
        assert [each for each in resolved if span.holds(each[0])] == [
            (each.resolved_at, each.alert_id) for each in of_the_engine if each.seq == 1
        ]


@FEW
@given(timelines(), histories())
def test_what_is_told_to_be_a_hit_is_one_for_the_engine(
    timeline: list[Published], history: list[DetectionEvent]
) -> None:
    documents, state = Documents(timeline), NEW_CAMERA
    for each in history:
        document = documents.at(each.captured_at)
        judged = step(document, state, each)
        state = judged.state
        if document is None or judged.late or each.skipped is not None:
            continue
        looks = [look(document, each, subject) for subject in document.subjects]
        assert sum(one.hit is not None for one in looks) == judged.hits
        for alert in judged.alerts:
            if alert.seq == 0:
                (one,) = [looks[document.place[Subject(alert.roi, alert.label)]].hit]
                assert one is not None
                assert (one.box, one.confidence) == (alert.evidence.box, alert.evidence.confidence)


@FEW
@given(timelines(), histories())
def test_every_judged_event_with_the_label_is_told_once(
    timeline: list[Published], history: list[DetectionEvent]
) -> None:
    span = Span(START - 10_000, START + 10**8)
    for subject in subjects_of(timeline):
        explanation = explained(history, *as_revisions(timeline), span=span, subject=subject)
        kinds = {"counting", "opened", "held", "further", "forgotten"}
        assert sum(each.count for each in explanation.steps if each.kind in kinds) == explanation.hits
        assert (
            sum(each.count for each in explanation.steps if each.kind == "skipped")
            + sum(each.skipped is not None and late for each, late in with_late(history))
            == explanation.skipped
        )


def with_late(history: Sequence[DetectionEvent]) -> Iterator[tuple[DetectionEvent, bool]]:
    newest = -1
    for each in history:
        yield each, each.captured_at <= newest
        newest = max(newest, each.captured_at)


class ListSource:
    """A history in memory that notes how far back it was read."""

    def __init__(self, events: Sequence[DetectionEvent], *, whole: bool) -> None:
        self._events = list(events)
        self._extent = Extent(0, 0 if whole else 7, 99, self._events[0].captured_at, whole)
        self.begins: list[int] = []

    def extents(self) -> tuple[Extent, ...]:
        return (self._extent,)

    def cameras(self) -> tuple[str, ...] | None:
        return (CAMERA,)

    def extent_of(self, camera_id: str) -> Extent:
        return self._extent

    def read(self, span: Span, cameras: frozenset[str] | None = None) -> Iterator[list[DetectionEvent]]:
        assert cameras == {CAMERA}
        self.begins.append(span.begin)
        yield [each for each in self._events if each.captured_at >= span.begin]

    def close(self) -> None:
        pass


STANDING = hits(*range(0, 3_600_000, 1000))
"""An hour of hits: one alert, which opens at START + 2 s."""


def asked(source: ListSource, span: Span) -> Explanation:
    question = Question(CAMERA, SUBJECT, span)
    return answer(source, question, Timeline([revision(rules(roi()))]), clock_of(span))


def test_a_standing_alert_is_read_from_further_back_until_its_beginning() -> None:
    source = ListSource(STANDING, whole=True)
    explanation = asked(source, Span(START + 3_000_000, START + 3_010_000))
    assert explanation.before.startswith("an alert is open since 14:13:22 [")
    assert explanation.inexact == ()
    assert len(source.begins) == 2
    assert source.begins[1] < START


def test_a_history_that_does_not_reach_back_says_so() -> None:
    explanation = asked(ListSource(STANDING, whole=False), Span(START + 3_000_000, START + 3_010_000))
    assert explanation.inexact == ("time",)


def test_the_question_of_an_alert_spans_it_with_a_lead() -> None:
    alerts, _ = judge_all([published(rules(roi()))], [*OPENED, event(9000)])
    opened, resolved = alerts
    assert question_of(resolved, 0).span == Span(START - 10_000, START + 6401)
    assert question_of(opened, START + 2000).span == Span(START - 10_000, START + 2000)
    assert question_of(opened, 5).span == Span(START - 10_000, START + 1401)
    later = replace(opened, alert_id="f", opened_at=START + 60_000, first_hit_at=START + 59_000, suppressed=2)
    assert question_of(later, 0, [later, *alerts]).span.begin == opened.opened_at
    assert question_of(later, 0).span.begin == START + 49_000
    assert question_of(replace(later, suppressed=0), 0, alerts).span.begin == START + 49_000
    assert alert_of(alerts, opened.alert_id[:9].upper()) == resolved
    with pytest.raises(Refused, match="no alert of the span is called ffff"):
        alert_of(alerts, "ffff")
    with pytest.raises(Refused, match="2 alerts of the span begin with"):
        alert_of([opened, replace(opened, alert_id=opened.alert_id + "x")], opened.alert_id)


def test_roi_and_label_may_be_left_out_where_there_is_one() -> None:
    one = Timeline([revision(rules(roi()))])
    two = Timeline([revision(rules(roi(), roi("belt"), labels=("object", "person")))])
    assert subject_of(one, CAMERA, None, None) == SUBJECT
    assert subject_of(one, CAMERA, None, "pine") == Subject("zone", "pine")
    with pytest.raises(Refused, match=r"cam_yard has several ROIs: say --roi belt\|zone"):
        subject_of(two, CAMERA, None, "object")
    with pytest.raises(Refused, match=r"cam_yard has no ROI gate: say --roi belt\|zone"):
        subject_of(two, CAMERA, "gate", "object")
    with pytest.raises(Refused, match=r"say --label object\|person"):
        subject_of(two, CAMERA, "zone", None)


def test_a_look_asks_the_engine_where_a_box_lies() -> None:
    document = compile_rules(rules(roi()), "r", 0)
    assert look(document, event(0, seen(y=0.75)), SUBJECT).hit == seen(y=0.75)  # on the edge
    assert look(document, event(0), SUBJECT).seen == 0
