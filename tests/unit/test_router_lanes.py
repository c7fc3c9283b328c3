"""Several alerts under way at once, the phases of each in their order."""

import asyncio
import itertools
import time

import pytest

from router.breaker import BreakerPolicy
from router.lanes import Ended, Lanes
from router.retry import ACCEPTED, Answer, End, RetryPolicy
from router.sinks import Notice, SinkGone
from schemas.codec import encode
from tests.support.alerts import OPENED_AT, opened, resolved

UNAVAILABLE = Answer("later", "server_error", "503")


class Scripted:
    """A sink that answers from a list per delivery id, and waits where it is told to."""

    name = "scripted"
    deadline_seconds = 5.0
    max_age_seconds = None

    def __init__(self, answers=None):
        self.answers = answers or {}
        self.attempts = []
        self.hold = {}
        self.under_way = asyncio.Event()

    async def deliver(self, notice):
        self.attempts.append(notice.delivery_id)
        self.under_way.set()
        if notice.delivery_id in self.hold:
            await self.hold[notice.delivery_id].wait()
        queue = self.answers.get(notice.delivery_id)
        answer = queue.pop(0) if queue else ACCEPTED
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def attempted(self, count):
        async with asyncio.timeout(10):
            while len(self.attempts) < count:
                self.under_way.clear()
                await self.under_way.wait()

    async def close(self):
        pass


class Story:
    """Lanes with a sink, a clock that moves only when told, and everything that ended."""

    def __init__(self, sink, *, max_age_ms=None, concurrency=16, breaker=None):
        self.now = OPENED_AT
        self.ended: list[Ended] = []
        self.gone = []
        self.changed = asyncio.Event()
        policy = RetryPolicy(max_age_ms=max_age_ms, first_ms=1, longest_ms=1)
        self.lanes = Lanes(
            sink, policy, ended=self.keep, gone=self.leave, clock=lambda: self.now, dice=lambda: 0.0,
            concurrency=concurrency, breaker=breaker,
        )  # fmt: skip

    def keep(self, ended):
        self.ended.append(ended)
        self.changed.set()

    def leave(self, gone):
        self.gone.append(gone)
        self.changed.set()

    async def until(self, count):
        async with asyncio.timeout(10):
            while len(self.ended) + len(self.gone) < count:
                self.changed.clear()
                await self.changed.wait()

    @property
    def outcomes(self):
        return [(ended.notice.delivery_id, ended.end.outcome) for ended in self.ended]


def notice(alert):
    return Notice(alert, encode(alert))


async def test_the_resolve_waits_until_the_opening_has_ended():
    first = opened()
    told, over = notice(first), notice(resolved(first))
    sink = Scripted({told.delivery_id: [UNAVAILABLE, UNAVAILABLE]})
    story = Story(sink)
    story.lanes.offer(told)
    story.lanes.offer(over)
    await story.until(2)
    assert sink.attempts == [told.delivery_id] * 3 + [over.delivery_id]
    assert story.ended[0].attempts == 3


async def test_an_alert_that_is_held_up_holds_up_no_other():
    slow, quick = notice(opened(0)), notice(opened(1))
    sink = Scripted()
    sink.hold[slow.delivery_id] = asyncio.Event()
    story = Story(sink)
    story.lanes.offer(slow)
    story.lanes.offer(quick)
    await story.until(1)
    assert story.outcomes == [(quick.delivery_id, "delivered")]
    sink.hold[slow.delivery_id].set()
    await story.until(2)


async def test_no_more_attempts_are_under_way_than_allowed():
    sink = Scripted()
    notices = [notice(opened(number)) for number in range(5)]
    for each in notices:
        sink.hold[each.delivery_id] = asyncio.Event()
    story = Story(sink, concurrency=2)
    for each in notices:
        story.lanes.offer(each)
    await sink.attempted(2)
    for each in notices:
        assert len(sink.attempts) - len(story.ended) <= 2
        sink.hold[each.delivery_id].set()
    await story.until(5)
    assert sink.attempts == [each.delivery_id for each in notices]


