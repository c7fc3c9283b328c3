"""The loop of `backsight archive run`: the topic's records, in batches, to the archive."""

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from replay.archive import BadArchive
from replay.archive.writer import Committed, Writer
from replay.kafka_source import Records
from runtime.health import Health
from runtime.kafka import (
    BrokerUnreachable,
    Consumer,
    KafkaError,
    Message,
    TopicPartition,
    log_span,
    log_spans,
    reader,
)
from runtime.lifecycle import Stop
from runtime.logs import get_logger
from runtime.metrics import ARCHIVE_EVENTS, ARCHIVE_FILES, LAST_COMMIT, RECORD_AGE, STAGE_RECORDS, STAGE_RECORDS_IN
from runtime.moving import Moving
from runtime.repeated import Repeated
from runtime.settings import KafkaSettings
from schemas.codec import decode
from schemas.messages import DetectionEvent
from schemas.problems import Undecodable

STAGE: Final = "archive"
AT_A_TIME: Final = 1_000
LOOK_SECONDS: Final = 5.0
PREFETCH: Final = {"queued_min_messages": 20_000, "queued_max_messages_kbytes": 16_384}
"""librdkafka's own would keep 64 MB of records waiting."""

PATIENCE_SECONDS: Final = 300.0
"""With an end to reach, a broker that sends nothing for as long is not coming back. Without one it is waited for."""

log = get_logger(__name__)


class GapRefused(RuntimeError):
    """Records were deleted from the topic before they were archived, and nobody said to go on."""


class Told(Struct, frozen=True):
    """What the loop is told. ``follow``: go on after the log's end of the start. ``every_seconds``: a batch is
    committed at that age. ``since``: where a new archive begins, ms UTC; None: with the oldest record."""

    follow: bool
    every_seconds: float
    accept_gaps: bool = False
    since: int | None = None


def archive(
    kafka: KafkaSettings,
    told: Told,
    writer: Writer,
    stop: Stop,
    on_commit: Callable[[Committed], None],
    health: Health | None = None,
) -> None:
    """Reads until the end, or until stopped; whatever was read is committed then. ``health`` is told how it goes.

    Raises `GapRefused` (what was before the gap is committed), `BadArchive` where the log lost what the archive has,
    `BrokerUnreachable`, and `OSError` where the disk takes no more.
    """
    loop = _Loop(kafka, told, writer, on_commit, health or Health(STAGE))
    try:
        loop.run(stop)
    except GapRefused:
        loop.commit()
        raise
    finally:
        loop.close()


