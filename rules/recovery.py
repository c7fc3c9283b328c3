"""What a worker reads back when partitions are assigned to it: its tables, and each camera's watermark.

It takes the place of Faust's own recovery. That one shares the stream's consumer and queues, applies a record of a
partition it does not know to another table, drops records when the flow resumes between its seek and the first fetch,
goes on after a time-out as if the step had been done, waits for ever when compaction took a changelog's last record,
and keeps keys that another owner deleted in the meantime. Here both are read to their ends by a reader of their own,
and the tables hold exactly that.
"""

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from rules.faust_compat import FAUST_LOGGER, faust, pause_fetching, seek_to_committed  # before anything else of Faust
from runtime.kafka import OFFSET_BEGINNING, BrokerUnreachable, KafkaError, Message, TopicPartition, reader
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from schemas.codec import decode
from schemas.messages import DetectionEvent
from schemas.problems import Undecodable

from faust.tables.manager import TableManager  # isort: skip
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped  # isort: skip
from mode import Service  # isort: skip

WATERMARK_RECORDS: Final = 5_000
"""A camera's watermark is looked for in as many records of its partition before the committed offset."""

QUIET_SECONDS: Final = 30.0
"""A broker that sends nothing for as long, although there is something to read, is away."""

Place = tuple[str, int]
"""Topic and partition."""

log = get_logger(__name__)


class ReadBack(NamedTuple):
    """Per changelog topic its live keys and values (encoded), and per camera its newest ``captured_at``."""

    tables: dict[str, dict[bytes, bytes]]
    watermarks: dict[str, int]


def read_back(
    kafka: KafkaSettings,
    changelogs: Iterable[Place],
    committed: Mapping[Place, int],
    given_up: threading.Event,
    client_id: str = "backsight-rules-recovery",
) -> ReadBack:
    """Reads ``changelogs`` whole, and the last records before each ``committed`` offset of the source.

    Raises `BrokerUnreachable` when the broker sends nothing for 30 s. Ends early, with what it has, once ``given_up``.
    """
    found = ReadBack({topic: {} for topic, _ in changelogs}, {})
    starts = dict.fromkeys(changelogs, OFFSET_BEGINNING)
    starts |= {place: max(0, end - WATERMARK_RECORDS) for place, end in committed.items() if end > 0}
    unread = set(starts)
    if not unread:
        return found
    consumer = reader(kafka, client_id)
    try:
        consumer.assign([TopicPartition(topic, partition, start) for (topic, partition), start in starts.items()])
        heard = time.monotonic()
        while unread and not given_up.is_set():
            records = consumer.consume(2000, 0.2)
            if records:
                heard = time.monotonic()
            elif time.monotonic() - heard > QUIET_SECONDS:
                raise BrokerUnreachable(f"nothing came of {sorted(unread)} within {QUIET_SECONDS:g} s")
            for record in records:
                place = (str(record.topic()), int(record.partition() or 0))
                if place in unread and _taken(record, found, committed.get(place)):
                    unread.discard(place)
    finally:
        consumer.close()
    return found


def _taken(record: Message, found: ReadBack, end: int | None) -> bool:
    """Takes one record in; answers whether its partition is read."""
    problem = record.error()
    if problem is not None:
        return bool(problem.code() == KafkaError._PARTITION_EOF)
    if end is None:
        table, key, value = found.tables[str(record.topic())], record.key() or b"", record.value()
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
        return False
    offset = int(record.offset() or 0)
    if offset < end:
        try:
            event = decode(DetectionEvent, record.value(), record.headers() or [])
        except Undecodable:
            return offset >= end - 1
        known = found.watermarks.get(event.camera_id, event.captured_at)
        found.watermarks[event.camera_id] = max(known, event.captured_at)
    return offset >= end - 1


class WholeRecovery(Recovery):
    """Faust's recovery service with the reading above in place of its own."""

    logger = FAUST_LOGGER

    @Service.task
    async def _restart_recovery(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(self.signal_recovery_start):
                return
            self.signal_recovery_start.clear()
            given_up = threading.Event()
            try:
                await self._recover(self._generation_id, given_up)
            except RebalanceAgain:
                log.info("recovery_overtaken_by_a_rebalance", generation=self._generation_id)
            except ServiceStopped:
                return
            except Exception as error:
                self.app.failed(error)
                return
            finally:
                given_up.set()

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Nothing: changelogs are not read through the stream's consumer."""

    @Service.task
    async def _publish_stats(self) -> None:
        """Nothing."""

    async def _recover(self, generation: int, given_up: threading.Event) -> None:
        app, consumer = self.app, self.app.consumer
        began = time.monotonic()
        self._set_recovery_started()
        consumer.stop_flow()
        app.flow_control.suspend()
        assignment = set(consumer.assignment())
        changelogs = {tp for tp in assignment if self._is_changelog_tp(tp)}
        source = assignment - changelogs
        # What we wrote in the generation before must be in the changelogs before they are read.
        await self._wait(app.producer.flush())
        if source:
            await self._wait(seek_to_committed(consumer, source))
        committed = {(tp.topic, tp.partition): consumer._committed_offset[tp] or 0 for tp in source}
        reading = asyncio.to_thread(
            read_back, app.kafka, [(tp.topic, tp.partition) for tp in changelogs], committed, given_up
        )
        found = await self._answer(reading)
        for topic, table in self.tables._changelogs.items():
            table.data.data = _decoded(table, found.tables.get(topic, {}))
        app.on_read_back(found.watermarks)
        if app.consumer_generation_id != generation:
            raise RebalanceAgain()
        if source:
            await self._wait(seek_to_committed(consumer, source))
        if app.consumer_generation_id != generation or self.signal_recovery_start.is_set():
            raise RebalanceAgain()
        pause_fetching(consumer, changelogs)
        consumer.resume_partitions(source)
        self._set_recovery_ended()
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_flow()
        await app._fetcher.maybe_start()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()
        log.info(
            "partitions_assigned",
            partitions=sorted(tp.partition for tp in source),
            generation=generation,
            rows=sum(len(table) for table in found.tables.values()),
            cameras=len(found.watermarks),
            seconds=round(time.monotonic() - began, 2),
        )

    async def _answer(self, reading: Any) -> ReadBack:
        task = asyncio.ensure_future(reading)
        await self._wait(task)
        answer: ReadBack = task.result()
        return answer


def _decoded(table: Any, live: Mapping[bytes, bytes]) -> dict[Any, bytes]:
    return {table._to_key(msgspec.json.decode(key)): value for key, value in live.items()}


class WholeRecoveryManager(TableManager):
    """Faust's table manager with `WholeRecovery`."""

    logger = FAUST_LOGGER
    _recovery: Any = None

    @property
    def recovery(self) -> Any:
        """The recovery service, made at first use."""
        if self._recovery is None:
            self._recovery = WholeRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


__all__ = ["WATERMARK_RECORDS", "ReadBack", "WholeRecoveryManager", "faust", "read_back"]
