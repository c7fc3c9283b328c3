"""Repeated trouble: said once, then counted."""

import threading
import time
from typing import Any, Final

from structlog.stdlib import BoundLogger

AGAIN_SECONDS: Final = 60.0


class Trouble:
    """Logs the first of many alike events, then one line a minute with how many there were meanwhile.

    Events are alike when name and ``kind`` are. From any thread.
    """

    def __init__(self, log: BoundLogger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def report(self, event: str, kind: str = "", **facts: Any) -> None:
        """It happened."""
        now = time.monotonic()
        with self._lock:
            said_at, unsaid = self._said.get((event, kind), (None, 0))
            if said_at is not None and now - said_at < AGAIN_SECONDS:
                self._said[event, kind] = (said_at, unsaid + 1)
                return
            self._said[event, kind] = (now, 0)
        if unsaid:
            facts["times_since"] = unsaid + 1
        self._log.warning(event, **facts)

    def over(self, event: str) -> int:
        """It is over: the next one is said at once. Answers how many were not said."""
        with self._lock:
            mine = [key for key in self._said if key[0] == event]
            return sum(self._said.pop(key)[1] for key in mine)
