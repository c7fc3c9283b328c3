"""Events are acknowledged in their order, and only when the changelog has what they wrote."""

import asyncio
from asyncio import Future
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

MOST_OUTSTANDING: Final = 2_000
"""Changelog records on their way before the stream waits. A slow broker must not fill the memory."""


class InOrder:
    """Acknowledges per partition in the order of `add`.

    Faust takes the end of the first run of acknowledged offsets for what may be committed, and does not see that the
    event just before that run is missing. In order, there never is one.
    """

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._waiting: dict[Any, deque[tuple[Any, list[Future[Any]]]]] = defaultdict(deque)
        self._outstanding = 0
        self._fewer = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Whether every event added is acknowledged."""
        return not self._outstanding

    def add(self, event: Any, written: list[Future[Any]]) -> None:
        """Acknowledges ``event`` once every record in ``written`` and every event before it is."""
        waiting = self._waiting[event.message.tp]
        if not written and not waiting:
            event.ack()
            return
        self._outstanding += 1
        waiting.append((event, written))
        for future in written:
            future.add_done_callback(partial(self._done, event.message.tp))

    def forget(self) -> None:
        """Acknowledges none of what waits: the partitions are no longer ours, or ours again from their commit on."""
        self._waiting.clear()
        self._outstanding = 0
        self._fewer.set()

    async def room(self) -> None:
        """Returns once there is room for another event."""
        while self._outstanding >= MOST_OUTSTANDING:
            await self._until_fewer()

    async def all_acknowledged(self) -> None:
        """Returns once nothing waits."""
        while self._outstanding:
            await self._until_fewer()

    async def _until_fewer(self) -> None:
        self._fewer.clear()
        await self._fewer.wait()

    def _done(self, tp: Any, future: Future[Any]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            self._failed(error)
            return
        waiting = self._waiting.get(tp)
        while waiting and all(each.done() for each in waiting[0][1]):
            event, written = waiting.popleft()
            if any(each.cancelled() or each.exception() is not None for each in written):
                waiting.appendleft((event, written))
                return
            event.ack()
            self._outstanding -= 1
            self._fewer.set()
