"""A sink told by real lanes, without Kafka: what ended how, in which order."""

import asyncio
from collections.abc import Callable, Iterable

from router.lanes import Ended, Lanes, wall_clock
from router.retry import Answer, RetryPolicy
from router.sinks import Notice, Sink
from schemas.codec import encode
from schemas.messages import Alert
from tests.support.alerts import opened, resolved

SOON = RetryPolicy(max_age_ms=None, first_ms=50, longest_ms=200)


def notice(alert: Alert, *, site: str = "") -> Notice:
    """As the router makes it of a record."""
    return Notice(alert, encode(alert), site)


def fresh(number: int = 0, **place: str) -> Alert:
    """An alert that opens now."""
    return opened(number, at=wall_clock(), **place)


def both(number: int = 0, **place: str) -> list[Notice]:
    """An alert's opening and its end."""
    alert = fresh(number, **place)
    return [notice(alert), notice(resolved(alert))]


def in_company(alerts: Iterable[Alert]) -> Notice:
    """Several told in the same breath."""
    first, *rest = map(notice, alerts)
    return first.with_company(rest, folded=False)


async def attempt(sink: Sink, told: Notice) -> Answer:
    """One attempt within the sink's deadline, as `router.lanes` makes it."""
    try:
        async with asyncio.timeout(sink.deadline_seconds):
            return await sink.deliver(told)
    except TimeoutError:
        return Answer("later", "timeout", "the deadline")


class Telling:
    """Lanes in which notices are told until each has its end."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._changed = asyncio.Event()
        self.ended: list[Ended] = []
        self.answers: list[Answer] = []
        self._lanes = Lanes(_Recorded(sink, self._answered), SOON, ended=self._take, gone=self._gone)

    def _answered(self, answer: Answer) -> None:
        self.answers.append(answer)
        self._changed.set()

    def _take(self, ended: Ended) -> None:
        self.ended.append(ended)
        self._changed.set()

    def _gone(self, gone: Exception) -> None:
        raise AssertionError(gone)

    def offer(self, notices: Iterable[Notice]) -> None:
        """Puts them on their way."""
        for each in notices:
            self._lanes.offer(each)

    async def withdraw(self) -> None:
        """Takes back what has not ended."""
        await self._lanes.withdraw()

    async def until(self, holds: Callable[["Telling"], bool], seconds: float = 30) -> None:
        """Waits for something to hold of this, looking at every answer and end."""
        async with asyncio.timeout(seconds):
            while not holds(self):
                self._changed.clear()
                await self._changed.wait()

    async def all_ended(self, count: int, seconds: float = 30) -> list[str]:
        """Waits for as many ends; answers their outcomes."""
        await self.until(lambda told: len(told.ended) >= count, seconds)
        return [each.end.outcome for each in self.ended]


class _Recorded:
    """The sink, each answer of which is noted."""

    def __init__(self, sink: Sink, answered: Callable[[Answer], None]) -> None:
        self._sink = sink
        self._answered = answered

    def __getattr__(self, name: str) -> object:
        return getattr(self._sink, name)

    async def deliver(self, told: Notice) -> Answer:
        answer = await self._sink.deliver(told)
        self._answered(answer)
        return answer
