"""When a picture was taken. Pure: wall clock, monotonic clock and stream time come in as numbers."""

from typing import Final

REFINE_WITHIN_MS: Final = 2000.0
"""A stream timestamp that lands farther than this from the arrival is not believed."""

SLEW: Final = 0.005
"""How fast one clock may be drawn to another: 5 ms a second, ten times the drift of a bad quartz."""

STEP_MS: Final = 2000.0
"""A wall clock that is ahead by more was set (after a start without network time): it is followed at once."""


class ArrivalClock:
    """UTC that never runs backwards and does not jump with the wall clock's small corrections.

    It runs on the monotonic clock, drawn to the wall clock by at most `SLEW`. A wall clock set forward by more than
    `STEP_MS` is followed at once. One set backward is not: capture times may not go back, so the difference is only
    slewed away, and `ahead_ms` says how large it is.
    """

    def __init__(self, wall_ms: float, monotonic_ms: float) -> None:
        self._at = wall_ms
        self._monotonic = monotonic_ms
        self.ahead_ms = 0.0

    def now(self, wall_ms: float, monotonic_ms: float) -> float:
        """The time in milliseconds UTC, given what both clocks say."""
        passed = max(0.0, monotonic_ms - self._monotonic)
        self._monotonic = max(self._monotonic, monotonic_ms)
        self._at += passed
        off = wall_ms - self._at
        self._at += off if off > STEP_MS else max(-SLEW * passed, min(SLEW * passed, off))
        self.ahead_ms = self._at - wall_ms
        return self._at


class CaptureClock:
    """Gives one camera's pictures and ticks their ``captured_at``: strictly increasing milliseconds UTC.

    A picture arrives later than it was taken, by a delay that varies. The camera's own timestamps do not vary but have
    no date. The smallest delay seen ties the two together: stream time plus that offset is the capture time, as
    long as it lies within `REFINE_WITHIN_MS` of the arrival; else (the camera's clock was set, timestamps wrapped, the
    network held pictures up for long) the offset is taken anew. The offset is let rise by `SLEW` so that a camera clock
    that runs slow does not fall behind.

    Every picture has a `taken` time, by which it is sampled; only those that are sent are given a `stamp`. The two
    differ when the camera is known to have been given later times already (``after``, from before a restart; a tick a
    moment ago): stamps then go on a millisecond at a time, and sampling is not disturbed.
    """

    def __init__(self, after: int | None = None) -> None:
        self.last = -1 if after is None else after
        self._offset: float | None = None
        self._arrived = 0.0
        self._taken = 0.0

    def taken(self, arrived_ms: float, stream_ms: float | None = None) -> float:
        """When a picture that arrived now was taken; never before the picture before. ``stream_ms`` is its own
        timestamp, from any origin."""
        self._taken = max(self._taken, arrived_ms if stream_ms is None else self._refined(arrived_ms, stream_ms))
        return self._taken

    def stamp(self, at_ms: float) -> int:
        """The ``captured_at`` of what is sent: ``at_ms``, or a millisecond after what was sent before."""
        self.last = max(round(at_ms), self.last + 1)
        return self.last

    def new_stream(self) -> None:
        """A connection was begun again: timestamps have a new origin."""
        self._offset = None

    def _refined(self, arrived_ms: float, stream_ms: float) -> float:
        offset = arrived_ms - stream_ms
        if self._offset is None:
            self._offset = offset
        else:
            risen = self._offset + SLEW * max(0.0, arrived_ms - self._arrived)
            self._offset = min(offset, risen)
            if arrived_ms - (stream_ms + self._offset) > REFINE_WITHIN_MS:
                self._offset = offset
        self._arrived = arrived_ms
        return stream_ms + self._offset
