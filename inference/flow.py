"""The stage's loop: frames are read, wait for the detector, and leave as events in the order they came.

One thread reads, sends and commits; a few decode JPEGs; one asks the detector. What is read is bounded by what waits,
so a slow detector holds up reading and nothing else. What becomes of events is in `inference.sending`.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from inference.batching import Batches, BatchLimit, is_stale
from inference.detecting import Detecting, Failure, Outcome
from inference.detectors.contract import Detector
from inference.frames import Event, Frame, event_of, read_frame
from inference.model_watch import took_over
from inference.pictures import Limits, Picture, decode
from inference.sending import STAGE, BrokerTrouble, Sending
from runtime.kafka import Consumer, Message, TopicPartition
from runtime.logs import get_logger
from runtime.metrics import FRAMES_SKIPPED, REBALANCES, STAGE_RECORDS_IN
from runtime.moving import Moving
from runtime.repeated import Repeated
from schemas.frames import MAX_FRAME_BYTES
from schemas.messages import Skipped
from schemas.problems import Undecodable

MAX_BAD_IN_A_ROW: Final = 100
"""Frames that fail one after the other, over all cameras: then the fault is not theirs, and a person must look."""
MAX_UNACKNOWLEDGED: Final = 2000
"""Events that wait for the broker. When it is away nothing more is read; 2000 events are about 1 MB."""
DECODERS: Final = 4
_LIMITS: Final = Limits(max_bytes=MAX_FRAME_BYTES)

log = get_logger(__name__)


class TooManyBad(RuntimeError):
    """So many frames in a row could not be looked at that the fault is not theirs."""


class Flow:
    """Everything between the topic `frames` and the topic `detections`. Used from one thread.

    ``clock`` answers milliseconds UTC. ``seen`` is called with each event that was made of a picture.
    """

    def __init__(
        self,
        detector: Detector,
        consumer: Consumer,
        sending: Sending,
        *,
        floor: float,
        batch_wait_ms: int,
        staleness_ms: int,
        clock: Callable[[], int],
        seen: Callable[[Event], None] | None = None,
    ) -> None:
        self._consumer = consumer
        self._sending = sending
        self._floor = floor
        self._staleness_ms = staleness_ms
        self._clock = clock
        self._seen = seen
        self._batches: Batches[Frame] = Batches(batch_wait_ms)
        self._frames_topic = ""
        self._next: Detector | None = None
        self._use(detector)
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")
        self._detection = ThreadPoolExecutor(1, thread_name_prefix="detect")
        self._in_flight: Future[list[Outcome]] | None = None
        self._bad_in_a_row = 0
        self._reading_trouble = Repeated(log, "frames_not_read")
        self._bad_frames = Repeated(log, "frame_not_looked_at")
        self._taken = STAGE_RECORDS_IN.labels(STAGE)
        self._held: set[int] = set()

    @property
    def assigned(self) -> bool:
        """Whether there are partitions to read."""
        return bool(self._held)

    @property
    def moving(self) -> Moving:
        """Whether frames are finished, or there are none."""
        return self._sending.moving

    def subscribe(self, frames_topic: str) -> None:
        """Joins the group. The detector is warm by then, so the first frame does not wait for it."""
        self._frames_topic = frames_topic
        self._consumer.subscribe([frames_topic], on_assign=self._gained, on_revoke=self._revoked, on_lost=self._lost)

    def turn(self) -> None:
        """One turn of the loop, at most about 50 ms. Raises `DeviceLost`, `BrokerTrouble`, `TooManyBad`."""
        self._gather_outcomes()
        self._begin_batch()
        self._sending.turn()
        if self._next is None:
            self._read()
        else:
            self._swap(self._next)

    def take_over(self, detector: Detector) -> None:
        """The detector, ready and warm, looks at every frame that is not read yet.

        What was read is looked at by the one before: on every partition the model changes at one offset.
        """
        self._next = detector

    def drain(self) -> bool:
        """Lets the batch under way end, sends what is done, commits what is safe; answers whether all was.

        What waits and was not begun is left to the next process: it was never sent, so nothing doubles.
        """
        if self._in_flight is not None:
            self._finish(self._in_flight.result())
            self._in_flight = None
        return self._sending.drain()

    def close(self) -> None:
        """Ends the threads and leaves the group; a detection under way is not waited for."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._detection.shutdown(wait=False, cancel_futures=True)
        self._sending.leave()

    def _use(self, detector: Detector) -> None:
        self.detector = detector
        """Who looks now."""
        self._limit = BatchLimit(detector.batch_size)
        # Two batches and a bit: the next one is decoded while this one is detected, and memory stays small.
        self._most_waiting = 2 * detector.batch_size + 8
        self._detecting = Detecting(detector, self._limit, self._clock)

    def _swap(self, detector: Detector) -> None:
        """Once nothing that was read waits any more; that takes two batches, and nothing is read meanwhile."""
        if self._in_flight is not None:
            self._wait_for_detection(0.05)
        elif self._batches:
            self._sending.wait(0.005)  # a batch that is not full leaves soon
        else:
            took_over(detector, self.detector.model)
            self._use(detector)
            self._next = None

    # Reading

    def _read(self) -> None:
        if self._sending.unacknowledged >= MAX_UNACKNOWLEDGED:
            self._sending.wait(0.05)
            return
        if self._sending.unsent >= self._most_waiting and self._in_flight is not None:
            # Full: the detector decides when to go on.
            self._wait_for_detection(0.05)
            return
        due = self._batches.due_in(self._clock())
        # With a batch under way look often: its events should leave within milliseconds of its end.
        seconds = 0.003 if self._in_flight is not None else 0.05 if due is None else min(0.05, due / 1000)
        record = self._consumer.poll(seconds)
        if record is None:
            return
        error = record.error()
        if error is not None:
            if error.fatal():
                raise BrokerTrouble(f"{self._frames_topic}: {error.str()}")
            self._reading_trouble.happened(self._clock(), topic=self._frames_topic, reason=error.str())
            return
        self._accept(record)

    def _wait_for_detection(self, seconds: float) -> None:
        assert self._in_flight is not None
        try:
            self._in_flight.exception(seconds)
        except TimeoutError:
            return

    def _accept(self, record: Message) -> None:
        partition: int = record.partition()
        offset: int = record.offset()
        order = self._sending.order(partition)
        order.begin(offset)
        self._taken.inc()
        now = self._clock()
        try:
            frame = read_frame(record, order, now)
        except Undecodable as bad:
            self._sending.bury(record, bad.reason, bad.detail)
            order.finish(offset, None)
            self._count_bad(f"{record.topic()}[{partition}] offset {offset}: {bad}")
            return
        if frame.is_tick:
            self._skip(frame, "offline")
        elif is_stale(frame.head, now, self._staleness_ms):
            self._skip(frame, "stale")
        else:
            frame.picture = self._decoders.submit(self._decode, record.value())
            self._batches.add(frame, frame.head.mode, now)

    def _decode(self, content: bytes) -> Picture:
        return decode(content, _LIMITS, ("jpeg",), self.detector.input_size)

    # Detecting

    def _begin_batch(self) -> None:
        if self._in_flight is not None:
            return
        now = self._clock()
        taken = self._batches.take(self._limit.now(now), now)
        fresh: list[Frame] = []
        for frame in taken:
            # It may have waited for the batch before.
            if is_stale(frame.head, now, self._staleness_ms):
                self._skip(frame, "stale")
            else:
                fresh.append(frame)
        if fresh:
            self._in_flight = self._detection.submit(self._detecting.batch, fresh)

    def _gather_outcomes(self) -> None:
        if self._in_flight is not None and self._in_flight.done():
            done, self._in_flight = self._in_flight, None
            self._finish(done.result())

    def _finish(self, outcomes: list[Outcome]) -> None:
        for frame, detections, failure in outcomes:
            if failure is None:
                self._bad_in_a_row = 0
                event = event_of(frame, self.detector.model, self._floor, detections)
                frame.order.finish(frame.offset, event)
                if self._seen is not None:
                    self._seen(event)
            else:
                self._fail(frame, failure)

    def _fail(self, frame: Frame, failure: Failure) -> None:
        self._sending.bury(frame.record, failure.reason, failure.detail)
        self._skip(frame, "undecodable")
        self._count_bad(f"camera {frame.camera_id}, offset {frame.offset}: {failure.reason}: {failure.detail}")

    def _skip(self, frame: Frame, why: Skipped) -> None:
        FRAMES_SKIPPED.labels(why).inc()
        frame.order.finish(frame.offset, event_of(frame, self.detector.model, self._floor, skipped=why))

    def _count_bad(self, what: str) -> None:
        self._bad_frames.happened(self._clock(), what=what)
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= MAX_BAD_IN_A_ROW:
            raise TooManyBad(
                f"{self._bad_in_a_row} frames in a row could not be looked at, the last one: {what}. They are on "
                "dead-letters with their reasons. Is something other than ingest writing to the topic "
                f"{self._frames_topic}, or does the detector fail on every picture?"
            )

    # Partitions come and go

    def _gained(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        self._held |= {place.partition for place in places}
        REBALANCES.labels(STAGE).inc()
        log.info("partitions_gained", partitions=sorted(place.partition for place in places))

    def _revoked(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        self._give_up(places, commit=True)
        log.info("partitions_given_up", partitions=sorted(place.partition for place in places))

    def _lost(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        # Somebody else has them already: a commit of ours would be refused.
        self._give_up(places, commit=False)
        log.warning("partitions_lost", partitions=sorted(place.partition for place in places))

    def _give_up(self, places: list[TopicPartition], *, commit: bool) -> None:
        numbers = {place.partition for place in places}
        self._held -= numbers
        self._batches.forget(lambda frame: frame.partition in numbers)
        self._sending.give_up(numbers, commit=commit)
