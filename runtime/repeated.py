"""Repeated trouble is one line at once, and then one a minute with a count."""

from typing import Any, Final

from structlog.stdlib import BoundLogger

EVERY_MS: Final = 60_000


class Repeated:
    """Folds alike warnings. Time enters as milliseconds, any clock that does not go back."""

    def __init__(self, log: BoundLogger, event: str) -> None:
        self._log = log
        self._event = event
        self._told_ms: int | None = None
        self._untold = 0

    def happened(self, now_ms: int, **facts: Any) -> None:
        """It happened (again). The line that is written carries the facts of the newest, and how many went before it
        in silence."""
        if self._told_ms is not None and now_ms - self._told_ms < EVERY_MS:
            self._untold += 1
            return
        if self._untold:
            facts["more_since_last_line"] = self._untold
        self._log.warning(self._event, **facts)
        self._told_ms = now_ms
        self._untold = 0
