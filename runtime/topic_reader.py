"""Reading a topic to its log end, again and again, outside any group."""

import time
from collections.abc import Iterator
from typing import Final

from runtime.kafka import (
    OFFSET_BEGINNING,
    BrokerUnreachable,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
    log_span,
    log_spans,
    reader,
)
from runtime.settings import KafkaSettings

PATIENCE_SECONDS: Final = 10.0
"""A broker that tells no log end, or sends nothing though there is more, for as long is away."""


class TopicReader:
    """Gives every record of a topic once. Not for several threads at once.

    ``partitions``: None asks the cluster, which must have the topic then. ``since``: instead of at the topic's
    beginning, reading starts at the first records whose timestamp is not before it (ms UTC).
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        client_id: str,
        *,
        partitions: tuple[int, ...] | None = None,
        since: int | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.topic = topic
        self._consumer: Consumer = reader(kafka, client_id)
        self._partitions = partitions
        self._since = since
        self._patience = patience_seconds
        self._next: dict[int, int] = {}

    def new(self) -> Iterator[Message]:
        """The records not given yet, up to the log ends of this moment; order holds within a partition.

        Raises `BrokerUnreachable` when an end cannot be learned or reached.
        """
        ends = self._ends()
        if not self._next:
            starts = self._starts(ends)
            self._consumer.assign([TopicPartition(self.topic, number, start) for number, start in starts.items()])
            self._next = {number: max(0, start) for number, start in starts.items()}
        unread = {number for number, end in ends.items() if self._next[number] < end}
        heard = time.monotonic()
        while unread:
            record = self._consumer.poll(0.2)
            if record is None:
                if time.monotonic() - heard > self._patience:
                    stuck = ", ".join(
                        f"{number} at {self._next[number]} of {ends[number]}" for number in sorted(unread)
                    )
                    raise BrokerUnreachable(f"{self.topic}: nothing came for {self._patience:g} s; partition {stuck}")
                continue
            number = int(record.partition() or 0)
            problem = record.error()
            if problem is not None:
                # An end seen before the newest record came may still be in the queue: only one at `end` counts.
                # It does count where compaction has removed the last records. It may lie beyond `end`: what was written
                # since has been given too, and neither that nor this end will be told again.
                at = int(record.offset() or 0)
                if problem.code() == KafkaError._PARTITION_EOF and at >= ends[number]:
                    self._next[number] = at
                    unread.discard(number)
                continue
            heard = time.monotonic()
            self._next[number] = int(record.offset() or 0) + 1
            if self._next[number] >= ends[number]:
                unread.discard(number)
            yield record

    @property
    def position(self) -> int:
        """The sum of the offsets up to which the partitions are read: it grows with every record."""
        return sum(self._next.values())

    def close(self) -> None:
        """Gives the connection back."""
        self._consumer.close()

    def _ends(self) -> dict[int, int]:
        if self._partitions is None:
            spans = log_spans(self._consumer, self.topic)
            self._partitions = tuple(sorted(spans))
            return {number: end for number, (_, end) in spans.items()}
        places = {number: TopicPartition(self.topic, number) for number in self._partitions}
        return {number: log_span(self._consumer, place, self._patience)[1] for number, place in places.items()}

    def _starts(self, ends: dict[int, int]) -> dict[int, int]:
        if self._since is None:
            return dict.fromkeys(ends, OFFSET_BEGINNING)
        places = [TopicPartition(self.topic, number, self._since) for number in ends]
        try:
            found = self._consumer.offsets_for_times(places, timeout=self._patience)
        except KafkaException as error:
            raise BrokerUnreachable(f"{self.topic}: {error.args[0].str()}") from None
        return {place.partition: place.offset if place.offset >= 0 else ends[place.partition] for place in found}
