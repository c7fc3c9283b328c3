"""When a receiver is left alone."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.breaker import ABOUT_THE_ALERT, CLOSED, Breaker, BreakerPolicy, after, begun, lets_through
from router.retry import ACCEPTED, Answer

POLICY = BreakerPolicy()
DOWN = Answer("later", "server_error", "503")
NOW = 1_000_000
OPEN = Breaker("open", 5, NOW + 30_000)


def told(answers, breaker=CLOSED, now=NOW):
    for answer in answers:
        breaker = after(breaker, answer, POLICY, now)
    return breaker


def test_five_failures_in_a_row_open_it_and_an_answer_between_them_starts_the_count_again():
    assert told([DOWN] * 4).state == "closed"
    assert told([DOWN] * 5) == OPEN
    assert told([DOWN] * 4 + [ACCEPTED] + [DOWN] * 4).state == "closed"


@pytest.mark.parametrize("reason", sorted(ABOUT_THE_ALERT))
def test_a_receiver_that_refuses_one_alert_is_there(reason):
    refused = Answer("never", reason)
    assert told([DOWN] * 4 + [refused]) == CLOSED
    assert told([refused] * 100) == CLOSED
    assert told([refused], begun(OPEN)) == CLOSED


def test_one_refused_login_opens_it_at_once_and_is_tried_ever_more_seldom():
    refused = Answer("later", "unauthorized", "401")
    breaker, waits = CLOSED, []
    for _ in range(8):
        breaker = told([refused], begun(breaker))
        waits.append((breaker.probe_at - NOW) // 1000)
    assert waits == [30, 60, 120, 240, 480, 600, 600, 600]
    assert told([refused] * 16, breaker) == msgspec.structs.replace(breaker, failures=breaker.failures + 16)
    assert told([ACCEPTED], begun(breaker)) == CLOSED
    locked = Answer("later", "unauthorized", "locked", 1_800_000)
    assert told([locked]).probe_at - NOW == 1_800_000


def test_open_nothing_goes_through_until_the_probe_and_then_one_attempt_at_a_time():
    assert not lets_through(OPEN, NOW + 29_999)
    assert lets_through(OPEN, NOW + 30_000)
    probing = begun(OPEN)
    assert not lets_through(probing, NOW + 10**9)
    assert told([DOWN], probing, NOW + 31_000) == Breaker("open", 6, NOW + 61_000)
    assert told([ACCEPTED], probing) == CLOSED


def test_attempts_that_began_before_it_opened_do_not_put_the_probe_off():
    assert told([DOWN] * 10, OPEN, NOW + 20_000).probe_at == OPEN.probe_at
    assert told([ACCEPTED], OPEN) == CLOSED


def test_a_receiver_may_ask_for_a_later_probe_but_not_for_ever():
    def asked(wait):
        return told([DOWN] * 4 + [Answer("later", "rate_limited", "429", wait)]).probe_at - NOW

    assert asked(None) == 30_000
    assert asked(90_000) == 90_000
    assert asked(10**12) == POLICY.ask_at_most_ms


def test_gone_disables_whatever_comes_afterwards():
    disabled = told([Answer("never", "gone", "410")])
    assert disabled.state == "disabled"
    assert told([ACCEPTED, DOWN], disabled) == disabled
    assert not lets_through(disabled, NOW + 10**12)


def test_a_mistake_of_our_own_does_not_open_it_and_ends_a_probe():
    fault = Answer("later", "fault")
    assert told([fault] * 10) == CLOSED
    assert told([fault], begun(OPEN)).state == "open"


@given(st.lists(st.sampled_from(["done", "down", "login", "fault", "large"]), max_size=60))
def test_it_never_sticks(words):
    """Whatever came, some time later an attempt goes through, and its success closes it."""
    answers = {
        "done": ACCEPTED,
        "down": DOWN,
        "login": Answer("later", "unauthorized"),
        "fault": Answer("later", "fault"),
        "large": Answer("never", "too_large"),
    }
    breaker, now = CLOSED, NOW
    for word in words:
        now += 7_000
        if lets_through(breaker, now):
            breaker = after(begun(breaker), answers[word], POLICY, now)
    assert breaker.state in ("closed", "open")
    later = now + POLICY.login_every_ms
    assert lets_through(breaker, later)
    assert after(begun(breaker), ACCEPTED, POLICY, later) == CLOSED
