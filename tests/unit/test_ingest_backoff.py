"""The ladder by which a camera is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.backoff import wait_before


def test_the_ladder_is_five_at_one_five_at_five_ten_at_ten_then_sixty() -> None:
    waits = [wait_before(n, 0.5) for n in range(1, 24)]
    assert waits == [1.0] * 5 + [5.0] * 5 + [10.0] * 10 + [60.0] * 3


def test_a_refused_password_is_tried_twice_and_then_once_in_five_minutes() -> None:
    assert wait_before(1, 0.5, refused=True) == 1.0
    assert all(wait_before(n, chance, refused=True) >= 300 for n in range(2, 50) for chance in (0.0, 1.0))


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_jitter_stays_within_a_fifth(failures: int, chance: float) -> None:
    middle = wait_before(failures, 0.5)
    assert 0.8 * middle - 1e-9 <= wait_before(failures, chance) <= 1.2 * middle + 1e-9
