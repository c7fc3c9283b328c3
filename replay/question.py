"""Why did this alert open, or why did nothing? The question, and how it is answered from a history."""

from collections.abc import Collection, Iterable
from typing import Final

from msgspec import Struct

from replay.explained import Explanation
from replay.explaining import Tracer
from replay.history import Source
from replay.judging import Timeline
from replay.known import quiet_ms
from replay.run import FIRST_WARM_UP_MS, GROWTH, Progress
from replay.spans import Span
from replay.telling import Clock
from replay.trial import Refused
from rules.state import Subject
from schemas.messages import Alert

LEAD_MS: Final = 10_000
"""So much is told of the time before an alert's first hit."""


class Question(Struct, frozen=True):
    """What became of a subject of a camera in a span?"""

    camera_id: str
    subject: Subject
    span: Span


def question_of(alert: Alert, until: int, alerts: Iterable[Alert] = ()) -> Question:
    """Why did it open? From shortly before its first hit until it resolved, or ``until`` where it has not yet.

    Where episodes were held back before it, from the opening that held them back, if that is among ``alerts``.
    """
    subject = (alert.camera_id, alert.roi, alert.label)
    begins = [alert.first_hit_at - LEAD_MS]
    if alert.suppressed:
        before = [each.opened_at for each in alerts if (each.camera_id, each.roi, each.label) == subject]
        begins.append(max((at for at in before if at < alert.opened_at), default=alert.opened_at))
    end = until if alert.resolved_at is None else alert.resolved_at + 1
    span = Span(max(0, min(begins)), max(end, alert.last_hit_at + 1))
    return Question(alert.camera_id, Subject(alert.roi, alert.label), span)


def alert_of(alerts: Collection[Alert], words: str) -> Alert:
    """The alert whose id is, or begins with, these words, in its last phase known. Raises `Refused`."""
    found = {alert.alert_id: alert for alert in sorted(alerts, key=lambda each: each.seq)}
    matching = [alert for alert_id, alert in found.items() if alert_id.startswith(words.lower())]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise Refused(f"no alert of the span is called {words} ({len(found)} are there); --from looks further back")
    some = ", ".join(sorted(alert.alert_id for alert in matching)[:5])
    raise Refused(f"{len(matching)} alerts of the span begin with {words}: {some}; give more of it")


def subject_of(timeline: Timeline, camera_id: str, roi: str | None, label: str | None) -> Subject:
    """The subject that is meant, where the camera's documents have only one. Raises `Refused`."""
    documents = [revision.document for revision in timeline.revisions]
    rois = sorted({each.name for document in documents for each in document.rois})
    labels = sorted({each for document in documents for each in document.alert_classes})
    if roi not in rois and (roi is not None or len(rois) != 1):
        raise Refused(
            f"{camera_id} has {'no ROI ' + roi if roi else 'several ROIs'}: say --roi {'|'.join(rois) or '?'}"
        )
    if label is None and len(labels) != 1:
        raise Refused(f"{camera_id} alerts of several labels: say --label {'|'.join(labels) or '?'}")
    return Subject(roi or rois[0], label or labels[0])


def answer(
    source: Source, question: Question, timeline: Timeline, clock: Clock, progress: Progress | None = None
) -> Explanation:
    """The subject's way through the span. Reads from before it on, and from further back for as long as something in
    it depends on what was before. Raises what the source raises.
    """
    camera_id, span = question.camera_id, question.span
    extent = source.extent_of(camera_id)
    warm_up = max(FIRST_WARM_UP_MS, 2 * quiet_ms(timeline.revisions))
    while True:
        since: int | None = max(0, span.begin - warm_up)
        begin = since or 0
        whole = extent.first_at is None or extent.first_at >= begin
        if whole:
            since = None if extent.whole else extent.first_at
        tracer = Tracer(camera_id, question.subject, timeline, span, since, clock)
        read = 0
        for events in source.read(Span(begin, span.end), frozenset({camera_id})):
            tracer.feed(events)
            read += len(events)
            if progress is not None and events:
                progress(read, events[-1].captured_at)
        explanation = tracer.explanation()
        if whole or not explanation.inexact:
            return explanation
        warm_up *= GROWTH
