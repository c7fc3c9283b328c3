"""Detection events from their topic, up to the log end of the moment it was opened."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import islice
from typing import Any, Final

from replay.history import Extent
from replay.spans import Span
from runtime.kafka import (
    TIMESTAMP_CREATE_TIME,
    BrokerUnreachable,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
    log_spans,
    reader,
)
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from schemas.codec import decode
from schemas.messages import DetectionEvent
from schemas.partitioning import partition_of
from schemas.problems import Undecodable
from schemas.topics import DETECTIONS

AT_A_TIME: Final = 100
DECODED_AT_A_TIME: Final = 8
"""Few, so that an event is judged while it is still in the processor's cache: a hundred take half as long again."""
PATIENCE_SECONDS: Final = 300.0
"""A broker that sends nothing for as long, although there is more to read, is not coming back."""

log = get_logger(__name__)


class Records:
    """A topic from given instants or offsets to a frozen end, whatever happens to the broker in the meantime.

    librdkafka reconnects by itself and goes on where it was; we only have to wait, and to notice when to give up.
    ``overrides`` are the client's settings, as `runtime.kafka.reader` takes them.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, *, client_id: str = "backsight-replay", **overrides: Any
    ) -> None:
        self.topic = topic
        self._client: Consumer = reader(kafka, client_id, **{"fetch_message_max_bytes": 8 * 1024 * 1024, **overrides})
        self._kafka = kafka
        self.spans: dict[int, tuple[int, int]] = log_spans(self._client, topic)

    @property
    def partitions(self) -> int:
        """How many partitions the topic has."""
        return len(self.spans)

    def since(self, instant: int, partitions: list[int] | None = None) -> dict[int, int]:
        """Per partition the first offset whose timestamp is not before the instant; the frozen end where none is."""
        wanted = self.spans if partitions is None else partitions
        places = [TopicPartition(self.topic, number, max(0, instant)) for number in wanted]
        try:
            found = self._client.offsets_for_times(places, timeout=30)
        except KafkaException as error:
            raise BrokerUnreachable(f"{self.topic}: {error.args[0].str()}") from None
        return {
            place.partition: self.spans[place.partition][1] if place.offset < 0 else place.offset for place in found
        }

    def read(self, starts: dict[int, int], at_a_time: int = AT_A_TIME) -> Generator[list[Message]]:
        """Records from each partition's start to its frozen end, in lists. Raises `BrokerUnreachable`."""
        unread = {number: self.spans[number][1] for number, start in starts.items() if start < self.spans[number][1]}
        if not unread:
            return
        self._client.assign([TopicPartition(self.topic, number, starts[number]) for number in unread])
        heard = time.monotonic()
        warned = False
        try:
            while unread:
                records = self._client.consume(at_a_time, 0.2)
                if not records:
                    silent = time.monotonic() - heard
                    if silent > PATIENCE_SECONDS:
                        raise BrokerUnreachable(
                            f"{self.topic}: nothing came for {PATIENCE_SECONDS:g} s; {self._left(unread)}"
                        )
                    if silent > 5 and not warned:
                        warned = True
                        log.warning("waiting_for_broker", topic=self.topic)
                    continue
                heard, warned = time.monotonic(), False
                yield self._within(records, unread)
        finally:
            self._client.unassign()

    def first(self) -> dict[int, Message]:
        """The oldest record of each partition that holds any. Not amid a reading."""
        found: dict[int, Message] = {}
        for number, (low, high) in self.spans.items():
            if low < high:
                with closing(self.read({number: low}, 1)) as reading:
                    found.update((number, record) for (record,) in islice(filter(None, reading), 1))
        return found

    def close(self) -> None:
        """Gives the connection back."""
        self._client.close()

    def _within(self, records: list[Message], unread: dict[int, int]) -> list[Message]:
        taken = []
        for record in records:
            number = record.partition()
            end = unread.get(number)
            if end is None:
                continue
            problem = record.error()
            if problem is not None:
                # An end seen before the newest record was written may still be queued: only one at our end counts.
                if problem.code() == KafkaError._PARTITION_EOF and (record.offset() or 0) >= end:
                    self._done(unread, number)
                continue
            offset = record.offset()
            if offset < end:
                taken.append(record)
            if offset >= end - 1:
                self._done(unread, number)
        return taken

    def _done(self, unread: dict[int, int], number: int) -> None:
        del unread[number]
        if unread:
            self._client.incremental_unassign([TopicPartition(self.topic, number)])

    def _left(self, unread: dict[int, int]) -> str:
        return "unread: " + ", ".join(f"partition {number} up to {end}" for number, end in sorted(unread.items()))


