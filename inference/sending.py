"""From events to the broker and to commits: the half of the stage that must lose nothing.

Events leave in the order of their frames' offsets. A frame is committed when the broker holds its event, and those of
all frames before it in its partition. Used from the one thread that also reads.
"""

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from inference.frames import Event, Frame, event_headers
from inference.ordering import PartitionOrder
from runtime.dead_letters import DeadLetters
from runtime.kafka import BrokerUnreachable, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from runtime.logs import get_logger
from runtime.metrics import LAST_COMMIT, PRODUCE_ERRORS, RECORD_AGE, STAGE_RECORDS, STAGE_SECONDS
from runtime.moving import Moving
from runtime.repeated import Repeated
from runtime.tracing import Tracing, traceparent_of
from schemas.codec import encode

STAGE: Final = "inference"
COMMIT_EVERY_SECONDS: Final = 0.25
LAG_EVERY_SECONDS: Final = 5.0
DRAIN_SECONDS: Final = 10.0
_REFUSED_FOR_ITSELF: Final = frozenset(
    {KafkaError.INVALID_TIMESTAMP, KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD}
)
"""What the broker says of one record; the next one may well be taken."""

log = get_logger(__name__)


class BrokerTrouble(RuntimeError):
    """The broker refuses what no waiting mends."""


class Sending:
    """The frames that were read, by partition, until their events are safe and they are committed."""

    def __init__(
        self,
        consumer: Consumer,
        producer: Producer,
        dead_letters: DeadLetters,
        frames_topic: str,
        detections_topic: str,
        clock: Callable[[], int],
        tracing: Tracing | None = None,
    ) -> None:
        self._consumer = consumer
        self._producer = producer
        self._dead_letters = dead_letters
        self._frames_topic = frames_topic
        self._topic = detections_topic
        self._clock = clock
        self._tracing = tracing
        self._orders: dict[int, PartitionOrder[Event]] = {}
        self._committed: dict[int, int] = {}
        self._unconfirmed = 0
        self._refused: list[tuple[Frame, str]] = []
        self._broken: str | None = None
        self._broker_is_silent = False
        self._commit_at = self._lag_at = 0.0
        self._commit_trouble = Repeated(log, "commit_failed")
        self._records = STAGE_RECORDS.labels(STAGE)
        self._seconds = STAGE_SECONDS.labels(STAGE)
        self._age = RECORD_AGE.labels(STAGE)
        self._finished = 0
        self._reached_at: int | None = None
        self.moving = Moving(STAGE)

    def order(self, partition: int) -> PartitionOrder[Event]:
        """The frames of a partition."""
        return self._orders.setdefault(partition, PartitionOrder())

    @property
    def unsent(self) -> int:
        """Frames that were read and wait for the detector, or behind one that does."""
        return sum(order.unsent for order in self._orders.values())

    @property
    def unacknowledged(self) -> int:
        """Events that wait for the broker."""
        return sum(order.unacknowledged for order in self._orders.values())

    def wait(self, seconds: float) -> None:
        """Waits for the broker to take something."""
        self._producer.poll(seconds)

    def turn(self) -> None:
        """Sends what is done, hears what the broker took, commits what is due. Raises `BrokerTrouble`."""
        self._send()
        self._producer.poll(0)
        self._check_sent()
        self._commit_if_due()

    def drain(self) -> bool:
        """Sends what is done and commits what is safe, within seconds; answers whether all was."""
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

    def leave(self) -> None:
        """Leaves the group. With the broker away that waits for its return: we do not, and it notices by itself."""
        leaving = threading.Thread(target=self._consumer.close, name="leave", daemon=True)
        leaving.start()
        leaving.join(DRAIN_SECONDS)
        if leaving.is_alive():
            log.warning("group_not_left", reason="the broker does not answer; it drops this member after its timeout")

    def give_up(self, numbers: set[int], *, commit: bool) -> None:
        """These partitions are somebody else's from now on; what was not sent is theirs to do.

        ``commit``: they go on from our commit, so what was sent is made safe and committed first.
        """
        for number in numbers & self._orders.keys():
            self._orders[number].forget_unsent()
        # Waiting for a commit of a broker that is away would take minutes; what is not committed is done again.
        if commit and not self._broker_is_silent and not self._producer.flush(DRAIN_SECONDS):
            self._commit_now(self._committable(numbers))
        for number in numbers:
            self._orders.pop(number, None)
            self._committed.pop(number, None)

    def bury(self, record: Message, reason: str, detail: str) -> None:
        """Puts a frame that cannot be looked at on `dead-letters`; returns when the broker has it."""
        try:
            self._dead_letters.send(record, reason, detail)
        except BrokerUnreachable as error:
            raise BrokerTrouble(f"a frame that cannot be looked at could not be kept either: {error}") from None

    def _send(self) -> None:
        for order in self._orders.values():
            for offset, event in order.releasable():
                self._produce(order, offset, event)

    def _produce(self, order: PartitionOrder[Event], offset: int, event: Event) -> None:
        frame, now = event.frame, self._clock()
        value = encode(event.message)
        headers = event_headers(frame, now)
        if self._tracing is not None:
            parent = traceparent_of(frame.record.headers())
            if parent is not None:
                headers.append(self._tracing.span("infer", frame.read_at, now, parent, camera=frame.camera_id))
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value=value,
                    key=frame.camera_id,
                    partition=frame.partition,
                    timestamp=frame.head.captured_at,
                    headers=headers,
                    on_delivery=partial(self._delivered, order, offset, frame),
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        frame.picture = None
        self._finished += 1
        self._reached_at = frame.head.captured_at
        self._records.inc()
        self._seconds.observe(max(0, now - frame.read_at) / 1000)
        self._age.observe(max(0, now - frame.head.captured_at) / 1000)

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
            self.bury(frame.record, "event_refused", reason)
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
        if error is None:
            LAST_COMMIT.labels(STAGE).set_to_current_time()
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
        self.moving.look(lag, self._finished, self._reached_at, holding=self.unacknowledged > 0)

    def _commit_now(self, places: list[TopicPartition]) -> None:
        if not places:
            return
        try:
            self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            self._commit_trouble.happened(self._clock(), reason=error.args[0].str())
