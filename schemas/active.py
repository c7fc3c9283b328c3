"""Whether wall-clock ranges of a named zone hold at an instant: when a ROI is watched, when a route is told."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from schemas.effective import ActiveRange

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE: Final = 60_000
_DAY: Final = 24 * 60


def holds(active: ActiveRange, weekday: int, minute: int) -> bool:
    """Whether the range holds at a minute (0 to 1439) of a weekday (Monday 0) by its own zone's clock.

    The end is not part of it. A range that passes midnight belongs to the day it begins on.
    """
    if active.start_minute < active.end_minute:
        return weekday in active.days and active.start_minute <= minute < active.end_minute
    return (weekday in active.days and minute >= active.start_minute) or (
        (weekday - 1) % 7 in active.days and minute < active.end_minute
    )


class ActiveTimes:
    """Some ranges. ``at(instant)`` answers for milliseconds UTC, up to the year 9999.

    From UTC to the wall clock there is always one answer: in the hour that a zone repeats in autumn a range holds
    twice, and in the one it skips in spring, not at all. The answer is kept until a minute begins in any of the zones,
    so that events cost a comparison; it depends on the instant alone.
    """

    __slots__ = ("_answer", "_from", "_ranges", "_until")

    def __init__(self, ranges: Sequence[ActiveRange]) -> None:
        self._ranges = tuple((each, ZoneInfo(each.timezone)) for each in ranges)
        self._from = self._until = 0
        self._answer = False

    def at(self, instant: int) -> bool:
        """Whether one of the ranges holds."""
        if self._from <= instant < self._until:
            return self._answer
        begins, ends = 0, instant + _MINUTE
        answer = False
        for active, zone in self._ranges:
            offset = _offset(instant, zone)
            minutes, into = divmod(instant + offset, _MINUTE)
            begins = max(begins, instant - into)
            ends = min(ends, instant - into + _MINUTE)
            if _offset(begins, zone) != offset or _offset(ends - 1, zone) != offset:
                begins, ends = instant, instant + 1  # the clock is put forward or back within this minute
            day, minute = divmod(minutes, _DAY)
            answer = answer or holds(active, (day + 3) % 7, minute)  # 1 January 1970 was a Thursday
        self._from, self._until, self._answer = begins, ends, answer
        return answer


def _offset(instant: int, zone: ZoneInfo) -> int:
    """The zone's clock minus UTC, in milliseconds."""
    offset = (_EPOCH + timedelta(milliseconds=instant)).astimezone(zone).utcoffset()
    assert offset is not None  # a ZoneInfo always has one
    return offset // timedelta(milliseconds=1)
