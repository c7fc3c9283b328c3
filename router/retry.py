"""After an attempt: again, and when, or the end, and why. Pure: the time and the dice come in as values.

The words of `Reason` are those of the delivery, the log line and the metric.
"""

from typing import Final, Literal

from msgspec import Struct

from schemas.messages import Outcome

Reason = Literal[
    "accepted",
    "timeout", "dns", "forbidden_target", "unreachable", "tls", "broken",
    "rate_limited", "server_error", "client_error",
    "redirect", "unauthorized", "not_found", "gone", "too_large", "rejected",
    "fault", "too_old", "silence",
]  # fmt: skip
"""What became of an attempt.

``broken``: the connection ended before there was an answer; ``client_error``: a 4xx worth trying again;
``rejected``: a 4xx that will stay; ``forbidden_target``: the name resolves to an address that is not allowed;
``fault``: our sink raised; ``too_old``: the age limit passed;
``silence``: a silence or a time interval kept it from being told.
"""

Verdict = Literal["done", "later", "never"]


class Answer(Struct, frozen=True):
    """What a sink says of one attempt.

    ``detail`` is for a person ("503") and never holds a URL. ``retry_after_ms``: the receiver asked for as long.
    ``unauthorized`` is never final: it speaks of our credentials, not of the alert, which waits until they are mended.
    """

    verdict: Verdict
    reason: Reason
    detail: str = ""
    retry_after_ms: int | None = None

    def __post_init__(self) -> None:
        if self.verdict == "never" and self.reason == "unauthorized":
            raise ValueError("a refused login ends no alert: expected the verdict later")


class Again(Struct, frozen=True):
    """Another attempt, not before ``at`` (milliseconds UTC)."""

    at: int
    reason: Reason


class End(Struct, frozen=True):
    """No further attempt."""

    outcome: Outcome
    reason: Reason


class RetryPolicy(Struct, frozen=True):
    """How long to wait between attempts, and when to stop.

    The wait before attempt n + 1 is drawn evenly from 0 to ``min(longest_ms, first_ms * 2**(n - 1))`` ("full jitter":
    receivers that come back are not hit by everybody at once). A receiver may ask for more, up to ``ask_at_most_ms``.
    ``faults`` attempts in which our own sink raised are enough. ``max_age_ms`` None: no alert is ever too old.
    ``most_attempts`` None: as many as the age allows; else somebody waits for the end, and a refused login is one.
    """

    max_age_ms: int | None
    first_ms: int = 1_000
    longest_ms: int = 60_000
    ask_at_most_ms: int = 3_600_000
    faults: int = 3
    most_attempts: int | None = None


ACCEPTED: Final = Answer("done", "accepted")
TOO_OLD: Final = End("expired", "too_old")


def too_old(policy: RetryPolicy, *, instant: int, now: int) -> bool:
    """Whether an alert of ``instant`` (its opening or resolve) may no longer be told at ``now``."""
    return policy.max_age_ms is not None and now - instant > policy.max_age_ms


def decide(
    answer: Answer, policy: RetryPolicy, *, attempts: int, faults: int, instant: int, now: int, dice: float
) -> Again | End:
    """What follows from the ``attempts``-th attempt's ``answer`` at ``now``.

    ``faults`` counts the attempts in which the sink raised, this one included. ``dice`` is drawn evenly from [0, 1).
    """
    if answer.verdict == "done":
        return End("delivered", answer.reason)
    if answer.verdict == "never":
        return End("refused", answer.reason)
    if faults >= policy.faults:
        return End("gave_up", "fault")
    if policy.most_attempts is not None and answer.reason == "unauthorized":
        return End("refused", "unauthorized")
    if policy.most_attempts is not None and attempts >= policy.most_attempts:
        return End("gave_up", answer.reason)
    # 2**40 first waits are longer than any limit, and a larger power would only be a large number.
    most = min(policy.longest_ms, policy.first_ms * 2 ** min(attempts - 1, 40))
    asked = min(answer.retry_after_ms or 0, policy.ask_at_most_ms)
    at = now + max(round(dice * most), asked)
    if too_old(policy, instant=instant, now=at):
        return TOO_OLD
    return Again(at, answer.reason)
