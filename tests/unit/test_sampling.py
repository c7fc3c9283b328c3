"""Sampling keeps the target rate exactly and never drifts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.sampling import CREDIT_PERIODS, Sampler


def kept(times: list[float], fps: float) -> list[float]:
    sampler = Sampler(fps)
    return [at for at in times if sampler.keep(at)]


def test_five_of_twenty_five_are_every_fifth() -> None:
    assert kept([40.0 * n for n in range(101)], 5) == [200.0 * n for n in range(21)]


def test_a_rate_that_does_not_divide_is_met_on_average() -> None:
    assert len(kept([40.0 * n for n in range(25 * 60)], 10)) == 600


def test_ntsc_rates_do_not_drift_over_an_hour() -> None:
    times = kept([n * 1001 / 30 for n in range(30 * 3600)], 5)
    assert len(times) == pytest.approx(3600 * 5 * 1.001, abs=2)
    assert all(abs(at - number * 200) <= 1001 / 30 for number, at in enumerate(times))


def test_a_slower_source_is_kept_whole() -> None:
    times = [250.0 * n for n in range(400)]
    assert kept(times, 5) == times


def test_after_a_gap_the_burst_is_not_kept_whole() -> None:
    before = [200.0 * n for n in range(10)]
    after = [before[-1] + 60_000 + 10 * n for n in range(100)]
    assert len(kept(before + after, 5)) <= 10 + CREDIT_PERIODS + 1 + 1000 / 200


@given(
    fps=st.floats(0.5, 30),
    ratio=st.floats(1, 8),
    jitter=st.lists(st.floats(-0.45, 0.45), min_size=200, max_size=600),
)
def test_the_average_is_exact_whatever_the_jitter(fps: float, ratio: float, jitter: list[float]) -> None:
    interval = 1000 / fps / ratio
    times = [(number + off) * interval for number, off in enumerate(jitter)]
    wanted = (times[-1] - times[0]) * fps / 1000
    assert abs(len(kept(times, fps)) - wanted) <= 3


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=300), st.floats(0.5, 30))
def test_never_more_than_the_target_and_its_credit(gaps: list[float], fps: float) -> None:
    times, at = [], 0.0
    for gap in gaps:
        at += gap
        times.append(at)
    allowed = (times[-1] - times[0]) * fps / 1000 + CREDIT_PERIODS + 2
    assert 1 <= len(kept(times, fps)) <= allowed


def test_a_source_at_exactly_the_target_with_jitter_loses_at_most_one() -> None:
    jitter = [60, -60, 40, -55, 0, 58, -58] * 30
    times = [200.0 * n + off for n, off in enumerate(jitter)]
    assert len(kept(times, 5)) >= len(times) - 1
