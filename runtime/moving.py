"""Whether a consumer moves, or has nothing to do."""

import time
from collections.abc import Callable
from typing import Final

from runtime.metrics import LAG_RECORDS, LAG_SECONDS

STALL_SECONDS: Final = 120.0
"""Behind, and not one record finished for as long: only a new process helps, and whoever takes over goes on."""


class Stall:
    """Tells a stall from a quiet time. Pure: the clock (seconds) comes with each look."""

    def __init__(self, seconds: float = STALL_SECONDS) -> None:
        self._seconds = seconds
        self._finished = -1
        self._moved_at = 0.0

    def look(self, now: float, finished: int, lag: int, holding: bool) -> bool:
        """Whether the worker has stalled. ``holding``: it waits on purpose (for a time to come, for a receiver)."""
        if finished != self._finished or lag <= 0 or holding:
            self._finished, self._moved_at = finished, now
        return now - self._moved_at > self._seconds


class Moving:
    """What a consumer says of its lag: as metrics, and as a check. `look` is called every few seconds.

    ``stage`` is the label of the metrics. Lag in seconds is the age of the record that was finished last, while others
    wait behind it.
    """

    def __init__(self, stage: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._records = LAG_RECORDS.labels(stage)
        self._seconds = LAG_SECONDS.labels(stage)
        self._clock = clock
        self._stall = Stall()
        self._words: str | None = None

    def look(self, lag: int, finished: int, reached_at: int | None, *, holding: bool = False) -> bool:
        """Whether it has stalled.

        ``finished`` counts records since the start, ``reached_at`` is the instant (ms UTC) of the newest of them;
        ``holding``: it waits on purpose.
        """
        self._records.set(lag)
        behind = lag > 0 and reached_at is not None
        self._seconds.set(max(0.0, time.time() - (reached_at or 0) / 1000) if behind else 0)
        stalled = self._stall.look(self._clock(), finished, lag, holding)
        self._words = f"{lag} records wait and none was finished for {STALL_SECONDS:g} s" if stalled else None
        return stalled

    def fault(self) -> str | None:
        """What is wrong, as of the last look; from any thread."""
        return self._words
