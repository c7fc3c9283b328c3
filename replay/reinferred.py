"""What another look at stored frames would have meant: its events judged, and held against what was recorded."""

from collections.abc import Iterator

from msgspec import structs

from replay.comparison import Comparison
from replay.frame_plan import Plan, check_frames
from replay.history import Extent, Source
from replay.kafka_source import KafkaSource
from replay.run import Progress, Side
from replay.runs import run_topic
from replay.spans import Span
from replay.trial import Trial, compare_sides
from runtime.revisions import RevisionHistory
from runtime.settings import Settings
from schemas.messages import DetectionEvent
from schemas.topics import DETECTIONS

_NEVER = 1 << 62


class Spliced:
    """A `Source`: ``recorded``, and from each camera's first event of ``again`` within ``span`` on ``again`` instead.

    So the other model is judged on top of what was before it, as if it had taken over at that moment. Closes both.
    """

    def __init__(self, recorded: Source, again: Source, span: Span) -> None:
        self._recorded = recorded
        self._again = again
        self._span = span
        self._from: dict[str, int] | None = None

    def extents(self) -> tuple[Extent, ...]:
        """See `Source`; of what was recorded, since that is what a span's beginning rests on."""
        return self._recorded.extents()

    def cameras(self) -> tuple[str, ...] | None:
        """See `Source`."""
        return self._recorded.cameras()

    def extent_of(self, camera_id: str) -> Extent:
        """See `Source`."""
        return self._recorded.extent_of(camera_id)

    def read(self, span: Span, cameras: frozenset[str] | None = None) -> Iterator[list[DetectionEvent]]:
        """See `Source`."""
        begins = self._begins()
        closing: list[DetectionEvent] = []
        for events in self._recorded.read(span, cameras):
            kept = []
            for event in events:
                if event.captured_at < begins.get(event.camera_id, _NEVER):
                    kept.append(event)
                elif event.captured_at >= span.end:
                    closing.append(event)
            yield kept
        for events in self._again.read(span, cameras):
            yield [event for event in events if span.holds(event.captured_at)]
        yield closing

    def close(self) -> None:
        """See `Source`."""
        self._recorded.close()
        self._again.close()

    def _begins(self) -> dict[str, int]:
        """When each camera's first frame that was looked at again was captured. Reads the run once."""
        if self._from is None:
            self._from = {}
            for events in self._again.read(self._span):
                for event in events:
                    self._from.setdefault(event.camera_id, event.captured_at)
        return self._from


def compare_again(
    settings: Settings, plan: Plan, history: RevisionHistory, *, partial: bool, progress: Progress | None = None
) -> Comparison:
    """The run's events judged by the ROIs that held, against the recorded alerts.

    Raises `Refused` where frames of the span were gone and ``partial`` is not set, `BrokerUnreachable`.
    """
    topic = run_topic(plan.run, "detections", len(plan.ends)).name
    source = Spliced(
        KafkaSource(settings.kafka, settings.prefix, DETECTIONS.name),
        KafkaSource(settings.kafka, settings.prefix, topic),
        plan.span,
    )
    try:
        missing = check_frames(settings, plan, partial=partial)
        trial = Trial(
            run=plan.run,
            span=plan.span,
            source=source,
            source_words=f"{settings.prefix}{topic} in the place of {settings.prefix}{DETECTIONS.name}",
            candidate=Side.recorded(f"{plan.model.name} {plan.model.version}, floor {plan.floor:g}", history),
            cameras=plan.only,
            partial=partial,
        )
        comparison, _ = compare_sides(settings, trial, history, progress)
    finally:
        source.close()
    notes = [f"frames that were deleted, so not looked at again: {each}" for each in missing]
    notes += _above_what_is_asked_for(plan, history)
    return structs.replace(comparison, notes=(*notes, *comparison.notes))


def _above_what_is_asked_for(plan: Plan, history: RevisionHistory) -> Iterator[str]:
    for camera_id in plan.cameras or history.cameras():
        newest = history.newest(camera_id)
        for roi in newest.document.rois if newest else ():
            if roi.min_confidence < plan.floor:
                yield (
                    f"{camera_id}: {roi.name} asks for min_confidence {roi.min_confidence:g}, but this run reports "
                    f"nothing under {plan.floor:g}"
                )
