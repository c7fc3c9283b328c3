"""Every change to Faust 0.15.3 that Backsight needs, in one place.

Import this module before anything of Faust. Each patch says what upstream does and what it costs us;
`tests/unit/test_faust_compat.py` shows upstream's behaviour through `UPSTREAM` and fails when a patch has become
superfluous. Findings B1 to B10 and the reasons are in `docs/decisions/faust.md`.
"""

import os

# The compiled windows turn `expires=None` into 0.0, and the compiled stream and conductor would escape the patches.
os.environ["NO_CYTHON"] = "1"

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

import faust
import faust.streams
import faust.transport.conductor
import faust.windows
from faust.exceptions import ProducerSendError
from faust.tables.base import Collection
from faust.transport.consumer import Consumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, ensure_aiokafka_TP
from faust.transport.producer import ProducerBuffer
from faust.types import TP

from runtime.logs import get_logger

FETCH_WAIT_MS: Final = 50
"""How long the broker holds a fetch for which it has nothing. Upstream's 1,500 ms is waited out in full by a camera
whose record comes while a fetch of the other partitions is in flight."""

BUFFERED_MESSAGES: Final = 10_000
"""Upstream stops the stream at 100 changelog records on their way, with a warning for each stop."""

YIELD_EVERY: Final = 100
"""Records delivered to the stream before other tasks get a turn."""

FAUST_LOGGER: Final = logging.getLogger("faust.backsight")
"""For subclasses of Faust's services, whose talk would else come under our modules' names, at our level."""

log = get_logger(__name__)

UPSTREAM: Final[dict[str, Callable[..., Any]]] = {
    "ack": Consumer.ack,
    "stop_flow": Consumer.stop_flow,
    "on_partitions_assigned": Consumer.on_partitions_assigned,
    "drain_messages": Consumer._drain_messages,
    "add_gap": Consumer._add_gap,
    "verify_all_partitions_active": Consumer.verify_all_partitions_active,
    "buffer_put": ProducerBuffer.put,
    "buffer_flush": ProducerBuffer.flush,
    "buffer_send_pending": ProducerBuffer._send_pending,
    "should_expire_keys": Collection._should_expire_keys,
    "create_worker_consumer": AIOKafkaConsumerThread._create_worker_consumer,
}
"""What each patch takes the place of."""


def ack(self: Any, message: Any) -> bool:
    """Acks only what is ours now.

    Upstream acks an event that it skips because its partition was revoked or the app stops, and one that an agent
    finishes after a rebalance: the next commit then passes over an event that nobody judged.
    """
    if message.generation_id != self.app.consumer_generation_id or not self.app.flow_control.is_active():
        return False
    return bool(UPSTREAM["ack"](self, message))


async def on_partitions_assigned(self: Any, assigned: Any, generation_id: int = 0) -> None:
    """Begins each generation without the acks of the one before.

    Upstream empties them when partitions are revoked and lets acks that come later through, into the next generation.
    """
    for book in (self._acked, self._acked_index, self._gap, self._read_offset, self._committed_offset):
        book.clear()
    await UPSTREAM["on_partitions_assigned"](self, assigned, generation_id)


def stop_flow(self: Any) -> None:
    """Counts, so that `drain_messages` can tell that the flow was stopped while it waited for records."""
    self.flow_stops = getattr(self, "flow_stops", 0) + 1
    UPSTREAM["stop_flow"](self)


async def drain_messages(self: Any, fetcher: Any) -> None:
    """Brings records from the client to the streams until the consumer or ``fetcher`` stops.

    Upstream (1) makes two tasks a record to notice a stopped flow; (2) delivers or drops records
    that were fetched before a rebalance and moves the position past them (#502); (3) counts the first record after a
    gap in the offsets as part of the gap, so that commits fall behind for ever (B2, #606).
    """

    def stopping() -> bool:
        return bool(self._stopped.is_set() or fetcher._stopped.is_set())

    def moment() -> tuple[Any, int]:
        return self.app.consumer_generation_id, getattr(self, "flow_stops", 0)

    discarded = False
    while not stopping():
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
            continue
        fetched_in = moment()
        if discarded:
            discarded = not await _seek_again(self, moment)
            continue
        active = set(self._get_active_partitions())
        if not active:
            await self.sleep(0.05)
            continue
        records = await self._getmany(active_partitions=active, timeout=1.0)
        await asyncio.sleep(0)
        for number, (tp, record) in enumerate(self.scheduler.iterate(records)):
            if number % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
            if not self.flow_active or moment() != fetched_in:
                discarded = True
                break
            await _deliver(self, tp, self._to_message(tp, record))
        discarded = discarded or moment() != fetched_in


async def _deliver(self: Any, tp: Any, message: Any) -> None:
    offset = message.offset
    read = self._read_offset[tp]
    if read is not None and offset < read:
        return
    if read and offset - read > 1 and self.app.topics.acks_enabled_for(message.topic):
        await UPSTREAM["add_gap"](self, tp, read + 1, offset - 1)
    room = not any(channel.queue.full() for channel in self.app.topics._tp_index[tp])
    if room and self.app.flow_control.is_active():
        await self.callback(message)
    else:
        await self.wait_first(self.callback(message), self.suspend_flow.wait())
    self._read_offset[tp] = offset


