"""Which pictures of a stream are kept, so that ``fps_target`` of them a second remain on average. Pure."""

from typing import Final

CREDIT_PERIODS: Final = 2.0
"""How far, in periods, the kept pictures may lag behind the target before the lag is forgiven. Two absorb the jitter
of a camera that runs at the target rate; more would keep every picture of a burst after a gap."""

SMOOTHING: Final = 1 / 8
"""Weight of the newest interval in the running mean of the source's interval."""


class Sampler:
    """Keeps the picture nearest to each point of a grid with ``fps`` points a second.

    The grid is fixed by the first picture and moves on by whole periods only, so that the average is exact and nothing
    drifts whatever the source's rate; a source that is slower than ``fps`` is kept whole. Times are capture times in
    milliseconds, never decreasing.
    """

    def __init__(self, fps: float) -> None:
        self._period = 1000.0 / fps
        self._origin: float | None = None
        self._point = 0
        self._before = 0.0
        self._interval = 0.0

    def keep(self, at: float) -> bool:
        """Whether the picture taken at ``at`` is kept."""
        if self._origin is None or at < self._before:
            self._origin, self._point, self._before, self._interval = at, 1, at, 0.0
            return True
        interval = min(at - self._before, self._period)
        self._interval += (interval - self._interval) * (SMOOTHING if self._interval else 1.0)
        self._before = at
        due = self._origin + self._point * self._period
        # The next picture is expected one interval later: this one is nearer to the point if at most half of it early.
        if at + self._interval / 2 < due:
            return False
        self._point += 1
        behind = (at - due) / self._period - CREDIT_PERIODS
        if behind > 0:
            self._point += int(behind) + 1
        return True
