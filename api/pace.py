"""How often each of many may do something: a bucket each that fills again with time. Pure; time enters in seconds."""

from typing import Final

MOST: Final = 10_000
"""Of those remembered at once; then whoever has been quiet long enough to have a full bucket is forgotten."""


class Pace:
    """``burst`` at once, then ``per_second``. Not for several threads at once."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, who: str, now: float) -> float:
        """0 where they may now, which counts; else after how many seconds they may."""
        left, then = self._left.get(who, (float(self._burst), now))
        left = min(self._burst, left + (now - then) * self._per_second)
        if left < 1:
            self._left[who] = (left, now)
            return (1 - left) / self._per_second
        if who not in self._left and len(self._left) >= MOST:
            self._forget(now)
        self._left[who] = (left - 1, now)
        return 0.0

    def _forget(self, now: float) -> None:
        full = [
            who for who, (left, then) in self._left.items() if left + (now - then) * self._per_second >= self._burst
        ]
        # Where nobody is full, whoever came first makes room: memory stays bounded whatever comes in.
        for who in full or [next(iter(self._left))]:
            del self._left[who]
