"""The stage's loop: frames are read, wait for the detector, and leave as events in the order they came.

One thread reads, sends and commits; a few decode JPEGs; one asks the detector. What is read is bounded by what waits,
so a slow detector holds up reading and nothing else. A frame is committed when the broker holds its event and those of
all frames before it in its partition.
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

from inference.batching import Batches, BatchLimit, is_stale
from inference.detecting import Detecting, Failure, Outcome
from inference.detectors.contract import Detector
from inference.frames import Event, Frame, event_headers, event_of, read_frame
from inference.ordering import PartitionOrder
from inference.pictures import Limits, Picture, decode
from runtime.dead_letters import DeadLetters
from runtime.kafka import BrokerUnreachable, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from runtime.logs import get_logger
from runtime.metrics import FRAMES_SKIPPED, LAG_RECORDS, PRODUCE_ERRORS, RECORD_AGE, STAGE_RECORDS
from runtime.repeated import Repeated
from schemas.codec import encode
from schemas.frames import MAX_FRAME_BYTES
from schemas.messages import Skipped
from schemas.problems import Undecodable

STAGE: Final = "inference"

MAX_BAD_IN_A_ROW: Final = 100
"""Frames that fail one after the other, over all cameras: then the fault is not theirs, and a person must look."""
MAX_UNACKNOWLEDGED: Final = 2000
"""Events that wait for the broker. When it is away nothing more is read; 2000 events are about 1 MB."""
COMMIT_EVERY_SECONDS: Final = 0.25
LAG_EVERY_SECONDS: Final = 5.0
DRAIN_SECONDS: Final = 10.0
DECODERS: Final = 4
_LIMITS: Final = Limits(max_bytes=MAX_FRAME_BYTES)
_REFUSED_FOR_ITSELF: Final = frozenset(
    {KafkaError.INVALID_TIMESTAMP, KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD}
)
"""What the broker says of one record; the next one may well be taken."""

log = get_logger(__name__)


class BrokerTrouble(RuntimeError):
    """The broker refuses what no waiting mends."""


class TooManyBad(RuntimeError):
    """So many frames in a row could not be looked at that the fault is not theirs."""


class Flow:
    """Everything between the topic `frames` and the topic `detections`. Used from one thread.

    ``clock`` answers milliseconds UTC.
    """

    def __init__(
        self,
        detector: Detector,
        consumer: Consumer,
        producer: Producer,
        dead_letters: DeadLetters,
        detections_topic: str,
        *,
        floor: float,
        batch_wait_ms: int,
        staleness_ms: int,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._detector = detector
        self._consumer = consumer
        self._producer = producer
        self._dead_letters = dead_letters
        self._topic = detections_topic
        self._floor = floor
        self._staleness_ms = staleness_ms
        self._clock = clock
        self._limit = BatchLimit(detector.batch_size)
        self._batches: Batches[Frame] = Batches(batch_wait_ms)
        # Two batches and a bit: the next one is decoded while this one is detected, and memory stays small.
        self._most_waiting = 2 * detector.batch_size + 8
        self._orders: dict[int, PartitionOrder[Event]] = {}
        self._committed: dict[int, int] = {}
        self._frames_topic = ""
        self._detecting = Detecting(detector, self._limit, clock)
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")
        self._detection = ThreadPoolExecutor(1, thread_name_prefix="detect")
        self._in_flight: Future[list[Outcome]] | None = None
        self._refused: list[tuple[Frame, str]] = []
        self._broken: str | None = None
        self._bad_in_a_row = 0
        self._commit_at = self._lag_at = 0.0
        self._reading_trouble = Repeated(log, "frames_not_read")
        self._commit_trouble = Repeated(log, "commit_failed")
        self._bad_frames = Repeated(log, "frame_not_looked_at")
        self._unconfirmed = 0
        self._broker_is_silent = False
        self.assigned = False

    def subscribe(self, frames_topic: str) -> None:
        """Joins the group. The detector is warm by then, so the first frame does not wait for it."""
        self._frames_topic = frames_topic
        self._consumer.subscribe([frames_topic], on_assign=self._gained, on_revoke=self._revoked, on_lost=self._lost)

    def turn(self) -> None:
        """One turn of the loop, at most about 50 ms. Raises `DeviceLost`, `BrokerTrouble`, `TooManyBad`."""
        self._gather_outcomes()
        self._begin_batch()
        self._send()
        self._producer.poll(0)
        self._check_sent()
        self._commit_if_due()
        self._read()

    def drain(self) -> bool:
        """Lets the batch under way end, sends what is done, commits what is safe; answers whether all was.

        What waits and was not begun is left to the next process: it was never sent, so nothing doubles.
        """
        if self._in_flight is not None:
            self._finish(self._in_flight.result())
            self._in_flight = None
        self._send()
        if self._producer.flush(DRAIN_SECONDS):
            self._broker_is_silent = True
            # They will be made again by whoever goes on; sent later, after that, they would only be doubles.
            self._producer.purge()
            return False
        self._check_sent()
        self._commit()
        deadline = time.monotonic() + DRAIN_SECONDS / 2
        while self._unconfirmed and time.monotonic() < deadline:
            # Serves the answers; a record that comes along is not kept, and not committed.
            self._consumer.poll(0.05)
        self._broker_is_silent = self._unconfirmed > 0
        return not self._broker_is_silent

    def close(self) -> None:
        """Ends the threads and leaves the group; a detection under way is not waited for."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._detection.shutdown(wait=False, cancel_futures=True)
        # With the broker away, leaving waits for it to return: we do not, and the group notices by itself.
        leaving = threading.Thread(target=self._consumer.close, name="leave", daemon=True)
        leaving.start()
        leaving.join(DRAIN_SECONDS)
        if leaving.is_alive():
            log.warning("group_not_left", reason="the broker does not answer; it drops this member after its timeout")

    # Reading

    def _read(self) -> None:
        waiting = sum(order.unsent for order in self._orders.values())
        unacknowledged = sum(order.unacknowledged for order in self._orders.values())
        if unacknowledged >= MAX_UNACKNOWLEDGED:
            self._producer.poll(0.05)
            return
        if waiting >= self._most_waiting and self._in_flight is not None:
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
        order = self._orders.setdefault(partition, PartitionOrder())
        order.begin(offset)
        now = self._clock()
        try:
            frame = read_frame(record, order, now)
        except Undecodable as bad:
            self._bury(record, bad.reason, bad.detail)
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
        return decode(content, _LIMITS, ("jpeg",), self._detector.input_size)

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
                frame.order.finish(frame.offset, event_of(frame, self._detector.model, self._floor, detections))
            else:
                self._fail(frame, failure)

    def _fail(self, frame: Frame, failure: Failure) -> None:
        self._bury(frame.record, failure.reason, failure.detail)
        self._skip(frame, "undecodable")
        self._count_bad(f"camera {frame.camera_id}, offset {frame.offset}: {failure.reason}: {failure.detail}")

    def _skip(self, frame: Frame, why: Skipped) -> None:
        FRAMES_SKIPPED.labels(why).inc()
        frame.order.finish(frame.offset, event_of(frame, self._detector.model, self._floor, skipped=why))

    def _count_bad(self, what: str) -> None:
        self._bad_frames.happened(self._clock(), what=what)
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= MAX_BAD_IN_A_ROW:
            raise TooManyBad(
                f"{self._bad_in_a_row} frames in a row could not be looked at, the last one: {what}. They are on "
                "dead-letters with their reasons. Is something other than ingest writing to the topic "
                f"{self._frames_topic}, or does the detector fail on every picture?"
            )

    def _bury(self, record: Message, reason: str, detail: str) -> None:
        try:
            self._dead_letters.send(record, reason, detail)
        except BrokerUnreachable as error:
            raise BrokerTrouble(f"a frame that cannot be looked at could not be kept either: {error}") from None

    # Sending and committing

    def _send(self) -> None:
        for order in self._orders.values():
            for offset, event in order.releasable():
                self._produce(order, offset, event)

    def _produce(self, order: PartitionOrder[Event], offset: int, event: Event) -> None:
        frame, now = event.frame, self._clock()
        value = encode(event.message)
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value=value,
                    key=frame.camera_id,
                    partition=frame.partition,
                    timestamp=frame.head.captured_at,
                    headers=event_headers(frame, now),
                    on_delivery=partial(self._delivered, order, offset, frame),
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        frame.picture = None
        STAGE_RECORDS.labels(STAGE).inc()
        RECORD_AGE.labels(STAGE).observe(max(0, now - frame.head.captured_at) / 1000)

    def _delivered(
        self, order: PartitionOrder[Event], offset: int, frame: Frame, error: KafkaError | None, _record: Message
    ) -> None:
        if error is None:
            order.acknowledged(offset)
            return
        PRODUCE_ERRORS.labels(STAGE).inc()
        if error.code() in _REFUSED_FOR_ITSELF:
            self._refused.append((frame, error.str()))
        else:
            self._broken = f"{self._topic}[{frame.partition}]: {error.str()}"

    def _check_sent(self) -> None:
        if self._broken is not None:
            self._broker_is_silent = True
            raise BrokerTrouble(self._broken)
        refused, self._refused = self._refused, []
        for frame, reason in refused:
            self._bury(frame.record, "event_refused", reason)
            frame.order.acknowledged(frame.offset)

    def _commit_if_due(self) -> None:
        now = time.monotonic()
        if now >= self._commit_at:
            self._commit_at = now + COMMIT_EVERY_SECONDS
            self._commit()
        if now >= self._lag_at:
            self._lag_at = now + LAG_EVERY_SECONDS
            self._measure_lag()

    def _commit(self) -> None:
        """Begins to commit what has become safe; `committed` hears how it went."""
        places = self._committable(self._orders)
        moved = [place for place in places if place.offset != self._committed.get(place.partition)]
        if not moved:
            return
        try:
            self._consumer.commit(offsets=moved, asynchronous=True)
        except KafkaException as error:
            self._commit_trouble.happened(self._clock(), reason=error.args[0].str())
            return
        self._unconfirmed += 1
        self._committed |= {place.partition: place.offset for place in moved}

    def _committable(self, numbers: Iterable[int]) -> list[TopicPartition]:
        found = {number: self._orders[number].committable() for number in numbers if number in self._orders}
        return [TopicPartition(self._frames_topic, number, at) for number, at in found.items() if at is not None]

    def committed(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        """The client's `on_commit`: a commit that failed is made again at the next turn that is due."""
        self._unconfirmed = max(0, self._unconfirmed - 1)
        for place in places:
            failed = error or place.error
            if failed:
                self._committed.pop(place.partition, None)
                self._commit_trouble.happened(self._clock(), reason=failed.str())

    def _measure_lag(self) -> None:
        lag = 0
        try:
            for place in self._consumer.position([TopicPartition(self._frames_topic, n) for n in self._orders]):
                _low, high = self._consumer.get_watermark_offsets(place, cached=True)
                lag += max(0, high - place.offset) if place.offset >= 0 else 0
        except KafkaException:
            return
        LAG_RECORDS.labels(STAGE).set(lag)

    # Partitions come and go

    def _gained(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        self.assigned = True
        log.info("partitions_gained", partitions=sorted(place.partition for place in places))

    def _revoked(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        """Somebody else goes on from our commit, so what was sent is made safe and committed first."""
        numbers = {place.partition for place in places}
        self._forget_unsent(numbers)
        # Waiting for a commit of a broker that is away would take minutes; what is not committed is done again.
        if not self._broker_is_silent and not self._producer.flush(DRAIN_SECONDS):
            self._commit_now(self._committable(numbers))
        self._drop(numbers)
        log.info("partitions_given_up", partitions=sorted(numbers))

    def _lost(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        """Somebody else has them already: a commit of ours would be refused."""
        numbers = {place.partition for place in places}
        self._forget_unsent(numbers)
        self._drop(numbers)
        log.warning("partitions_lost", partitions=sorted(numbers))

    def _commit_now(self, places: list[TopicPartition]) -> None:
        if not places:
            return
        try:
            self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            self._commit_trouble.happened(self._clock(), reason=error.args[0].str())

    def _forget_unsent(self, numbers: set[int]) -> None:
        for number in numbers & self._orders.keys():
            self._orders[number].forget_unsent()
        self._batches.forget(lambda frame: frame.partition in numbers)

    def _drop(self, numbers: set[int]) -> None:
        for number in numbers:
            self._orders.pop(number, None)
            self._committed.pop(number, None)
