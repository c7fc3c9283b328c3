"""Repeated trouble: told at once, then at most once a minute with a count, and told when it is over."""

from collections.abc import Callable
from typing import Final

from structlog.stdlib import BoundLogger

EVERY_MS: Final = 60_000


class Trouble:
    """Folds a sink's failing attempts into a line a minute. ``clock`` answers milliseconds UTC."""

    def __init__(self, log: BoundLogger, sink: str, clock: Callable[[], int]) -> None:
        self._log = log
        self._sink = sink
        self._clock = clock
        self._since: int | None = None
        self._told_at = 0
        self._count = 0
        self.last_reason: str | None = None

    @property
    def since(self) -> int | None:
        """When attempts began to fail; None while the newest one succeeded."""
        return self._since

    def failed(self, reason: str, detail: str) -> None:
        """An attempt failed."""
        now = self._clock()
        self._count += 1
        self.last_reason = reason
        if self._since is None:
            self._since = now
        elif now - self._told_at < EVERY_MS:
            return
        self._told_at = now
        self._log.warning("delivery_failing", sink=self._sink, reason=reason, detail=detail, attempts=self._count)
        self._count = 0

    def succeeded(self) -> None:
        """An attempt succeeded."""
        if self._since is None:
            return
        seconds = (self._clock() - self._since) / 1000
        self._log.info("delivery_recovered", sink=self._sink, after_seconds=round(seconds, 1), attempts=self._count)
        self._since = None
        self._count = 0
        self.last_reason = None