class _Loop:
    def __init__(
        self,
        kafka: KafkaSettings,
        told: Told,
        writer: Writer,
        on_commit: Callable[[Committed], None],
        health: Health,
    ) -> None:
        self._kafka = kafka
        self._told = told
        self._writer = writer
        self._on_commit = on_commit
        self._topic = writer.ledger.topic
        self._client: Consumer = reader(kafka, "backsight-archive", **PREFETCH)
        self._bad = Repeated(log, "not_archived")
        self._unread: dict[int, int] = {}
        self._committed_at = time.monotonic()
        self._health = health
        self._moving = Moving(STAGE)
        self._age = RECORD_AGE.labels(STAGE)
        self._read = 0
        self._reached_at: int | None = None
        self._look_at = 0.0
        health.check("moving", self._moving.fault, "alive")

    def run(self, stop: Stop) -> None:
        self._assign()
        self._committed_at = heard = time.monotonic()
        while not stop.is_set() and (self._told.follow or self._unread):
            self._health.beat()
            records = self._client.consume(AT_A_TIME, 0.2)
            for record in records:
                self._take(record)
            now = time.monotonic()
            if now >= self._look_at:
                self._look_at = now + LOOK_SECONDS
                self._moving.look(self._lag(), self._read, self._reached_at)
            if records:
                heard = now
            elif not self._told.follow and now - heard > PATIENCE_SECONDS:
                raise BrokerUnreachable(f"{self._topic}: nothing came for {PATIENCE_SECONDS:g} s")
            if self._writer.full or now - self._committed_at >= self._told.every_seconds:
                self.commit()
        self.commit()

    def commit(self) -> None:
        committed = self._writer.commit()
        self._committed_at = time.monotonic()
        if committed is not None:
            ARCHIVE_EVENTS.inc(committed.events)
            ARCHIVE_FILES.inc(committed.files)
            LAST_COMMIT.labels(STAGE).set_to_current_time()
            self._on_commit(committed)

    def _lag(self) -> int:
        """Records that wait to be read, as far as the client knows."""
        lag = 0
        for place in self._client.assignment():
            _, high = self._client.get_watermark_offsets(place, cached=True)
            lag += max(0, high - self._writer.wanted(place.partition))
        return lag

    def close(self) -> None:
        self._client.close()

    def _assign(self) -> None:
        spans = log_spans(self._client, self._topic)
        starts = self._starts()
        for number, (low, high) in sorted(spans.items()):
            self._writer.begin(number, starts.get(number, low))
            if self._writer.wanted(number) < low:
                self._lose(number, low)
            if self._writer.wanted(number) > high:
                raise self._went_back(number, high)
            if self._writer.wanted(number) < high:
                self._unread[number] = high
        self._client.assign([TopicPartition(self._topic, number, self._writer.wanted(number)) for number in spans])

    def _starts(self) -> dict[int, int]:
        if self._told.since is None or self._writer.ledger.partitions:
            return {}
        records = Records(self._kafka, self._topic)
        try:
            return records.since(self._told.since)
        finally:
            records.close()

    def _take(self, record: Message) -> None:
        number, offset, problem = int(record.partition() or 0), int(record.offset() or 0), record.error()
        if problem is not None:
            # Where markers of transactions lie at the log's end no record says that it is reached.
            if problem.code() == KafkaError._PARTITION_EOF and offset >= self._unread.get(number, offset + 1):
                self._writer.pass_over(number, offset)
                del self._unread[number]
            return
        self._read += 1
        STAGE_RECORDS_IN.labels(STAGE).inc()
        wanted = self._writer.wanted(number)
        if offset < wanted:
            raise self._went_back(number, offset)
        if offset > wanted:
            self._jumped(number, wanted, offset)
        try:
            event = decode(DetectionEvent, record.value(), record.headers())
        except Undecodable as error:
            self._writer.skip(number, offset)
            self._tell_bad(number, offset, error.reason)
        else:
            self._reached_at = event.captured_at
            self._age.observe(max(0.0, time.time() - event.captured_at / 1000))
            if not self._writer.add(number, offset, event):
                self._tell_bad(number, offset, "too_large")
        STAGE_RECORDS.labels(STAGE).inc()
        if offset + 1 >= self._unread.get(number, offset + 2):
            del self._unread[number]

    def _jumped(self, number: int, wanted: int, offset: int) -> None:
        # Where the log still begins no later than what we wanted, nothing was deleted: no record was ever there.
        low, _ = log_span(self._client, TopicPartition(self._topic, number))
        if low > wanted:
            self._lose(number, min(low, offset))
        self._writer.pass_over(number, offset)

    def _went_back(self, number: int, offset: int) -> BadArchive:
        return BadArchive(
            f"{self._topic}, partition {number}: the log is back at offset {offset}, and the archive has it up to "
            f"{self._writer.wanted(number)}: the cluster lost records; name another folder"
        )

    def _lose(self, number: int, until: int) -> None:
        if not self._told.accept_gaps:
            begin = self._writer.wanted(number)
            raise GapRefused(
                f"{self._topic}, partition {number}: offsets {begin} to {until - 1} ({until - begin} records) were "
                "deleted before they were archived; --accept-gap records that they are missing and goes on"
            )
        gap = self._writer.lose(number, until)
        log.warning("gap", topic=self._topic, partition=number, first=gap.begin, last=gap.end - 1)

    def _tell_bad(self, number: int, offset: int, reason: str) -> None:
        now = round(time.monotonic() * 1000)
        self._bad.happened(now, partition=number, offset=offset, reason=reason)