async def test_a_refused_opening_does_not_keep_the_resolve_back():
    first = opened()
    told, over = notice(first), notice(resolved(first))
    story = Story(Scripted({told.delivery_id: [Answer("never", "too_large", "413")]}))
    story.lanes.offer(told)
    story.lanes.offer(over)
    await story.until(2)
    assert story.outcomes == [(told.delivery_id, "refused"), (over.delivery_id, "delivered")]
    assert story.ended[0].detail == "413"


async def test_an_alert_past_its_age_is_not_attempted():
    told = notice(opened())
    sink = Scripted()
    story = Story(sink, max_age_ms=60_000)
    story.now += 60_001
    story.lanes.offer(told)
    await story.until(1)
    assert sink.attempts == []
    assert story.ended[0].end == End("expired", "too_old")
    assert story.ended[0].attempts == 0


async def test_a_sink_that_raises_is_given_up_after_three_faults_and_names_no_secret():
    told = notice(opened())
    fault = ValueError("no such place http://user:geheim@host/?token=geheim")
    story = Story(Scripted({told.delivery_id: [fault, fault, fault, fault]}))
    story.lanes.offer(told)
    await story.until(1)
    assert story.ended[0].end == End("gave_up", "fault")
    assert story.ended[0].attempts == 3
    assert "geheim" not in story.ended[0].detail


async def test_an_attempt_has_a_deadline():
    told = notice(opened())
    sink = Scripted()
    sink.deadline_seconds = 0.05
    sink.hold[told.delivery_id] = asyncio.Event()
    story = Story(sink)
    story.lanes.offer(told)
    await sink.attempted(2)
    sink.hold[told.delivery_id].set()
    await story.until(1)
    assert story.outcomes == [(told.delivery_id, "delivered")]
    assert "no answer within" in story.ended[0].detail


async def test_withdrawing_awaits_what_is_under_way_and_begins_nothing_more():
    under_way, waiting, queued = notice(opened(0)), notice(opened(1)), notice(resolved(opened(0)))
    sink = Scripted({waiting.delivery_id: [Answer("later", "rate_limited", "429", 60_000)]})
    sink.hold[under_way.delivery_id] = asyncio.Event()
    story = Story(sink)
    for each in (waiting, under_way, queued):
        story.lanes.offer(each)
    await sink.attempted(2)
    withdrawing = asyncio.ensure_future(story.lanes.withdraw())
    await asyncio.sleep(0)
    assert not withdrawing.done()
    sink.hold[under_way.delivery_id].set()
    await withdrawing
    assert story.outcomes == [(under_way.delivery_id, "delivered")]
    assert sink.attempts == [waiting.delivery_id, under_way.delivery_id]


async def test_withdrawing_some_leaves_the_others_alone():
    mine, others = notice(opened(0)), notice(opened(1))
    sink = Scripted({each.delivery_id: [Answer("later", "rate_limited", "429", 20)] for each in (mine, others)})
    story = Story(sink)
    story.lanes.offer(mine)
    story.lanes.offer(others)
    await sink.attempted(2)
    await story.lanes.withdraw(lambda each: each.delivery_id == mine.delivery_id)
    await story.until(1)
    assert story.outcomes == [(others.delivery_id, "delivered")]


async def test_a_sink_that_is_gone_is_reported_and_the_alert_has_no_end():
    told = notice(opened())
    story = Story(Scripted({told.delivery_id: [SinkGone("nobody reads")]}))
    story.lanes.offer(told)
    await story.until(1)
    assert story.ended == []
    assert [str(gone) for gone in story.gone] == ["nobody reads"]


@pytest.mark.parametrize("repeats", [1, 50])
async def test_a_failing_sink_is_logged_once_and_counted(repeats, caplog):
    told = notice(opened())
    sink = Scripted({told.delivery_id: [UNAVAILABLE] * repeats})
    story = Story(sink)
    story.lanes.offer(told)
    await story.until(1)
    assert story.ended[0].attempts == repeats + 1
    assert story.lanes.trouble.since is None


