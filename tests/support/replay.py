"""A history in memory to judge again, and documents whose times are short beside it."""

from collections.abc import Iterator, Sequence
from random import Random

from hypothesis import strategies as st
from msgspec.structs import replace

from replay.history import Extent
from replay.judging import Timeline
from replay.spans import Span
from schemas.effective import CameraRules, RoiRevision, RoiRules
from schemas.messages import DetectionEvent
from tests.support.histories import START, published, roi, rules, seen, timelines
from tests.support.histories import event as event_at
from tests.support.reference import Published


class MemorySource:
    """A `replay.history.Source` over a list: one partition, several cameras, its oldest ``gone`` records deleted.

    It gives no more than the protocol promises: beyond the span each camera's first event only.
    """

    def __init__(self, events: Sequence[DetectionEvent], gone: int = 0, at_a_time: int = 7) -> None:
        self.events = list(events)[gone:]
        self.reads: list[Span] = []
        self._gone = gone
        self._at_a_time = at_a_time

    def extents(self) -> tuple[Extent, ...]:
        first_at = self.events[0].captured_at if self.events else None
        return (Extent(0, self._gone, self._gone + len(self.events), first_at, self._gone == 0),)

    def cameras(self) -> tuple[str, ...] | None:
        return None

    def extent_of(self, camera_id: str) -> Extent:
        return self.extents()[0]

    def read(self, span: Span, cameras: frozenset[str] | None = None) -> Iterator[list[DetectionEvent]]:
        self.reads.append(span)
        closed: set[str] = set()
        given = []
        for event in self.events:
            if event.captured_at < span.begin or (cameras is not None and event.camera_id not in cameras):
                continue
            if event.captured_at >= span.end:
                if event.camera_id in closed:
                    continue
                closed.add(event.camera_id)
            given.append(event)
        for first in range(0, len(given), self._at_a_time):
            yield given[first : first + self._at_a_time]

    def close(self) -> None:
        pass


def timeline_of(documents: Sequence[Published]) -> Timeline:
    """The documents as a replay takes them."""
    return Timeline(
        [
            RoiRevision(each.rules.camera_id, each.revision, each.effective_from, 0, "file", each.rules)
            for each in documents
        ]
    )


def brief(document: CameraRules) -> CameraRules:
    """The document with times so short that the gaps of drawn histories settle its subjects now and then."""

    def shorter(roi: RoiRules) -> RoiRules:
        return replace(
            roi,
            confirm_within_ms=min(roi.confirm_within_ms, 2000),
            resolve_after_ms=min(roi.resolve_after_ms, 3000),
            debounce_window_ms=min(roi.debounce_window_ms, 4000),
        )

    return replace(document, rois=tuple(map(shorter, document.rois)))


def brief_timelines(most: int = 3) -> st.SearchStrategy[list[Published]]:
    """Documents that follow one another, their times short."""
    return timelines(most).map(lambda drawn: [published(brief(each.rules), each.effective_from) for each in drawn])


def busy_history(dice: Random, stays: int = 12) -> list[DetectionEvent]:
    """An object that comes and goes, with silences about as long as brief documents take to settle, on a coarse grid so
    that instants coincide; skips, gaps without any event, and late events among them."""
    made: list[DetectionEvent] = []
    at = 1000
    for _ in range(stays):
        for _ in range(dice.choice((1, 1, 2, 3, 6))):
            what = dice.choice(((seen(),), (seen(),), (seen(confidence=0.5),), (seen("person"), seen()), ()))
            made.append(event_at(at, *what))
            at += dice.choice((200, 200, 400, 1000))
        silence = dice.choice((600, 1000, 3000, 4000, 5000, 7000, 9000, 9200, 12_000))
        step = dice.choice((200, 1000, 3000, silence))
        for moment in range(step, silence, step):
            watched = dice.random() < 0.8
            made.append(event_at(at + moment, skipped=None if watched else dice.choice(("stale", "offline"))))
        if dice.random() < 0.1:
            made.append(event_at(at - 700, seen()))
        at += silence
    return made


def busy_timeline(dice: Random) -> list[Published]:
    """Two ROIs whose times change, and which go and come, in the course of a `busy_history`."""
    timeline = []
    names = dice.choice((("zone",), ("zone",), ("zone", "belt")))
    for begin in (0, *sorted(dice.sample(range(START, START + 90_000, 500), dice.choice((0, 0, 0, 1, 3))))):
        drawn = [
            roi(
                name,
                min_confidence=dice.choice((0.25, 0.6)),
                confirm_hits=dice.choice((1, 1, 2, 3)),
                confirm_within_ms=dice.choice((0, 400, 2000)),
                resolve_after_ms=dice.choice((200, 600, 1000, 3000)),
                debounce_window_ms=dice.choice((0, 0, 1000, 4000)),
            )
            for name in names
        ]
        timeline.append(published(rules(*drawn[dice.choice((0, 0, 0, 0, 1)) :], labels=("object", "person")), begin))
    return timeline