class KafkaSource:
    """A `replay.history.Source` over `detections`, or over another topic of the same events (``topic``, unprefixed).

    ``bad`` is told of each record that cannot be decoded (the rules put those on `dead-letters`); it is left out.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        prefix: str = "",
        topic: str = DETECTIONS.name,
        bad: Callable[[Message, Undecodable], None] | None = None,
    ) -> None:
        self._kafka = kafka
        self._records = Records(kafka, prefix + topic)
        self._bad = bad
        self._extents: tuple[Extent, ...] | None = None

    @property
    def topic(self) -> str:
        """The topic's full name."""
        return self._records.topic

    def extents(self) -> tuple[Extent, ...]:
        """See `Source`. Reads one record of each partition, the first time."""
        if self._extents is None:
            # With a client of its own: this may be asked amid a reading. One record is wanted, not what comes after it.
            peek = Records(self._kafka, self.topic, fetch_message_max_bytes=16 * 1024)
            try:
                oldest = peek.first()
            finally:
                peek.close()
            self._extents = tuple(
                Extent(number, low, high, _dated(oldest[number]) if number in oldest else None, low == 0)
                for number, (low, high) in sorted(self._records.spans.items())
            )
        return self._extents

    def cameras(self) -> tuple[str, ...] | None:
        """Kafka cannot tell without reading."""
        return None

    def extent_of(self, camera_id: str) -> Extent:
        """See `Source`."""
        return self.extents()[partition_of(camera_id, self._records.partitions)]

    def read(self, span: Span, cameras: frozenset[str] | None = None) -> Iterator[list[DetectionEvent]]:
        """See `Source`: read to the frozen end, since a slow camera's events of the span may come last."""
        numbers = (
            None if cameras is None else sorted({partition_of(each, self._records.partitions) for each in cameras})
        )
        wanted = None if cameras is None else frozenset(each.encode() for each in cameras)
        closed: set[bytes] = set()
        begin, end = span
        for records in self._records.read(self._records.since(begin, numbers)):
            events: list[DetectionEvent] = []
            for record in records:
                if wanted is not None and record.key() not in wanted:
                    continue
                if closed and record.key() in closed and _is_dated_from(record, end):
                    continue
                try:
                    event = decode(DetectionEvent, record.value(), record.headers())
                except Undecodable as error:
                    if self._bad is not None:
                        self._bad(record, error)
                    continue
                at = event.captured_at
                if at >= end:
                    camera = event.camera_id.encode()
                    if camera in closed:
                        continue
                    closed.add(camera)
                if at >= begin:
                    events.append(event)
                    if len(events) == DECODED_AT_A_TIME:
                        yield events
                        events = []
            yield events

    def close(self) -> None:
        """See `Source`."""
        self._records.close()


def _dated(record: Message) -> int:
    return int(record.timestamp()[1])


def _is_dated_from(record: Message, instant: int) -> bool:
    # The record's timestamp is its event's captured_at: one more event after the end need not be decoded to be known.
    kind, at = record.timestamp()
    return bool(kind == TIMESTAMP_CREATE_TIME and at >= instant)
