"""Telling a sink again: which alerts are meant, in which order, and when it ends."""

import asyncio

import pytest
from msgspec import structs

from replay.redeliver import MOST_FAILED_IN_A_ROW, Found, Wanted, policy_of, tell
from replay.spans import Span
from router.retry import ACCEPTED, Answer, RetryPolicy
from router.sinks import Notice, SinkGone, known_sinks
from runtime.lifecycle import Stop
from schemas.codec import encode
from tests.support.alerts import OPENED_AT, opened, resolved

AT_ONCE = RetryPolicy(max_age_ms=None, first_ms=0, longest_ms=0, most_attempts=2)


def notice(alert):
    return Notice(alert, encode(alert))


def story(count):
    """Alerts with both phases, each opened before the one before resolves."""
    alerts = [opened(number) for number in range(count)]
    return [notice(each) for alert in alerts for each in (alert, resolved(alert))]


class Remembering:
    """A sink that answers what it is told to, per delivery id, and remembers who was told."""

    name = "remembering"
    actuates = False
    deadline_seconds = 5.0
    max_age_seconds = 1.0

    def __init__(self, answer=lambda _delivery_id: ACCEPTED):
        self.answer = answer
        self.told = []
        self.closed = False

    async def deliver(self, notice):
        self.told.append(notice.delivery_id)
        await asyncio.sleep(0)
        answer = self.answer(notice.delivery_id)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self):
        self.closed = True


def run(sink, notices, policy=AT_ONCE, stop=None):
    ends = []
    return asyncio.run(tell(sink, notices, policy, ends.append, stop or Stop())), ends


def test_every_alert_is_told_under_its_id_and_resolved_after_opened():
    notices = story(500)
    sink = Remembering()
    tally, ends = run(sink, notices)
    assert (tally.total, tally.delivered, tally.failed, tally.untried, tally.stopped) == (1000, 1000, [], 0, None)
    assert sorted(sink.told) == sorted(each.delivery_id for each in notices)
    for each in notices:
        if each.alert.seq:
            assert sink.told.index(f"{each.alert.alert_id}_0") < sink.told.index(each.delivery_id)
    assert len(ends) == 1000
    assert sink.closed


def test_an_alert_of_long_ago_is_not_too_old_to_be_told_again():
    ancient = notice(structs.replace(opened(), opened_at=1))
    tally, _ = run(Remembering(), [ancient], policy_of(1))
    assert tally.delivered == 1


def test_attempts_are_counted_and_the_reason_stays():
    sink = Remembering(lambda _delivery_id: Answer("later", "server_error", "503"))
    tally, ends = run(sink, [notice(opened())])
    assert len(sink.told) == 2
    assert list(tally.reasons()) == [("gave_up: server_error", 1)]
    assert ends == tally.failed


def test_a_receiver_that_refuses_everything_is_not_told_everything():
    sink = Remembering(lambda _delivery_id: Answer("later", "unauthorized", "401"))
    tally, _ = run(sink, story(500))
    assert tally.delivered == 0
    assert MOST_FAILED_IN_A_ROW <= len(sink.told) < 500
    assert tally.untried == 1000 - len(tally.failed) > 0
    assert "in a row" in tally.stopped


def test_failures_between_successes_end_nothing():
    bad = {each.delivery_id for each in story(100)[::8]}
    sink = Remembering(lambda delivery_id: Answer("never", "rejected", "422") if delivery_id in bad else ACCEPTED)
    tally, _ = run(sink, story(100))
    assert (tally.delivered, len(tally.failed), tally.untried) == (175, 25, 0)


def test_an_interruption_leaves_the_rest_untried():
    stop = Stop()
    notices = story(500)

    def answer(_delivery_id):
        stop.set()
        return ACCEPTED

    sink = Remembering(answer)
    tally, _ = run(sink, notices, stop=stop)
    assert tally.stopped == "interrupted"
    assert 0 < tally.delivered == len(sink.told) < 1000


def test_a_sink_that_is_gone_ends_it():
    sink = Remembering(lambda _delivery_id: SinkGone("nobody reads our stdout any more"))
    tally, _ = run(sink, story(3))
    assert (tally.delivered, tally.untried, tally.stopped) == (0, 6, "nobody reads our stdout any more")


@pytest.mark.parametrize(
    ("changes", "takes"),
    [
        ({}, True),
        ({"span": Span(OPENED_AT + 1, OPENED_AT + 2)}, False),
        ({"span": Span(OPENED_AT - 1, OPENED_AT)}, False),
        ({"cameras": frozenset({"cam_nave3_hornos"})}, True),
        ({"cameras": frozenset({"gate"})}, False),
        ({"rois": frozenset({"loading_zone", "other"})}, True),
        ({"rois": frozenset({"other"})}, False),
        ({"labels": frozenset({"worker"})}, False),
        ({"severities": frozenset({"critical"})}, True),
        ({"severities": frozenset({"info"})}, False),
    ],
)
def test_an_alert_is_meant_where_every_filter_takes_it(changes, takes):
    wanted = Wanted(**{"span": Span(OPENED_AT, OPENED_AT + 1), **changes})
    assert wanted.takes(notice(opened())) is takes


def test_a_phase_is_meant_by_its_own_instant():
    wanted = Wanted(Span(OPENED_AT + 5000, OPENED_AT + 5001))
    assert not wanted.takes(notice(opened()))
    assert wanted.takes(notice(resolved(opened())))


def test_undelivered_is_what_should_have_been_told_and_was_not():
    notices = tuple(notice(opened(number)) for number in range(4))
    outcomes = ("delivered", "expired", "silenced")
    recorded = {each.delivery_id: outcome for each, outcome in zip(notices, outcomes, strict=False)}
    assert Found(notices, recorded, 0).undelivered() == (notices[1], notices[3])


def test_stdout_and_webhook_move_nothing():
    known = known_sinks()
    assert not known["stdout"].actuates
    assert not known["webhook"].actuates
