"""Each patch of Faust: what upstream still does wrong, and what the patch does instead.

A test named `upstream_…` fails when Faust has mended the thing; then the patch goes.
"""

import asyncio
import hashlib
import inspect
from types import SimpleNamespace
from typing import Any

import faust.streams
import faust.transport.conductor
import pytest
from faust.exceptions import ProducerSendError
from faust.transport.consumer import Consumer
from faust.transport.producer import ProducerBuffer
from faust.types import TP
from faust.windows import _PyHoppingWindow
from intervaltree import IntervalTree

from rules import faust_compat
from rules.faust_compat import BUFFERED_MESSAGES, FETCH_WAIT_MS, UPSTREAM, install

PLACE = TP("detections", 0)


def source_of(name: str) -> str:
    """A fingerprint of upstream's code."""
    return hashlib.sha256(inspect.getsource(UPSTREAM[name]).encode()).hexdigest()[:12]


class Bookkeeping:
    """As much of a consumer as acknowledging and committing look at."""

    def __init__(self, *, generation: int = 3, flows: bool = True) -> None:
        self.app = SimpleNamespace(
            consumer_generation_id=generation,
            flow_control=SimpleNamespace(is_active=lambda: flows),
            topics=SimpleNamespace(acks_enabled_for=lambda _topic: True),
        )
        self._committed_offset: dict[TP, int | None] = {PLACE: 10}
        self._read_offset: dict[TP, int | None] = {PLACE: 10}
        self._acked: dict[TP, list[int]] = {PLACE: []}
        self._acked_index: dict[TP, set[int]] = {PLACE: set()}
        self._gap: dict[TP, Any] = {PLACE: IntervalTree()}
        self._unacked_messages: set[Any] = set()
        self._waiting_for_ack = None
        self._n_acked = 0


class Record:
    """A record as the stream has it."""

    def __init__(self, offset: int, generation: int = 3) -> None:
        self.tp, self.topic, self.offset, self.generation_id = PLACE, PLACE.topic, offset, generation
        self.acked = False


@pytest.mark.parametrize(
    ("late", "consumer"),
    [
        (Record(10, generation=2), Bookkeeping(generation=3)),
        (Record(10), Bookkeeping(flows=False)),
    ],
    ids=["of another generation", "while the flow is stopped"],
)
def test_upstream_acknowledges_what_is_no_longer_ours_and_the_patch_does_not(late: Any, consumer: Bookkeeping) -> None:
    assert not faust_compat.ack(consumer, late)
    assert consumer._acked == {PLACE: []}

    assert UPSTREAM["ack"](consumer, late)
    assert consumer._acked == {PLACE: [10]}


def test_an_acknowledgement_of_ours_counts() -> None:
    consumer = Bookkeeping()
    assert faust_compat.ack(consumer, Record(10))
    assert consumer._acked == {PLACE: [10]}


def test_upstream_would_commit_past_a_missing_event_so_events_are_acknowledged_in_order() -> None:
    consumer = Bookkeeping()
    consumer._acked[PLACE] = [11, 12]  # 10, the next to come, is not among them
    assert Consumer._new_offset(consumer, PLACE) == 13


async def test_upstream_counts_the_first_record_after_a_gap_as_missing() -> None:
    # B2: records 11 to 14 do not exist, and 15 was read. Upstream's own loop passes 15 as the end of the gap.
    for end, committable in ((15, 16), (14, 17)):
        consumer = Bookkeeping()
        consumer._acked[PLACE] = [10, 15, 16]
        await UPSTREAM["add_gap"](consumer, PLACE, 11, end)
        assert Consumer._new_offset(consumer, PLACE) == committable
    assert "self._add_gap(tp, r_offset + 1, offset)" in inspect.getsource(UPSTREAM["drain_messages"])


async def test_each_generation_begins_without_the_acks_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None: ...

    monkeypatch.setitem(UPSTREAM, "on_partitions_assigned", nothing)
    consumer = Bookkeeping()
    consumer._acked[PLACE] = [10]
    await faust_compat.on_partitions_assigned(consumer, {PLACE}, 4)
    assert not consumer._acked
    assert not consumer._committed_offset


