"""How a shadow begins: with the state that its candidate would have had by then, or where it was left."""

import secrets
import time
from collections.abc import Iterator, Mapping

from msgspec import structs

from replay.history import Source
from replay.kafka_source import KafkaSource, Records
from replay.known import quiet_ms
from replay.run import Progress, judge
from replay.shadow_judging import first_progress
from replay.shadow_log import CameraProgress, Candidate, PartitionProgress
from replay.spans import Span, in_words
from replay.trial import Refused
from runtime.settings import Settings
from schemas.documents.rois import RoiDefaults, Rois, effective_rules
from schemas.effective import revision_of
from schemas.messages import DetectionEvent
from schemas.partitioning import partition_of
from schemas.topics import DETECTIONS


class UpTo(KafkaSource):
    """Without the events after a span that would close what is open at its end: those are judged by who follows."""

    def read(self, span: Span, cameras: frozenset[str] | None = None) -> Iterator[list[DetectionEvent]]:
        """See `Source`, but for those events."""
        for events in super().read(span, cameras):
            yield [event for event in events if event.captured_at < span.end]


def begin(
    settings: Settings, name: str, rois: Rois, defaults: RoiDefaults, started_at: int, progress: Progress | None = None
) -> tuple[Candidate, list[PartitionProgress]]:
    """The candidate, and of every partition the state before its first event from ``started_at`` (ms UTC) on.

    Writes nothing. Raises `Refused` where history from then on is deleted, `BelowFloor`, `BrokerUnreachable`.
    """
    # These log ends are frozen before the source's: an event between them is given twice, and is late then.
    starts = _first_offsets(settings, started_at)
    now = round(time.time() * 1000)
    candidate = Candidate(
        shadow=f"{now}-{secrets.token_hex(3)}",
        name=name,
        started_at=started_at,
        begun_at=now,
        rois=rois.model_dump(mode="json", by_alias=True, exclude_unset=True),
        defaults=defaults.model_dump(mode="json"),
        starts=starts,
    )
    side = candidate.side()
    # A subject that is not hit in all of this span is settled at its end; one that is must be known: so `judge` sees
    # to it that every subject's state is, or says whose is not.
    span = Span(max(0, started_at - quiet_ms(side.revisions()) - 1), max(1, started_at))
    source = UpTo(settings.kafka, settings.prefix)
    try:
        _check_history(source, started_at)
        (judged,) = judge(source, span, [side], progress=progress)
    finally:
        source.close()
    cameras: dict[int, list[CameraProgress]] = {number: [] for number in starts}
    for camera_id, outcome in judged.outcomes.items():
        number = partition_of(camera_id, len(starts))
        cameras[number].append(first_progress(camera_id, outcome.state, starts[number] - 1))
    inexact = tuple(each for outcome in judged.outcomes.values() for each in outcome.inexact if each.what == "time")
    first = [
        PartitionProgress(candidate.shadow, number, start, now, 0, tuple(cameras[number]))
        for number, start in starts.items()
    ]
    return structs.replace(candidate, inexact=inexact), first


def check_resumable(settings: Settings, progress: Mapping[int, PartitionProgress]) -> None:
    """Raises `Refused` where detections that were not judged yet are deleted, or the topic is another one."""
    records = Records(settings.kafka, DETECTIONS.full_name(settings.prefix))
    records.close()
    for number, (low, high) in records.spans.items():
        position = progress[number].position if number in progress else -1
        if low <= position <= high:
            continue
        lost = f"offsets {position} to {low} of partition {number} are deleted"
        if position > high:
            lost = f"partition {number} ends at offset {high}, and the shadow was at {position}: it is another topic"
        raise Refused(f"the shadow cannot go on without a gap: {lost}; --restart begins anew")


def same_document(candidate: Candidate, rois: Rois, defaults: RoiDefaults) -> bool:
    """Whether the candidate judges every camera as this document does. Raises `BadDocument`."""
    return _revisions(*candidate.document()) == _revisions(rois, defaults)


def _revisions(rois: Rois, defaults: RoiDefaults) -> dict[str, str]:
    return {entry.camera_id: revision_of(effective_rules(entry, defaults)) for entry in rois.cameras}


def _first_offsets(settings: Settings, instant: int) -> dict[int, int]:
    records = Records(settings.kafka, DETECTIONS.full_name(settings.prefix))
    try:
        return records.since(instant)
    finally:
        records.close()


def _check_history(source: Source, started_at: int) -> None:
    for extent in source.extents():
        if not extent.whole and extent.first_at is not None and extent.first_at > started_at:
            raise Refused(
                f"partition {extent.partition} of detections begins at {in_words(extent.first_at)} only, what was "
                f"before is deleted: the shadow cannot begin at {in_words(started_at)}"
            )
