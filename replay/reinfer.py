"""Stored frames looked at again, with another model or other thresholds, into `replay.<run>.detections`.

Every frame of the span goes to the detector by itself, in its partition's order, as frames in `complete` mode do live.
An interrupted run goes on where its events end.
"""

import contextlib
import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from msgspec import Struct, structs

from inference.batching import BatchLimit
from inference.detecting import Detecting
from inference.detectors.contract import Detector
from inference.flow import MAX_BAD_IN_A_ROW
from inference.frames import Event, Frame, event_headers, event_of, read_frame
from inference.ordering import PartitionOrder
from inference.pictures import Limits, Picture, decode
from replay.frame_plan import Gone, Plan, write_plan
from replay.kafka_source import Records
from replay.run import Progress
from replay.runs import run_topic
from replay.trial import Refused
from runtime.kafka import BrokerUnreachable, KafkaError, Message, Producer, producer
from runtime.settings import Settings
from schemas.codec import decode as decode_message
from schemas.codec import encode
from schemas.frames import MAX_FRAME_BYTES
from schemas.messages import DetectionEvent
from schemas.problems import Undecodable
from schemas.topics import FRAMES

DECODERS: Final = 4
AHEAD: Final = 16
"""Frames that are decoded before the detector asks for them."""
AT_A_TIME: Final = 32
FLUSH_SECONDS: Final = 60.0
_LIMITS: Final = Limits(max_bytes=MAX_FRAME_BYTES)


class Looked(Struct):
    """What became of the frames: ``done`` have an event, ``undecodable`` of them one without a picture.

    ``unreadable`` frames tell no camera or no time, and have none.
    """

    done: int = 0
    undecodable: int = 0
    unreadable: int = 0


def reinfer(settings: Settings, plan: Plan, detector: Detector, progress: Progress | None = None) -> Looked:
    """Looks at what the run has not looked at yet. May be interrupted at any moment and called again.

    Raises `BrokerUnreachable`, `Refused` where frame after frame cannot be looked at, and what the detector raises.
    """
    return _Run(settings, plan, detector).look(progress)


class _Run:
    def __init__(self, settings: Settings, plan: Plan, detector: Detector) -> None:
        self._settings = settings
        self._plan = plan
        self._detector = detector
        self._detecting = Detecting(detector, BatchLimit(1), _now_ms)
        self._topic = run_topic(plan.run, "detections", len(plan.ends)).full_name(settings.prefix)
        # A broker that is away is waited for, so that no event is left out before one that is taken.
        self._producer: Producer = producer(settings.kafka, "backsight-reinfer", message_timeout_ms=0)
        self._refused: list[str] = []
        self._bad_in_a_row = 0
        self._looked = Looked()

    def look(self, progress: Progress | None) -> Looked:
        frames = Records(
            self._settings.kafka,
            FRAMES.full_name(self._settings.prefix),
            client_id="backsight-reinfer",
            queued_max_messages_kbytes=16384,
        )
        frames.spans = {
            number: (low, min(high, self._plan.ends.get(number, 0))) for number, (low, high) in frames.spans.items()
        }
        try:
            with (
                contextlib.closing(self._frames(frames)) as chosen,
                ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as decoders,
            ):
                waiting: deque[Frame] = deque()
                for frame in chosen:
                    if not frame.is_tick:
                        frame.picture = decoders.submit(self._decode, frame.record.value())
                    waiting.append(frame)
                    if len(waiting) > AHEAD:
                        self._look_at(waiting.popleft(), progress)
                while waiting:
                    self._look_at(waiting.popleft(), progress)
        finally:
            frames.close()
            left = self._producer.flush(FLUSH_SECONDS)
        if left:
            raise BrokerUnreachable(f"{self._topic}: the broker did not take {left} events within {FLUSH_SECONDS:g} s")
        self._check_sent()
        return self._looked

    def _frames(self, frames: Records) -> Generator[Frame, None, None]:
        """The plan's frames that have no event yet, each partition's in order."""
        done = _last_frames(self._settings, self._topic)
        following = {number: max(start, done.get(number, 0)) for number, start in self._plan.starts.items()}
        for records in frames.read(dict(following), AT_A_TIME):
            for record in records:
                number, offset = record.partition(), record.offset()
                self._skipped(number, following[number], offset)
                following[number] = offset + 1
                frame = self._read(record)
                if frame is not None and self._plan.wants(frame.camera_id, frame.head.captured_at):
                    yield frame
        for number, offset in following.items():
            self._skipped(number, offset, frames.spans[number][1])

    def _skipped(self, partition: int, expected: int, found: int) -> None:
        """Writes down that the frames between were deleted, before any event of a frame after them."""
        if found > expected:
            gone = Gone(partition, expected, found)
            self._plan = structs.replace(self._plan, gone=(*self._plan.gone, gone))
            write_plan(self._settings, self._plan)

    def _read(self, record: Message) -> Frame | None:
        order: PartitionOrder[Event] = PartitionOrder()
        try:
            return read_frame(record, order, _now_ms())
        except Undecodable:
            self._looked.unreadable += 1
            return None

    def _decode(self, content: bytes) -> Picture:
        return decode(content, _LIMITS, ("jpeg",), self._detector.input_size)

    def _look_at(self, frame: Frame, progress: Progress | None) -> None:
        self._send(frame, self._event(frame))
        self._looked.done += 1
        if progress is not None:
            progress(self._looked.done, frame.head.captured_at)

    def _event(self, frame: Frame) -> DetectionEvent:
        model, floor = self._detector.model, self._plan.floor
        if frame.is_tick:
            return event_of(frame, model, floor, skipped="offline").message
        [(_, detections, failure)] = self._detecting.batch([frame])
        if failure is None:
            self._bad_in_a_row = 0
            return event_of(frame, model, floor, detections).message
        self._looked.undecodable += 1
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= MAX_BAD_IN_A_ROW:
            raise Refused(
                f"{self._bad_in_a_row} frames in a row could not be looked at, the last one: camera {frame.camera_id}, "
                f"{frame.topic}[{frame.partition}] offset {frame.offset}: {failure.reason}: {failure.detail}"
            )
        return event_of(frame, model, floor, skipped="undecodable").message

    def _send(self, frame: Frame, event: DetectionEvent) -> None:
        self._check_sent()
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    key=frame.camera_id,
                    value=encode(event),
                    partition=frame.partition,
                    timestamp=event.captured_at,
                    headers=event_headers(frame, _now_ms()),
                    on_delivery=self._delivered,
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: KafkaError | None, _record: Message) -> None:
        if error is not None:
            self._refused.append(error.str())

    def _check_sent(self) -> None:
        if self._refused:
            # What waits behind it must not be taken, or going on would leave the refused one out.
            self._producer.purge()
            raise BrokerUnreachable(f"{self._topic}: {self._refused[0]}")


def _last_frames(settings: Settings, topic: str) -> dict[int, int]:
    """Per partition the offset after the last frame that has an event already."""
    events = Records(settings.kafka, topic, client_id="backsight-reinfer-resume")
    found: dict[int, int] = {}
    try:
        newest = {number: end - 1 for number, (low, end) in events.spans.items() if end > low}
        for records in events.read(newest):
            for record in records:
                event = decode_message(DetectionEvent, record.value(), record.headers())
                found[event.frame.partition] = event.frame.offset + 1
    finally:
        events.close()
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
