"""When a ROI is watched: wall-clock ranges, midnight, and the nights on which clocks change."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.active import ActiveTimes
from schemas.effective import ActiveRange
from tests.support.histories import active_ranges
from tests.support.reference import is_active

WEEKDAYS = (0, 1, 2, 3, 4)
EVERY_DAY = tuple(range(7))


def utc(text: str) -> int:
    """Milliseconds of an instant written as ``2026-03-29 01:00``, UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def clock(hours: int, minutes: int = 0) -> int:
    return hours * 60 + minutes


def range_of(start, end, days=EVERY_DAY, zone="Europe/Madrid"):
    return ActiveRange(days, start, end, zone)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2026-01-12 04:59:59.999", False),  # Monday 05:59:59.999 in Madrid
        ("2026-01-12 05:00", True),
        ("2026-01-12 20:59:59.999", True),
        ("2026-01-12 21:00", False),  # the end is not part of it
        ("2026-01-10 12:00", False),  # Saturday
        ("2026-07-13 04:00", True),  # summer: 06:00 is 04:00 UTC
        ("2026-07-13 03:59", False),
    ],
)
def test_a_range_holds_by_the_wall_clock_of_its_zone(instant, expected):
    assert ActiveTimes([range_of(clock(6), clock(22), WEEKDAYS)]).at(utc(instant)) is expected


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2026-01-09 20:59", False),  # Friday 21:59
        ("2026-01-09 21:00", True),
        ("2026-01-09 23:30", True),  # Saturday 00:30, of Friday's range
        ("2026-01-10 04:59", True),
        ("2026-01-10 05:00", False),
        ("2026-01-10 22:00", False),  # Saturday evening begins none
        ("2026-01-11 23:30", False),  # Monday 00:30: Sunday began none
        ("2026-01-12 21:00", True),
    ],
)
def test_a_range_that_passes_midnight_belongs_to_the_day_it_begins_on(instant, expected):
    assert ActiveTimes([range_of(clock(22), clock(6), WEEKDAYS)]).at(utc(instant)) is expected


@pytest.mark.parametrize(("start", "end"), [(clock(22), 0), (clock(22), 1440)])
def test_until_midnight_may_be_written_in_two_ways(start, end):
    times = ActiveTimes([range_of(start, end, (4,))])
    assert times.at(utc("2026-01-09 22:59:59.999"))
    assert not times.at(utc("2026-01-09 23:00"))


def test_in_spring_the_skipped_hour_holds_nothing_and_in_autumn_the_repeated_one_holds_twice():
    times = ActiveTimes([range_of(clock(2), clock(3))])
    assert not any(times.at(utc("2026-03-29 00:00") + minute * 60_000) for minute in range(180))
    held = [minute for minute in range(240) if times.at(utc("2026-10-25 00:00") + minute * 60_000)]
    assert held == list(range(120))


def test_several_ranges_hold_where_one_does():
    times = ActiveTimes([range_of(clock(6), clock(7)), range_of(clock(6), clock(7), zone="Asia/Kolkata")])
    assert times.at(utc("2026-01-12 05:30"))
    assert times.at(utc("2026-01-12 00:30:00"))
    assert not times.at(utc("2026-01-12 02:00"))


def test_an_offset_of_seconds_is_kept():
    """Monrovia's clock was 44 minutes and 30 seconds behind until 7 January 1972."""
    times = ActiveTimes([range_of(clock(6), clock(7), zone="Africa/Monrovia")])
    assert not times.at(utc("1970-06-01 06:44:29.999"))
    assert times.at(utc("1970-06-01 06:44:30"))
    assert times.at(utc("1970-06-01 07:44:29.999"))
    assert not times.at(utc("1970-06-01 07:44:30"))


changes = st.sampled_from(
    [
        utc("2026-03-29 01:00"),
        utc("2026-10-25 01:00"),
        utc("2026-03-08 07:00"),
        utc("2026-11-01 06:00"),
        utc("1972-01-07 00:44:30"),
    ]
)
instants = st.one_of(
    st.integers(0, utc("2060-01-01")),
    st.builds(lambda change, beside: change + beside, changes, st.integers(-90_000, 90_000)),
    st.builds(lambda change, minutes: change + minutes * 60_000, changes, st.integers(-1500, 1500)),
)
zones = st.sampled_from(
    ["Europe/Madrid", "America/New_York", "Africa/Monrovia", "Asia/Kathmandu", "Australia/Lord_Howe"]
)
ranges = st.one_of(
    active_ranges(),
    st.builds(
        ActiveRange,
        days=st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
        start_minute=st.integers(0, 1440),
        end_minute=st.integers(0, 1440),
        timezone=zones,
    ).filter(lambda each: each.start_minute != each.end_minute),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(ranges, min_size=1, max_size=3), st.lists(instants, min_size=1, max_size=20))
def test_the_answer_is_that_of_the_calendar_whatever_was_asked_before(each, asked):
    times = ActiveTimes(each)
    for instant in [*asked, *sorted(asked), *(near + 1 for near in asked)]:
        assert times.at(instant) == any(is_active(one, instant) for one in each)
