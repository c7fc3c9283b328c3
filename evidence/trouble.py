"""When a store or a broker is away: when to try again, and since when it is so. Pure."""

from typing import Final

AGAIN_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
STUCK_SECONDS: Final = 120.0


class Trouble:
    """Counts failures in a row. Times are seconds of a clock that does not go back."""

    def __init__(self) -> None:
        self._failures = 0
        self._since: float | None = None
        self._again_at = 0.0

    def failed(self, now: float) -> None:
        """An attempt failed: the next one waits, longer each time, 30 s at most."""
        self._again_at = now + AGAIN_SECONDS[min(self._failures, len(AGAIN_SECONDS) - 1)]
        self._failures += 1
        self._since = now if self._since is None else self._since

    def over(self) -> None:
        """An attempt succeeded."""
        self._failures, self._since, self._again_at = 0, None, 0.0

    def may_try(self, now: float) -> bool:
        """Whether it is time for the next attempt."""
        return now >= self._again_at

    def stuck(self, now: float) -> str | None:
        """What is wrong in words, after two minutes of failing; None before."""
        lasted = 0.0 if self._since is None else now - self._since
        return f"evidence could not be kept for {lasted:.0f} s" if lasted > STUCK_SECONDS else None
