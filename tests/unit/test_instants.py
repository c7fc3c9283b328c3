"""Instants as people write them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.instants import BadInstant, in_words, instant

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", NOW),
        ("-90m", NOW - 5_400_000),
        ("-7d", NOW - 604_800_000),
        ("-0.5s", NOW - 500),
        ("2026-11-16T08:00:00Z", 1_794_816_000_000),
        (" 2026-11-16T09:00:00.250+01:00 ", 1_794_816_000_250),
        ("1794816000000", 1_794_816_000_000),
    ],
)
def test_an_instant_is_written_in_several_ways(text: str, at: int) -> None:
    assert instant(text, NOW) == at


@pytest.mark.parametrize(
    "text", ["", "yesterday", "7d", "-7y", "12:00", "0001-01-01", "1969-12-31T00:00:00Z", "-99999999d"]
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(BadInstant):
        instant(text, NOW)


@given(st.text())
def test_no_text_is_answered_with_anything_but_an_instant_or_a_refusal(text: str) -> None:
    with contextlib.suppress(BadInstant):
        assert instant(text, NOW) >= 0


@given(st.integers(0, 4_000_000_000_000))
def test_an_instant_in_words_is_that_instant(at: int) -> None:
    assert instant(in_words(at), NOW) == at
