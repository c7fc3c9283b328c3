"""A record of `frames` as the stage carries it, and the event that comes of it."""

import re
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from inference.detectors.contract import FrameName
from inference.ordering import PartitionOrder
from inference.pictures import Picture
from runtime.kafka import Message
from schemas.codec import schema_header
from schemas.frames import FrameHead, read_frame_headers
from schemas.messages import Detection, DetectionEvent, FrameRef, Model, Skipped
from schemas.problems import Undecodable

MAX_AHEAD_MS: Final = 50 * 60_000
"""How far a frame may be captured ahead of our clock. Kafka refuses records dated more than an hour ahead of its own,
and the event is dated by its capture time: without this check one such frame would hold up its partition for ever."""

_CAMERA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Headers = list[tuple[str, bytes]]


@dataclass(slots=True, eq=False)
class Frame:
    """One frame between being read (``read_at``, milliseconds UTC) and being sent.

    ``picture`` is being decoded; None for a tick."""

    record: Message
    topic: str
    partition: int
    offset: int
    camera_id: str
    head: FrameHead
    order: "PartitionOrder[Event]"
    is_tick: bool
    picture: "Future[Picture] | None" = None
    read_at: int = 0

    @property
    def name(self) -> FrameName:
        """Which frame it is, for a detector that plays a script."""
        return FrameName(self.camera_id, self.head.captured_at)


@dataclass(slots=True, frozen=True)
class Event:
    """What is sent for a frame, and the frame it is for."""

    frame: Frame
    message: DetectionEvent


def read_frame(record: Message, order: "PartitionOrder[Event]", now_ms: int) -> Frame:
    """The record as a frame; raises `Undecodable` where key or headers tell no camera or no time."""
    key = record.key() or b""
    camera_id = key.decode("ascii", "replace") if isinstance(key, bytes) else str(key)
    if not _CAMERA_ID.fullmatch(camera_id):
        raise Undecodable("bad_key", f"expected a camera id, found {key[:120]!r}")
    head = read_frame_headers(record.headers())
    if not 0 < head.captured_at <= now_ms + MAX_AHEAD_MS:
        raise Undecodable("bad_header", f"captured_at: {head.captured_at} lies too far ahead of our clock, {now_ms}")
    return Frame(
        record=record,
        topic=record.topic(),
        partition=record.partition(),
        offset=record.offset(),
        camera_id=camera_id,
        head=head,
        order=order,
        is_tick=not record.value(),
        read_at=now_ms,
    )


def event_of(
    frame: Frame, model: Model, floor: float, detections: tuple[Detection, ...] = (), skipped: Skipped | None = None
) -> Event:
    """The frame's event. Its bytes depend on the frame and the model alone: stage times go into the headers."""
    head = frame.head
    return Event(
        frame,
        DetectionEvent(
            camera_id=frame.camera_id,
            captured_at=head.captured_at,
            seq=head.seq,
            frame=FrameRef(frame.topic, frame.partition, frame.offset),
            width=head.source_width,
            height=head.source_height,
            floor=floor,
            model=model,
            detections=detections,
            skipped=skipped,
        ),
    )


def event_headers(frame: Frame, inferred_at: int) -> Headers:
    """The schema's name, and when the frame was produced and inferred (milliseconds UTC, ASCII digits)."""
    return [
        schema_header(DetectionEvent),
        ("produced_at", str(frame.head.produced_at).encode()),
        ("inferred_at", str(inferred_at).encode()),
    ]
