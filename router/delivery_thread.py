"""The thread in which a sink delivers, so that it never keeps the Kafka client from polling."""

import asyncio
import threading
from collections.abc import Callable
from typing import Final

from router.breaker import BreakerPolicy
from router.lanes import Ended, Lanes
from router.retry import RetryPolicy
from router.sinks import Notice, Sink, SinkGone
from runtime.logs import get_logger

SPARE_SECONDS: Final = 2.0
"""What a sink gets beyond its deadline before we no longer wait for it."""
CLOSE_SECONDS: Final = 5.0
"""What a sink gets to close; one that moves something turns it off."""

log = get_logger(__name__)


class DeliveryThread(threading.Thread):
    """An event loop with the sink's lanes in it. ``ended`` is called in this thread."""

    def __init__(self, sink: Sink, policy: RetryPolicy, ended: Callable[[Ended | SinkGone], None]) -> None:
        super().__init__(name=f"sink-{sink.name}", daemon=True)
        self.loop = asyncio.new_event_loop()
        self._sink = sink
        self.lanes = Lanes(sink, policy, ended=ended, gone=ended, concurrency=sink.lanes, breaker=BreakerPolicy())

    def run(self) -> None:
        """The thread's own; use `start`."""
        asyncio.set_event_loop(self.loop)
        begin = getattr(self._sink, "begin", None)
        if begin is not None:
            self.loop.run_until_complete(begin())
        self.loop.run_forever()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()

    def offer(self, notice: Notice) -> None:
        """Hands a notice over; from any thread."""
        self.loop.call_soon_threadsafe(self.lanes.offer, notice)

    def know_open(self, notice: Notice) -> None:
        """Tells a sink that wants to know of an alert that is open; from any thread."""
        know = getattr(self._sink, "know_open", None)
        if know is not None:
            self.loop.call_soon_threadsafe(know, notice)

    def forget(self, concerned: Callable[[Notice], bool]) -> None:
        """The other way round."""
        forget = getattr(self._sink, "forget", None)
        if forget is not None:
            self.loop.call_soon_threadsafe(forget, concerned)

    def withdraw(self, concerned: Callable[[Notice], bool]) -> bool:
        """Takes back what is not being attempted and waits for the rest; False when a sink kept its deadline not."""
        waiting = asyncio.run_coroutine_threadsafe(self.lanes.withdraw(concerned), self.loop)
        try:
            waiting.result(self._sink.deadline_seconds + SPARE_SECONDS)
        except TimeoutError:
            waiting.cancel()
            return False
        return True

    def close(self) -> None:
        """Closes the sink and ends the thread."""
        closing = asyncio.run_coroutine_threadsafe(self._sink.close(), self.loop)
        try:
            closing.result(CLOSE_SECONDS)
        except TimeoutError:
            log.warning("sink_does_not_close", sink=self._sink.name)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join(SPARE_SECONDS)