def test_upstream_keeps_the_acks_that_come_after_a_revocation() -> None:
    assert "_acked" not in inspect.getsource(UPSTREAM["on_partitions_assigned"])


def buffer(seconds: float = 0.2) -> Any:
    """A producer buffer that nobody empties."""
    made = ProducerBuffer()
    made.app = SimpleNamespace(conf=SimpleNamespace(producer_threaded=False, producer_request_timeout=seconds - 5.0))
    made._started.set()
    return made


async def test_upstreams_flush_gives_up_and_the_patch_waits_for_the_broker() -> None:
    unsent = buffer()
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    unsent.put(future)
    await UPSTREAM["buffer_flush"](unsent)  # gives up after 0.1 s, with the record still here
    assert not future.done()

    flushed = asyncio.ensure_future(unsent.flush())
    await asyncio.sleep(0)
    assert not flushed.done()
    future.set_result("on the broker")
    await flushed


async def test_a_flush_says_when_a_record_was_refused_or_never_acknowledged() -> None:
    unsent = buffer()
    refused: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    unsent.put(refused)
    refused.set_exception(OSError("no"))
    # It is out of the books as soon as its callbacks ran; a flush that began before sees it.
    with pytest.raises(ProducerSendError, match="refused"):
        await unsent.flush()
    unsent.put(asyncio.get_running_loop().create_future())
    with pytest.raises(ProducerSendError, match="not acknowledged"):
        await unsent.flush()


async def test_a_record_that_cannot_be_sent_tells_whoever_waits_for_it() -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise ProducerSendError("no leader")

    future: Any = asyncio.get_running_loop().create_future()
    future.message = SimpleNamespace(channel=SimpleNamespace(publish_message=refuse))
    with pytest.raises(ProducerSendError):
        await UPSTREAM["buffer_send_pending"](buffer(), future)
    assert not future.done()

    await buffer()._send_pending(future)
    assert isinstance(future.exception(), ProducerSendError)


def test_upstream_stops_the_stream_at_a_hundred_changelog_records() -> None:
    assert "max_messages = 100\n" in inspect.getsource(ProducerBuffer)
    assert ProducerBuffer.max_messages == BUFFERED_MESSAGES


def test_a_window_without_expiry_expires_nothing() -> None:
    for expires in (None, 0.0):  # 0.0 is what the compiled windows make of None
        table = SimpleNamespace(window=SimpleNamespace(expires=expires))
        assert not faust_compat.should_expire_keys(table)
    assert UPSTREAM["should_expire_keys"](SimpleNamespace(window=SimpleNamespace(expires=0.0)))


def test_nothing_compiled_takes_the_place_of_what_is_patched() -> None:
    assert faust.streams._CStreamIterator is None
    assert faust.transport.conductor.ConductorHandler is None
    install()
    window = faust.windows.TumblingWindow(1.0)
    assert isinstance(window, _PyHoppingWindow)
    assert window.current(1_790_000_000.999) == (1_790_000_000.0, 1_790_000_000.9)
    assert window.expires is None


def test_upstream_holds_a_fetch_for_a_second_and_a_half() -> None:
    assert "fetch_max_wait_ms=1500" in inspect.getsource(UPSTREAM["create_worker_consumer"])
    assert FETCH_WAIT_MS <= 100


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("drain_messages", "44a2500309e8"),
        ("create_worker_consumer", "c2701bfc3e6f"),
        ("buffer_flush", "26fbebb124ad"),
        ("ack", "5fcf41cf4515"),
        ("on_partitions_assigned", "29ce96596f05"),
    ],
)
def test_upstream_is_the_code_that_the_patches_were_written_against(name: str, known: str) -> None:
    assert source_of(name) == known, f"Faust changed {name}: read it again, and the patch in rules/faust_compat.py"
