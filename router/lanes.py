"""Several alerts on their way to one sink at once, the phases of each in their order.

An alert has a lane of its own while something of it waits: its resolve starts when its opening has ended. An alert
that waits for its next attempt holds up no other. While the receiver is left alone (`router.breaker`) nothing is
attempted and everything waits. Nothing here knows of Kafka: notices come in, ends go out. Lives in one event loop.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from router.breaker import CLOSED, BreakerPolicy, State, after, begun, lets_through
from router.retry import TOO_OLD, Again, Answer, End, RetryPolicy, decide, too_old
from router.sinks import Notice, Sink, SinkGone
from router.trouble import Trouble
from runtime.logs import get_logger
from runtime.metrics import DELIVERY_ATTEMPTS, DELIVERY_SECONDS, SINK_BREAKER_OPEN, SINK_DISABLED
from runtime.redact import redact

CONCURRENCY: Final = 16
"""Attempts under way at once."""

log = get_logger(__name__)


class Ended(NamedTuple):
    """How the delivery of a notice ended. Without an attempt both times are those of the decision."""

    notice: Notice
    end: End
    detail: str
    attempts: int
    first_attempt_at: int
    last_attempt_at: int


def wall_clock() -> int:
    """Milliseconds UTC."""
    return round(time.time() * 1000)


class _Lane:
    def __init__(self) -> None:
        self.notices: deque[Notice] = deque()
        self.attempting = False
        self.withdrawn = False
        self.task: asyncio.Task[None] | None = None


class Lanes:
    """The lanes of one sink. ``ended`` is called with every end, ``gone`` when the sink can deliver no more.

    ``breaker`` None: the receiver is never left alone.
    """

    def __init__(
        self,
        sink: Sink,
        policy: RetryPolicy,
        *,
        ended: Callable[[Ended], None],
        gone: Callable[[SinkGone], None],
        clock: Callable[[], int] = wall_clock,
        dice: Callable[[], float] = random.random,
        concurrency: int = CONCURRENCY,
        breaker: BreakerPolicy | None = None,
    ) -> None:
        self._sink = sink
        self._policy = policy
        self._ended = ended
        self._gone = gone
        self._clock = clock
        self._dice = dice
        self._lanes: dict[str, _Lane] = {}
        self._room = asyncio.Semaphore(concurrency)
        self._breaker_policy = breaker
        self._breaker_changed = asyncio.Event()
        self._let_in_at = 0
        self.breaker = CLOSED
        if breaker is not None:
            self._show("closed")
        self.trouble = Trouble(log, sink.name, clock)

    def offer(self, notice: Notice) -> None:
        """Takes a notice; never waits."""
        name = notice.lane
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane()
            lane.task = asyncio.get_running_loop().create_task(self._serve(name, lane))
        lane.notices.append(notice)

    async def withdraw(self, concerned: Callable[[Notice], bool] = lambda _notice: True) -> None:
        """Ends the lanes of every notice that is ``concerned`` without an end; attempts under way are awaited.

        An attempt that succeeds meanwhile is an end as any other, so that nothing is sent twice.
        """
        tasks: list[asyncio.Task[None]] = []
        for lane in list(self._lanes.values()):
            if lane.task is None or not any(map(concerned, lane.notices)):
                continue
            lane.withdrawn = True
            if not lane.attempting:
                lane.task.cancel()
            tasks.append(lane.task)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, name: str, lane: _Lane) -> None:
        try:
            while lane.notices:
                ended = await self._deliver(lane, lane.notices[0])
                if ended is None:
                    return
                self._ended(ended)
                lane.notices.popleft()
                if lane.withdrawn:
                    return
        except SinkGone as gone:
            self._gone(gone)
        finally:
            self._lanes.pop(name, None)

    async def _deliver(self, lane: _Lane, notice: Notice) -> Ended | None:
        """One notice to its end; None when the lane was withdrawn before."""
        attempts = faults = 0
        first_at = last_at = self._clock()
        refused_at: int | None = None
        detail = ""
        while True:
            await self._let_through(notice)
            async with self._room:
                now = self._clock()
                if too_old(self._policy, instant=notice.instant, now=now):
                    return Ended(notice, TOO_OLD, detail, attempts, first_at, last_at)
                if not lets_through(self.breaker, now):  # it opened while there was no room
                    continue
                self.breaker = begun(self.breaker)
                attempts, last_at = attempts + 1, now
                first_at = now if attempts == 1 else first_at
                lane.attempting = True
                try:
                    with DELIVERY_SECONDS.labels(self._sink.name).time():
                        answer = await self._attempt(notice)
                finally:
                    lane.attempting = False
            faults += answer.reason == "fault"
            detail = answer.detail or detail
            self._report(answer)
            if answer.verdict == "done":
                self._let_in_at = max(self._let_in_at, last_at)
            elif answer.reason == "unauthorized":
                if refused_at is not None and self._let_in_at > refused_at:
                    # Others were let in since: it is this alert that is refused (by a proxy, say), not our login.
                    return Ended(notice, End("refused", "unauthorized"), detail, attempts, first_at, last_at)
                refused_at = self._clock()
            step = decide(
                answer,
                self._policy,
                attempts=attempts,
                faults=faults,
                instant=notice.instant,
                now=self._clock(),
                dice=self._dice(),
            )
            if isinstance(step, End):
                return Ended(notice, step, detail, attempts, first_at, last_at)
            if lane.withdrawn:
                return None
            await self._wait(step)

    async def _attempt(self, notice: Notice) -> Answer:
        try:
            async with asyncio.timeout(self._sink.deadline_seconds):
                return await self._sink.deliver(notice)
        except TimeoutError:
            return Answer("later", "timeout", f"no answer within {self._sink.deadline_seconds:g} s")
        except SinkGone:
            raise
        except Exception as error:  # a sink's mistake must not take the other alerts down
            log.exception("sink_fault", sink=self._sink.name, delivery_id=notice.delivery_id)
            return Answer("later", "fault", redact(f"{type(error).__name__}: {error}"))

    async def _let_through(self, notice: Notice) -> None:
        """Waits for the breaker, or until the notice is too old."""
        while not lets_through(self.breaker, now := self._clock()):
            times = [] if self._policy.max_age_ms is None else [notice.instant + self._policy.max_age_ms + 1]
            if self.breaker.state == "open":
                times.append(self.breaker.probe_at)
            if times and min(times) <= now:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout((min(times) - now) / 1000 if times else None):
                    await self._breaker_changed.wait()

    def _judge(self, answer: Answer) -> None:
        """Opens or closes the breaker."""
        if self._breaker_policy is None:
            return
        before, self.breaker = self.breaker, after(self.breaker, answer, self._breaker_policy, self._clock())
        state = self.breaker.state
        if state == before.state:
            return
        self._breaker_changed.set()
        self._breaker_changed = asyncio.Event()
        self._show(state)
        if state == "disabled":
            log.error(
                "sink_disabled",
                sink=self._sink.name,
                reason=answer.reason,
                until="its entry changes or the router begins again",
            )
        elif state == "closed":
            log.info("breaker_closed", sink=self._sink.name)
        elif before.state == "closed":
            log.warning("breaker_opened", sink=self._sink.name, reason=answer.reason, detail=answer.detail)

    def _show(self, state: State) -> None:
        SINK_BREAKER_OPEN.labels(self._sink.name).set(state != "closed")
        SINK_DISABLED.labels(self._sink.name).set(state == "disabled")

    def _report(self, answer: Answer) -> None:
        self._judge(answer)
        DELIVERY_ATTEMPTS.labels(self._sink.name, answer.reason).inc()
        if answer.verdict == "done":
            self.trouble.succeeded()
        else:
            self.trouble.failed(answer.reason, answer.detail)

    async def _wait(self, step: Again) -> None:
        await asyncio.sleep(max(0, step.at - self._clock()) / 1000)
