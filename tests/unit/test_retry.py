"""Again, and when, or the end, and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.retry import ACCEPTED, Again, Answer, End, RetryPolicy, decide, too_old

HOUR = 3_600_000
POLICY = RetryPolicy(max_age_ms=HOUR)
UNAVAILABLE = Answer("later", "server_error", "503")


def after(answer, *, attempts=1, faults=0, now=0, instant=0, dice=0.5, policy=POLICY):
    return decide(answer, policy, attempts=attempts, faults=faults, instant=instant, now=now, dice=dice)


def test_a_success_ends_as_delivered():
    assert after(ACCEPTED) == End("delivered", "accepted")


def test_an_answer_that_stays_ends_as_refused_with_its_reason():
    assert after(Answer("never", "rejected", "422")) == End("refused", "rejected")


def test_a_refused_login_ends_no_alert_unless_somebody_waits_for_the_end():
    refused = Answer("later", "unauthorized", "401")
    assert isinstance(after(refused, attempts=100), Again)
    assert after(refused, policy=RetryPolicy(max_age_ms=None, most_attempts=5)) == End("refused", "unauthorized")
    with pytest.raises(ValueError, match="ends no alert"):
        Answer("never", "unauthorized")


def test_a_passing_failure_is_tried_again_with_its_reason():
    assert after(UNAVAILABLE, now=1000, dice=0.5) == Again(1500, "server_error")


@pytest.mark.parametrize(
    ("attempts", "most"), [(1, 1000), (2, 2000), (3, 4000), (6, 32_000), (7, 60_000), (500, 60_000)]
)
def test_the_wait_doubles_up_to_a_minute(attempts, most):
    assert after(UNAVAILABLE, attempts=attempts, dice=0.999999) == Again(most, "server_error")
    assert after(UNAVAILABLE, attempts=attempts, dice=0.0) == Again(0, "server_error")


def test_a_receiver_may_ask_for_a_longer_wait():
    assert after(Answer("later", "rate_limited", "429", 7000), dice=0.5) == Again(7000, "rate_limited")


def test_a_receiver_cannot_ask_for_more_than_an_hour():
    patient = RetryPolicy(max_age_ms=None)
    asked = Answer("later", "rate_limited", "429", 999 * HOUR)
    assert after(asked, policy=patient) == Again(HOUR, "rate_limited")


def test_an_attempt_that_would_come_too_late_is_not_waited_for():
    assert after(UNAVAILABLE, now=HOUR, dice=0.5) == End("expired", "too_old")


def test_three_faults_of_our_own_are_enough():
    fault = Answer("later", "fault", "KeyError")
    assert isinstance(after(fault, attempts=2, faults=2), Again)
    assert after(fault, attempts=3, faults=3) == End("gave_up", "fault")


def test_the_last_attempt_that_is_allowed_ends_with_its_own_reason():
    few = RetryPolicy(max_age_ms=None, most_attempts=3)
    assert isinstance(after(UNAVAILABLE, attempts=2, policy=few), Again)
    assert after(UNAVAILABLE, attempts=3, policy=few) == End("gave_up", "server_error")
    assert after(ACCEPTED, attempts=3, policy=few) == End("delivered", "accepted")


def test_without_an_age_limit_nothing_is_too_old():
    assert not too_old(RetryPolicy(max_age_ms=None), instant=0, now=10**15)
    assert too_old(POLICY, instant=0, now=HOUR + 1)
    assert not too_old(POLICY, instant=0, now=HOUR)


@given(
    attempts=st.integers(1, 10_000),
    now=st.integers(0, 2 * HOUR),
    dice=st.floats(0, 1, exclude_max=True),
    asked=st.none() | st.integers(0, 10 * HOUR),
)
def test_the_next_attempt_is_never_in_the_past_never_past_the_limit_and_never_sooner_than_asked(
    attempts, now, dice, asked
):
    step = after(Answer("later", "server_error", "503", asked), attempts=attempts, now=now, dice=dice)
    if isinstance(step, Again):
        assert step.at >= now
        assert step.at <= HOUR
        assert step.at - now >= min(asked or 0, HOUR)
    else:
        assert step == End("expired", "too_old")
