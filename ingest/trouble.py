"""The troubles of one camera or one client, each kind said once and then counted."""

import threading
import time
from typing import Any

from structlog.stdlib import BoundLogger

from runtime.repeated import Repeated


class Trouble:
    """Folds alike events (the same name and ``kind``) into a line a minute. From any thread."""

    def __init__(self, log: BoundLogger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str], Repeated] = {}

    def report(self, event: str, kind: str = "", **facts: Any) -> None:
        """It happened."""
        with self._lock:
            repeated = self._kinds.setdefault((event, kind), Repeated(self._log, event))
            repeated.happened(round(time.monotonic() * 1000), **facts)

    def over(self, event: str) -> None:
        """It is over: the next one is said at once."""
        with self._lock:
            self._kinds = {key: each for key, each in self._kinds.items() if key[0] != event}