# The breaker


def letters(count):
    return [notice(opened(number)) for number in range(count)]


class Moving(Story):
    """A story whose clock goes on by itself."""

    def __init__(self, sink, **rest):
        super().__init__(sink, **rest)
        self.began = time.monotonic()
        self.lanes._clock = lambda: OPENED_AT + round((time.monotonic() - self.began) * 1000)


async def test_while_the_breaker_is_open_one_attempt_probes_and_nothing_is_lost():
    five = letters(5)
    sink = Scripted({each.delivery_id: [UNAVAILABLE, UNAVAILABLE] for each in five})
    story = Moving(sink, breaker=BreakerPolicy(failures=5, probe_every_ms=50))
    attempts = []

    async def deliver(told, answer=sink.deliver):
        attempts.append((time.monotonic(), story.lanes.breaker.state))
        return await answer(told)

    sink.deliver = deliver
    for each in five:
        story.lanes.offer(each)
    await story.until(5)
    waits = [at - before for (before, _), (at, state) in itertools.pairwise(attempts) if state == "probing"]
    assert waits != []
    assert min(waits) >= 0.045, "each probe waited since the attempt before it"
    assert sorted(story.outcomes) == sorted((each.delivery_id, "delivered") for each in five)
    assert story.lanes.breaker.state == "closed"


async def test_a_sink_whose_receiver_is_gone_attempts_nothing_more_and_alerts_still_grow_old():
    first, second = letters(2)
    sink = Scripted({first.delivery_id: [Answer("never", "gone", "410")]})
    story = Moving(sink, max_age_ms=200, breaker=BreakerPolicy(probe_every_ms=1))
    story.lanes.offer(first)
    await story.until(1)
    story.lanes.offer(second)
    await story.until(2)
    assert story.outcomes == [(first.delivery_id, "refused"), (second.delivery_id, "expired")]
    assert sink.attempts == [first.delivery_id]


async def test_what_waits_for_the_breaker_can_be_withdrawn():
    first, second = letters(2)
    sink = Scripted({first.delivery_id: [Answer("later", "unauthorized", "401")]})
    story = Story(sink, breaker=BreakerPolicy())
    story.lanes.offer(first)
    await sink.attempted(1)
    story.lanes.offer(second)
    await asyncio.wait_for(story.lanes.withdraw(), 5)
    assert (story.ended, sink.attempts) == ([], [first.delivery_id])


async def test_an_alert_that_is_refused_while_others_are_let_in_is_refused_for_good():
    bad, good = letters(2)
    forbidden = Answer("later", "unauthorized", "403")
    sink = Scripted({bad.delivery_id: [forbidden] * 9})
    story = Moving(sink, breaker=BreakerPolicy(probe_every_ms=5))
    story.lanes.offer(bad)
    await sink.attempted(1)
    story.lanes.offer(good)
    await story.until(2)
    assert sorted(story.outcomes) == sorted([(bad.delivery_id, "refused"), (good.delivery_id, "delivered")])
    others_let_in = sink.attempts.index(good.delivery_id)
    assert sink.attempts[others_let_in:].count(bad.delivery_id) == 1


async def test_alerts_that_were_refused_with_the_login_are_all_delivered_once_it_is_mended():
    alerts = letters(3)
    refused = Answer("later", "unauthorized", "401")
    sink = Scripted()
    attempts = iter([refused] * 5)

    async def deliver(told):
        sink.attempts.append(told.delivery_id)
        return next(attempts, ACCEPTED)

    sink.deliver = deliver
    story = Moving(sink, breaker=BreakerPolicy(probe_every_ms=1))
    for each in alerts:
        story.lanes.offer(each)
    await story.until(3)
    assert {outcome for _, outcome in story.outcomes} == {"delivered"}
