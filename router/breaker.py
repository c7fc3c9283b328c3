"""When a sink's receiver is left alone: a circuit breaker. Pure: time and answers come in as values.

Closed, attempts go through. After several transient failures in a row, or one refused login, it is open: nothing is
attempted, and what waits keeps waiting. Then one attempt at a time probes; an answer closes it again. A login that is
refused again and again is tried ever more seldom, so that no account is locked for our sake. A receiver that says it is
gone for good disables the sink until the process begins again.
"""

from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from router.retry import Answer, Reason

State = Literal["closed", "open", "probing", "disabled"]

ABOUT_THE_ALERT: Final[frozenset[Reason]] = frozenset({"redirect", "not_found", "too_large", "rejected"})
"""Refusals by a receiver that is there."""


class BreakerPolicy(Struct, frozen=True):
    """``failures`` in a row open it; open, an attempt is let through every ``probe_every_ms``.

    A receiver may ask for more (`Retry-After`), up to ``ask_at_most_ms``. After a refused login the wait doubles from
    probe to probe, up to ``login_every_ms``.
    """

    failures: int = 5
    probe_every_ms: int = 30_000
    login_every_ms: int = 600_000
    ask_at_most_ms: int = 3_600_000


class Breaker(Struct, frozen=True):
    """``failures``: transient ones in a row. ``probe_at``: when, open, an attempt may be made (milliseconds UTC).

    ``refused``: how often in a row it opened for a refused login.
    """

    state: State = "closed"
    failures: int = 0
    probe_at: int = 0
    refused: int = 0


CLOSED: Final = Breaker()


def lets_through(breaker: Breaker, now: int) -> bool:
    """Whether an attempt may begin."""
    return breaker.state == "closed" or (breaker.state == "open" and now >= breaker.probe_at)


def begun(breaker: Breaker) -> Breaker:
    """An attempt that was let through has begun: while one probes, no other is let through."""
    return replace(breaker, state="probing") if breaker.state == "open" else breaker


def after(breaker: Breaker, answer: Answer, policy: BreakerPolicy, now: int) -> Breaker:
    """What follows from an attempt's answer at ``now``; it may have begun before the breaker opened."""
    if breaker.state == "disabled":
        return breaker
    if answer.reason == "gone":
        return Breaker("disabled", breaker.failures)
    if answer.verdict == "done" or answer.reason in ABOUT_THE_ALERT:
        return CLOSED
    if answer.reason == "fault":  # ours, and says nothing of the receiver
        return _open(breaker, answer, policy, now) if breaker.state == "probing" else breaker
    failed = replace(breaker, failures=breaker.failures + 1)
    if breaker.state == "open" or (
        breaker.state == "closed" and failed.failures < policy.failures and answer.reason != "unauthorized"
    ):
        return failed
    return _open(failed, answer, policy, now)


def _open(breaker: Breaker, answer: Answer, policy: BreakerPolicy, now: int) -> Breaker:
    wait, refused = policy.probe_every_ms, 0
    if answer.reason == "unauthorized":
        refused = breaker.refused + 1
        wait = max(wait, min(policy.login_every_ms, wait * 2 ** min(breaker.refused, 20)))
    asked = min(answer.retry_after_ms or 0, policy.ask_at_most_ms)
    return Breaker("open", breaker.failures, now + max(wait, asked), refused)