async def _seek_again(self: Any, moment: Callable[[], Any]) -> bool:
    """Goes back to what is committed; answers whether that was done for the assignment that holds."""
    began = moment()
    try:
        await seek_to_committed(self, {tp for tp in self.assignment() if not self._is_changelog_tp(tp)})
    except Exception as error:
        if moment() == began:
            raise
        log.info("seek_overtaken_by_a_rebalance", error=error)
    return bool(moment() == began)


async def seek_to_committed(consumer: Any, partitions: Iterable[Any]) -> None:
    """Sets position and bookkeeping of ``partitions`` to the committed offset, or to the oldest record without one.

    Upstream's `perform_seek` (through aiokafka) leaves a partition where it is that has no commit, or commit 0.
    """
    thread = consumer._thread
    found = await thread.call_thread(_seek, thread._ensure_consumer(), [*map(ensure_aiokafka_TP, partitions)])
    for tp, offset in found.items():
        # None where nothing is known: upstream takes 0 for "unknown" in some places and for an offset in others.
        consumer._read_offset[TP(*tp)] = consumer._committed_offset[TP(*tp)] = offset or None


async def _seek(client: Any, partitions: list[Any]) -> dict[Any, int | None]:
    found: dict[Any, int | None] = {}
    for partition in partitions:
        offset = found[partition] = await client.committed(partition)
        if offset:
            client.seek(partition, offset)
        else:
            await client.seek_to_beginning(partition)
    return found


def pause_fetching(consumer: Any, partitions: Iterable[Any]) -> None:
    """Keeps the client from fetching what nobody reads. Upstream's pause only keeps it from being delivered."""
    consumer._thread._ensure_consumer().pause(*map(ensure_aiokafka_TP, partitions))


async def verify_all_partitions_active(self: Any) -> None:
    """Nothing: upstream's check needs its per-event sensor and only logs. `rules.watchdog` ends a stalled worker."""


def buffer_put(self: Any, future: Any) -> None:
    """Remembers the record until the broker has it, for `buffer_flush`."""
    on_the_way: set[Any] = self.__dict__.setdefault("on_the_way", set())
    on_the_way.add(future)
    future.add_done_callback(on_the_way.discard)
    UPSTREAM["buffer_put"](self, future)


async def buffer_flush(self: Any) -> None:
    """Returns when the broker has acknowledged every record put so far; raises `ProducerSendError` when it has not.

    Upstream gives up after 0.1 s without progress, and does not see the record that has left the queue and is not
    yet with the client, so that a commit can overtake a changelog record.
    """
    on_the_way = tuple(self.__dict__.get("on_the_way", ()))
    if not on_the_way:
        return
    # A buffer that stops sends nothing more, so there is nothing to wait for.
    seconds = self.app.conf.producer_request_timeout + 5.0 if self.state == "running" else 1.0
    done, late = await asyncio.wait(on_the_way, timeout=seconds)
    if late:
        raise ProducerSendError(f"{len(late)} changelog records were not acknowledged within {seconds:g} s")
    for future in done:
        if not future.cancelled() and future.exception() is not None:
            raise ProducerSendError(f"a changelog record was refused: {future.exception()!r}")


async def buffer_send_pending(self: Any, future: Any) -> None:
    """Tells whoever waits for the record that it cannot be sent. Upstream ends the sending task instead."""
    try:
        await UPSTREAM["buffer_send_pending"](self, future)
    except Exception as error:
        if not future.done():
            future.set_exception(error)


def should_expire_keys(self: Any) -> bool:
    """No expiry without `expires`. Upstream's compiled windows read None as 0.0 and remember every key for ever."""
    return bool(self.window is not None and self.window.expires)


class PlainTumblingWindow(faust.windows._PyHoppingWindow):
    """Upstream's tumbling window without its compiled parent, which is there where `faust` was imported before us."""

    def __init__(self, size: float, expires: float | None = None) -> None:
        super().__init__(size, size, expires)


def create_worker_consumer(self: Any, transport: Any) -> Any:
    """Sets the fetch wait, which upstream writes as a number of its own."""
    consumer = UPSTREAM["create_worker_consumer"](self, transport)
    consumer._fetch_max_wait_ms = FETCH_WAIT_MS
    return consumer


def install() -> None:
    """Puts every patch in place. Doing it again changes nothing."""
    faust.streams._CStreamIterator = None
    faust.transport.conductor.ConductorHandler = None
    faust.windows.TumblingWindow = PlainTumblingWindow
    Consumer.ack = ack
    Consumer.on_partitions_assigned = on_partitions_assigned
    Consumer.stop_flow = stop_flow
    Consumer._drain_messages = drain_messages
    Consumer.verify_all_partitions_active = verify_all_partitions_active
    ProducerBuffer.put = buffer_put
    ProducerBuffer.flush = buffer_flush
    ProducerBuffer._send_pending = buffer_send_pending
    ProducerBuffer.max_messages = BUFFERED_MESSAGES
    Collection._should_expire_keys = should_expire_keys
    AIOKafkaConsumerThread._create_worker_consumer = create_worker_consumer


install()

__all__ = [
    "BUFFERED_MESSAGES",
    "FAUST_LOGGER",
    "FETCH_WAIT_MS",
    "UPSTREAM",
    "faust",
    "install",
    "pause_fetching",
    "seek_to_committed",
]
