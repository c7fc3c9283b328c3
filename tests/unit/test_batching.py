"""When frames go to the detector, and in which order their events leave."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.batching import RECOVERY_MS, Batches, BatchLimit, is_stale
from inference.ordering import PartitionOrder
from schemas.frames import FrameHead, Mode


def head(mode: Mode, produced_at: int) -> FrameHead:
    return FrameHead(0, produced_at, produced_at, mode, 1, 1, 1, 1)


def test_a_live_frame_is_stale_when_its_budget_has_passed() -> None:
    assert not is_stale(head("live", 1000), 3000, 2000)
    assert is_stale(head("live", 1000), 3001, 2000)


def test_a_complete_frame_is_never_stale() -> None:
    assert not is_stale(head("complete", 0), 10**12, 1)


def test_a_full_batch_leaves_at_once() -> None:
    batches: Batches[int] = Batches(wait_ms=20)
    for number in range(5):
        batches.add(number, "live", 0)
    assert batches.take(4, 0) == [0, 1, 2, 3]
    assert batches.take(4, 0) == []


def test_a_batch_that_is_not_full_leaves_when_its_oldest_frame_has_waited() -> None:
    batches: Batches[int] = Batches(wait_ms=20)
    batches.add(1, "live", 100)
    batches.add(2, "live", 115)
    assert batches.due_in(105) == 15
    assert batches.take(4, 119) == []
    assert batches.take(4, 120) == [1, 2]
    assert batches.due_in(120) is None


def test_complete_frames_go_one_at_a_time_and_at_once() -> None:
    batches: Batches[int] = Batches(wait_ms=1000)
    for number in range(3):
        batches.add(number, "complete", 0)
    assert batches.due_in(0) == 0
    assert [batches.take(8, 0) for _ in range(4)] == [[0], [1], [2], []]


def test_live_and_complete_frames_take_turns() -> None:
    batches: Batches[str] = Batches(wait_ms=0)
    for number in range(2):
        batches.add(f"live {number}", "live", 0)
        batches.add(f"complete {number}", "complete", 0)
    taken = [batches.take(1, 0) for _ in range(4)]
    assert taken == [["live 0"], ["complete 0"], ["live 1"], ["complete 1"]]


def test_frames_of_a_partition_that_is_gone_are_forgotten() -> None:
    batches: Batches[int] = Batches(wait_ms=0)
    for number in range(4):
        batches.add(number, "live" if number % 2 else "complete", 0)
    batches.forget(lambda number: number < 2)
    assert len(batches) == 2
    assert sorted(batches.take(8, 0) + batches.take(8, 0)) == [2, 3]


@given(st.lists(st.tuples(st.sampled_from(["live", "complete"]), st.integers(0, 50)), max_size=40), st.integers(1, 8))
def test_every_frame_leaves_once_and_in_the_order_of_its_mode(arrivals: list[tuple[Mode, int]], size: int) -> None:
    batches: Batches[tuple[Mode, int]] = Batches(wait_ms=20)
    now = 0
    left: list[tuple[Mode, int]] = []
    for number, (mode, gap) in enumerate(arrivals):
        now += gap
        batches.add((mode, number), mode, now)
        left += batches.take(size, now)
    while len(batches):
        now += 20
        batch = batches.take(size, now)
        assert 0 < len(batch) <= size
        left += batch
    for mode in ("live", "complete"):
        assert [number for found, number in left if found == mode] == [
            number for number, (found, _) in enumerate(arrivals) if found == mode
        ]


def test_a_batch_that_does_not_fit_is_halved_and_grows_back() -> None:
    limit = BatchLimit(16)
    assert limit.now(0) == 16
    assert limit.halve(16, 0) == 8
    assert limit.halve(8, 0) == 4
    assert limit.now(RECOVERY_MS - 1) == 4
    assert [limit.now(RECOVERY_MS * minute) for minute in (1, 2, 3)] == [8, 16, 16]


def test_what_does_not_fit_alone_never_fits() -> None:
    assert BatchLimit(16).halve(1, 0) is None


def test_nothing_overtakes_a_frame_that_waits() -> None:
    order: PartitionOrder[str] = PartitionOrder()
    for offset in (10, 11, 12):
        order.begin(offset)
    order.finish(11, "b")
    order.finish(12, "c")
    assert order.releasable() == []
    order.finish(10, "a")
    assert order.releasable() == [(10, "a"), (11, "b"), (12, "c")]
    assert order.releasable() == []


def test_the_commit_waits_for_the_oldest_event_that_is_not_safe() -> None:
    order: PartitionOrder[str] = PartitionOrder()
    for offset in (10, 11, 15):
        order.begin(offset)
        order.finish(offset, "event")
    order.releasable()
    order.acknowledged(11)
    order.acknowledged(15)
    assert order.committable() is None
    order.acknowledged(10)
    assert order.committable() == 16
    assert order.unacknowledged == 0


def test_a_frame_that_sends_nothing_is_committed_in_its_turn() -> None:
    order: PartitionOrder[str] = PartitionOrder()
    order.begin(1)
    order.begin(2)
    order.finish(2, None)
    assert order.releasable() == []
    order.finish(1, "event")
    assert order.releasable() == [(1, "event")]
    assert order.committable() is None
    order.acknowledged(1)
    assert order.committable() == 3


def test_what_was_not_sent_is_forgotten_and_what_was_sent_is_not() -> None:
    order: PartitionOrder[str] = PartitionOrder()
    for offset in (1, 2, 3):
        order.begin(offset)
    order.finish(1, "sent")
    assert order.releasable() == [(1, "sent")]
    order.forget_unsent()
    order.finish(2, "too late")
    assert order.releasable() == []
    order.acknowledged(1)
    assert order.committable() == 2


@given(st.data(), st.lists(st.integers(1, 3), min_size=1, max_size=20))
def test_in_whatever_order_frames_are_done_events_leave_in_theirs(data: st.DataObject, gaps: list[int]) -> None:
    offsets = [sum(gaps[: place + 1]) for place in range(len(gaps))]
    order: PartitionOrder[int] = PartitionOrder()
    for offset in offsets:
        order.begin(offset)
    released: list[int] = []
    acknowledged: set[int] = set()
    for offset in data.draw(st.permutations(offsets)):
        order.finish(offset, offset)
        released += [found for found, _ in order.releasable()]
        for each in data.draw(st.sets(st.sampled_from(released))) - acknowledged if released else ():
            order.acknowledged(each)
            acknowledged.add(each)
        commit = order.committable()
        assert all(each in acknowledged for each in offsets if commit is not None and each < commit)
    assert released == offsets
