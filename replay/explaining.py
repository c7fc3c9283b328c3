"""One subject's way through the state machine, event by event. Pure.

`rules.engine.step` judges; this looks at the subject before and after each event, and at what the event held.
"""

from collections.abc import Iterable

from replay.concluding import Tally
from replay.explained import Explanation, Story
from replay.judging import Timeline, instant_of
from replay.known import Known, What
from replay.misses import NOTHING_SEEN, look
from replay.spans import Span
from replay.telling import Change, Clock, Telling, lasts, roi_of, state_in_words, tell, tell_document, tell_floor
from rules.engine import Document, Judged, step
from rules.state import NEW_CAMERA, NOTHING, Subject, SubjectState
from schemas.messages import Alert, DetectionEvent


class Tracer:
    """Judges one camera's events, warm-up included, and tells what became of one subject within the span.

    ``since``: every event from this instant on is given, None: from the beginning of its history on. The first event at
    or after the span's end must be given too, since it closes what ended before it. ``clock`` writes instants.
    """

    def __init__(
        self, camera_id: str, subject: Subject, timeline: Timeline, span: Span, since: int | None, clock: Clock
    ) -> None:
        self._camera_id = camera_id
        self._subject = subject
        self._timeline = timeline
        self._span = span
        self._clock = clock
        self._state = NEW_CAMERA
        self._known = None if since is None else Known(timeline.revisions, since, span)
        self._inexact: set[What] = set()
        if self._known is not None and subject in self._known.unseen():
            self._inexact.add("time")
        self._before: SubjectState | None = None
        self._told_document: tuple[Document | None, ...] = ()
        self._told_floors: set[float] = set()
        self._story = Story()
        self._alerts: list[Alert] = []
        self._tally = Tally()

    def feed(self, events: Iterable[DetectionEvent]) -> None:
        """Judges the events."""
        for event in events:
            if self._before is None and event.captured_at >= self._span.begin:
                self._before = self._kept()
            document, *_ = self._timeline.at(event.captured_at)
            before, newest = self._kept(), self._state.watermark
            try:
                judged = step(document, self._state, event)
            except ValueError as error:  # as the rules app does: set aside, and on with the next
                self._tell(Telling(event.captured_at, "unjudged", f"this event cannot be judged: {error}", str(error)))
                continue
            self._state = judged.state
            for subject, what in () if self._known is None else self._known.look(event.captured_at, judged):
                if subject == self._subject:
                    self._inexact.add(what)
            if self._before is not None:
                self._follow(event, document, judged, before, newest)

    def explanation(self) -> Explanation:
        """What was found so far."""
        tally = self._tally
        begin = self._span.begin
        roi = roi_of(self._timeline.at(begin)[0], self._subject)
        before = self._kept() if self._before is None else self._before
        was_open = lasts(before, begin) and before.episode is not None and before.episode.opening is not None
        return Explanation(
            camera_id=self._camera_id,
            roi=self._subject.roi,
            label=self._subject.label,
            span=self._span,
            before=state_in_words(before, roi, begin, self._clock),
            steps=self._story.steps(),
            conclusion=tally.conclusion(self._subject.label, self._alerts, self._clock, was_open=was_open),
            alerts=tuple(self._alerts),
            events=tally.events,
            skipped=tally.skipped,
            late=tally.late,
            seen=tally.seen,
            hits=tally.hits,
            inexact=tuple(sorted(self._inexact)),
        )

    def _kept(self) -> SubjectState:
        return self._state.subjects.get(self._subject, NOTHING)

    def _follow(
        self, event: DetectionEvent, document: Document | None, judged: Judged, before: SubjectState, newest: int
    ) -> None:
        at, subject, late = event.captured_at, self._subject, judged.late
        roi = roi_of(document, subject)
        looked = NOTHING_SEEN if document is None or roi is None or late else look(document, event, subject)
        alerts = tuple(each for each in judged.alerts if (each.roi, each.label) == subject)
        change = Change(event, subject, document, roi, before, self._kept(), alerts, looked)
        self._alerts += [each for each in alerts if self._span.holds(instant_of(each))]
        if late:
            if any(each.label == subject.label for each in event.detections):
                words = f"seen, but late: the newest event was of {self._clock(newest)} by then; not judged"
                self._tell(Telling(at, "late", words, "late"))
        else:
            if self._span.holds(at) and self._told_document != (document,):
                self._told_document = (document,)
                self._tell(tell_document(at, subject, document))
            if roi is not None and event.floor > roi.min_confidence and event.floor not in self._told_floors:
                self._told_floors.add(event.floor)
                self._tell(tell_floor(at, roi, event.floor))
            for told in tell(change, self._clock):
                self._tell(told)
        if self._span.holds(at):
            self._tally.count(change, late=late)

    def _tell(self, told: Telling) -> None:
        # An end that is known at the span's first event may lie before it; one after the span is another's.
        if self._span.holds(told.at) or (told.kind in {"resolved", "ended"} and told.at < self._span.begin):
            self._story.add(told)
