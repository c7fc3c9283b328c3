"""Capture times: near the arrival, refined by the stream, strictly increasing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.capture_clock import REFINE_WITHIN_MS, STEP_MS, ArrivalClock, CaptureClock

START = 1_795_000_000_000.0


def test_the_streams_timestamps_take_the_networks_jitter_away() -> None:
    clock = CaptureClock()
    delays = [20, 20, 180, 150, 90, 20, 300, 25]
    times = [clock.taken(START + 40 * n + delay, 40.0 * n) for n, delay in enumerate(delays)]
    assert max(abs(at - times[0] - 40 * n) for n, at in enumerate(times)) <= 3


def test_a_camera_whose_clock_jumps_is_dated_by_arrival() -> None:
    clock = CaptureClock()
    clock.taken(START, 0.0)
    assert clock.taken(START + 40, -3_600_000.0) == START + 40
    assert clock.taken(START + 80, -3_600_000.0 + 40) == START + 80
    # and forward: timestamps an hour ahead would otherwise date pictures into the future
    assert clock.taken(START + 120, 99_000_000.0) == START + 120


def test_a_burst_after_a_stall_of_the_network_keeps_its_times() -> None:
    clock = CaptureClock()
    for n in range(50):
        clock.taken(START + 40 * n, 40.0 * n)
    stalled = START + 2000 + 1500  # pictures 50 to 87 arrive together, 1.5 s late
    assert [clock.taken(stalled, 40.0 * n) - START for n in (50, 60, 70)] == pytest.approx([2000, 2400, 2800], abs=8)


def test_a_restart_goes_on_after_the_last_known_time() -> None:
    clock = CaptureClock(after=round(START) + 500)
    assert [clock.stamp(clock.taken(START + passed)) for passed in (100, 100, 700)] == [
        START + 501,
        START + 502,
        START + 700,
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["picture", "tick", "new_stream"]),
            st.floats(0, 3000),
            st.one_of(st.none(), st.floats(-1e9, 1e9)),
        ),
        max_size=200,
    ),
    st.one_of(st.none(), st.integers(0, round(START) + 10_000)),
)
def test_times_increase_strictly_and_stay_near_the_arrival(
    events: list[tuple[str, float, float | None]], after: int | None
) -> None:
    clock, now, last = CaptureClock(after), START, -1 if after is None else after
    for count, (kind, gap, stream) in enumerate(events):
        now += gap
        if kind == "new_stream":
            clock.new_stream()
            continue
        taken = now if kind == "tick" else clock.taken(now, stream)
        assert now - REFINE_WITHIN_MS - 1 <= taken <= now
        at = clock.stamp(taken)
        assert at > last
        # Never in the future but by the milliseconds that strictness adds.
        assert at <= max(now, after or 0) + count + 1
        last = at


def test_the_arrival_clock_slews_small_corrections() -> None:
    clock = ArrivalClock(START, 0)
    assert clock.now(START + 1000 - 100, 1000) == START + 1000 - 5
    assert clock.now(START + 2000 + 100, 2000) == START + 2000


def test_a_wall_clock_set_forward_is_followed_and_one_set_back_is_not() -> None:
    clock = ArrivalClock(START, 0)
    assert clock.now(START + 3_600_000, 1000) == START + 3_600_000
    back = clock.now(START + 1000, 2000)
    assert back > START + 3_600_000
    assert clock.ahead_ms > 3_590_000


@given(st.lists(st.tuples(st.floats(0, 5000), st.floats(-4e6, 4e6)), max_size=100))
def test_the_arrival_clock_never_runs_backwards(steps: list[tuple[float, float]]) -> None:
    clock, monotonic, last = ArrivalClock(START, 0), 0.0, START
    for passed, off in steps:
        monotonic += passed
        at = clock.now(START + monotonic + off, monotonic)
        assert at >= last
        assert at >= START + monotonic + off - STEP_MS - 1
        last = at
