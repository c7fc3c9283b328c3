"""When frames go to the detector, and how many at once. Pure: time enters as milliseconds.

`live` frames of all cameras share batches: a batch leaves when it is full or its oldest frame has waited long enough.
`complete` frames go one at a time, in their order. A network's last digits depend on how many pictures it sees
together, and which pictures meet in a batch depends on arrival; one at a time, a run over a file can be repeated to
the byte.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

from schemas.frames import FrameHead, Mode

Item = TypeVar("Item")

RECOVERY_MS: Final = 60_000
"""After running out of memory, a minute without trouble doubles the batch again: back to 16 from 1 in four minutes."""


def is_stale(head: FrameHead, now_ms: int, budget_ms: int) -> bool:
    """Whether a frame is too old to be worth looking at. Only `live` frames are ever stale."""
    return head.mode == "live" and now_ms - head.produced_at > budget_ms


class _Waiting(NamedTuple, Generic[Item]):
    item: Item
    since_ms: int


class Batches(Generic[Item]):
    """Frames that wait for the detector."""

    def __init__(self, wait_ms: int) -> None:
        self._wait_ms = wait_ms
        self._live: deque[_Waiting[Item]] = deque()
        self._complete: deque[Item] = deque()
        self._live_was_last = False

    def __len__(self) -> int:
        return len(self._live) + len(self._complete)

    def add(self, item: Item, mode: Mode, now_ms: int) -> None:
        """Puts a frame behind those of its mode."""
        if mode == "live":
            self._live.append(_Waiting(item, now_ms))
        else:
            self._complete.append(item)

    def take(self, size: int, now_ms: int) -> list[Item]:
        """The frames to detect together now, at most ``size``; empty while it is better to wait.

        Where both modes wait they take turns: neither may starve the other.
        """
        live_is_due = bool(self._live) and (len(self._live) >= size or now_ms - self._live[0].since_ms >= self._wait_ms)
        if self._complete and not (live_is_due and not self._live_was_last):
            self._live_was_last = False
            return [self._complete.popleft()]
        if not live_is_due:
            return []
        self._live_was_last = True
        return [self._live.popleft().item for _ in range(min(size, len(self._live)))]

    def due_in(self, now_ms: int) -> int | None:
        """Milliseconds until the oldest frame has waited long enough; None while nothing waits."""
        if self._complete:
            return 0
        if not self._live:
            return None
        return max(0, self._live[0].since_ms + self._wait_ms - now_ms)

    def forget(self, gone: Callable[[Item], bool]) -> None:
        """Takes away the items of which ``gone`` is true: their partition is somebody else's now."""
        self._live = deque(waiting for waiting in self._live if not gone(waiting.item))
        self._complete = deque(item for item in self._complete if not gone(item))


class BatchLimit:
    """How many frames fit the device's memory, as far as is known."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._limit = size
        self._changed_ms = 0

    def now(self, now_ms: int) -> int:
        """The limit; a minute after the last change it doubles, up to the size that was asked for."""
        if self._limit < self._size and now_ms - self._changed_ms >= RECOVERY_MS:
            self._limit = min(self._size, self._limit * 2)
            self._changed_ms = now_ms
        return self._limit

    def halve(self, tried: int, now_ms: int) -> int | None:
        """The limit after ``tried`` frames did not fit: half of them; None where even one did not."""
        if tried <= 1:
            return None
        self._limit = max(1, min(self._limit, tried) // 2)
        self._changed_ms = now_ms
        return self._limit
