"""What this sink was told already, read back from the topic `deliveries`.

An outcome is never older than its alert. So whoever knows every outcome since an alert's instant knows whether that
alert was told, and the memory reaches back only as far as the oldest alert that was asked for.
"""

import time
from typing import Final

from router.lanes import wall_clock
from runtime.kafka import BrokerUnreachable, KafkaError, KafkaException, TopicPartition, reader
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from schemas.topics import DAY, DELIVERIES, MINUTE

SKEW_MS: Final = 10 * MINUTE
"""By how much the camera's host and ours may disagree about the time."""
AT_FIRST_MS: Final = DAY
"""What is read at the start, so that the first alert does not wait for the reading."""
MOST: Final = 500_000
"""Outcomes kept, about 70 MB; beyond, the older half is let go and read again if it should be asked for."""
STALL_SECONDS: Final = 30.0
_SILENCED: Final = b'"outcome":"silenced"'

log = get_logger(__name__)


class DeliveryLog:
    """The deliveries of one sink that have ended. Not for several threads at once."""

    def __init__(self, kafka: KafkaSettings, prefix: str, sink: str, client_id: str, most: int = MOST) -> None:
        self._topic = DELIVERIES.full_name(prefix)
        self._key = f"{sink}/".encode()
        self._most = most
        self._reader = reader(kafka, client_id)
        self._ended: dict[str, int] = {}
        self._silenced: set[str] = set()
        self._positions: dict[int, int] = {}
        self._since: int | None = None

    def has(self, delivery_id: str, instant: int) -> bool:
        """Whether the delivery of an alert of ``instant`` has ended. Reads older outcomes where they are needed."""
        if self._since is None or instant - SKEW_MS < self._since:
            self._reach_back(instant - SKEW_MS)
        return delivery_id in self._ended

    def was_silenced(self, delivery_id: str) -> bool:
        """Whether the delivery ended (see `has`) without anybody being told."""
        return delivery_id in self._silenced

    def is_heard(self, delivery_id: str) -> None:
        """Somebody is being told after all."""
        self._silenced.discard(delivery_id)

    @property
    def knows_silenced(self) -> bool:
        """Whether any delivery that is known ended like that."""
        return bool(self._silenced)

    def add(self, delivery_id: str, at: int, *, silenced: bool = False) -> None:
        """A delivery ended at ``at``, and its outcome is on the topic."""
        self._ended[delivery_id] = at
        if silenced:
            self._silenced.add(delivery_id)
        else:
            self._silenced.discard(delivery_id)
        if len(self._ended) > self._most:
            self._forget_half()

    def refresh(self) -> None:
        """Reads what others wrote meanwhile; to be called when partitions come to us."""
        if self._since is None:
            self._reach_back(wall_clock() - AT_FIRST_MS)
        else:
            self._read(dict(self._positions))

    def close(self) -> None:
        """Gives the connection back."""
        self._reader.close()

    def _reach_back(self, since: int) -> None:
        since = max(0, since)
        began = time.monotonic()
        try:
            partitions = self._reader.list_topics(self._topic, timeout=STALL_SECONDS).topics[self._topic].partitions
            wanted = [TopicPartition(self._topic, number, since) for number in partitions]
            starts = {found.partition: found.offset for found in self._reader.offsets_for_times(wanted, STALL_SECONDS)}
        except KafkaException as error:
            raise BrokerUnreachable(f"{self._topic}: {error.args[0].str()}") from None
        self._read(starts)
        self._since = since
        seconds = round(time.monotonic() - began, 2)
        log.info("deliveries_read_back", since=since, known=len(self._ended), seconds=seconds)

    def _read(self, starts: dict[int, int]) -> None:
        """Reads every partition from its start (negative: nothing is there) to its end of this moment."""
        try:
            open_ = {}
            for number, start in starts.items():
                low, end = self._reader.get_watermark_offsets(TopicPartition(self._topic, number), STALL_SECONDS)
                start = end if start < 0 else max(start, low)
                self._positions[number] = start
                if start < end:
                    open_[number] = end
            self._reader.assign([TopicPartition(self._topic, number, self._positions[number]) for number in open_])
            self._read_to(open_)
            self._reader.unassign()
        except KafkaException as error:
            raise BrokerUnreachable(f"{self._topic}: {error.args[0].str()}") from None

    def _read_to(self, ends: dict[int, int]) -> None:
        deadline = time.monotonic() + STALL_SECONDS
        while ends:
            record = self._reader.poll(0.2)
            if record is None:
                if time.monotonic() > deadline:
                    raise BrokerUnreachable(f"{self._topic}: no progress for {STALL_SECONDS:g} s")
                continue
            deadline = time.monotonic() + STALL_SECONDS
            number, error = record.partition(), record.error()
            if error is None:
                self._positions[number] = record.offset() + 1
                key = record.key() or b""
                value = record.value()
                if value and key.startswith(self._key):
                    name = key[len(self._key) :].decode(errors="replace")
                    self._ended[name] = record.timestamp()[1]
                    # The value is not decoded: there may be hundreds of thousands, and few are of this kind.
                    (self._silenced.add if _SILENCED in value else self._silenced.discard)(name)
            elif error.code() == KafkaError._PARTITION_EOF:
                # Compaction may have taken the last records: the end is the end whatever offset it has.
                self._positions[number] = max(self._positions[number], ends.get(number, 0))
            if self._positions[number] >= ends.get(number, self._positions[number] + 1):
                del ends[number]

    def _forget_half(self) -> None:
        oldest_first = sorted(self._ended, key=self._ended.__getitem__)
        gone = oldest_first[: len(oldest_first) // 2]
        self._since = max(self._since or 0, self._ended[gone[-1]] + 1)
        for delivery_id in gone:
            del self._ended[delivery_id]
            self._silenced.discard(delivery_id)
