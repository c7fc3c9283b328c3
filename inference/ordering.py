"""Events leave in the order of their frames, and a frame is committed when its event is safe. Pure.

Detections come back in any order, across partitions and batches. For one partition, `PartitionOrder` holds what is
done until everything before it is done too: nothing overtakes a frame that waits in a batch. Behind it, offsets wait
for the broker's ack, and the commit follows the oldest that is missing.
"""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class PartitionOrder(Generic[Item]):
    """The frames of one partition between being read and being committed, in offset order."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, Item | None] = OrderedDict()
        self._done: set[int] = set()
        self._sent: deque[int] = deque()
        self._acknowledged: set[int] = set()
        self._commit: int | None = None

    def begin(self, offset: int) -> None:
        """A frame was read. Offsets come in rising order, with gaps where Kafka has none to give."""
        self._waiting[offset] = None

    def finish(self, offset: int, item: Item | None) -> None:
        """The frame at ``offset`` is done: ``item`` is to be sent, None where nothing is."""
        if offset in self._waiting:
            self._waiting[offset] = item
            self._done.add(offset)

    def releasable(self) -> list[tuple[int, Item]]:
        """What may be sent now, in order; every item is given out once. `acknowledged` is to follow for each."""
        ready: list[tuple[int, Item]] = []
        while self._waiting:
            offset = next(iter(self._waiting))
            if offset not in self._done:
                break
            item = self._waiting.pop(offset)
            self._done.discard(offset)
            self._sent.append(offset)
            if item is None:
                self._acknowledged.add(offset)
            else:
                ready.append((offset, item))
        return ready

    def acknowledged(self, offset: int) -> None:
        """The broker holds the event of the frame at ``offset``."""
        self._acknowledged.add(offset)

    def committable(self) -> int | None:
        """The offset to go on from after a restart; None while nothing is safe yet.

        In Kafka's words: one more than the last frame whose event is safe, and those of all frames before it.
        """
        while self._sent and self._sent[0] in self._acknowledged:
            offset = self._sent.popleft()
            self._acknowledged.discard(offset)
            self._commit = offset + 1
        return self._commit

    @property
    def unsent(self) -> int:
        """Frames that were read and not sent."""
        return len(self._waiting)

    @property
    def unacknowledged(self) -> int:
        """Frames that were sent and cannot be committed yet."""
        self.committable()
        return len(self._sent)

    def forget_unsent(self) -> None:
        """The partition is somebody else's now: what was not sent is theirs to do."""
        self._waiting.clear()
        self._done.clear()
