"""Spans of time as people write them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.spans import BadInstant, Span, in_words, instant, span_of

NOW = 1_790_000_000_000  # 2026-09-21T14:13:20Z
MINUTE = 60_000


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("now", NOW),
        ("-90m", NOW - 90 * MINUTE),
        ("-7d", NOW - 7 * 24 * 60 * MINUTE),
        ("-0.5h", NOW - 30 * MINUTE),
        ("-2w", NOW - 14 * 24 * 60 * MINUTE),
        ("2026-09-21T14:13:20Z", NOW),
        ("2026-09-21T16:13:20+02:00", NOW),
        ("2026-09-21T14:13:20.250Z", NOW + 250),
        ("1790000000000", NOW),
    ],
)
def test_an_instant_is_written_absolutely_or_before_now(written: str, expected: int) -> None:
    assert instant(written, NOW) == expected


def test_an_instant_without_a_zone_is_local_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Madrid")
    time.tzset()
    try:
        assert instant("2026-09-21T16:13:20", NOW) == NOW
        assert instant("2026-09-21", NOW) == instant("2026-09-20T22:00:00Z", NOW)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "written", ["", "yesterday", "7d", "+7d", "-7", "-7y", "- 7d", "2026-13-01", "12", "now-7d", "-infd", "-²d"]
)
def test_what_is_no_instant_is_refused_with_what_was_expected(written: str) -> None:
    with pytest.raises(BadInstant, match=r"expected 2026-11-16T08:00:00Z"):
        instant(written, NOW)


@pytest.mark.parametrize("written", ["-99999w", "1969-12-31T23:59:59Z"])
def test_before_1970_there_is_no_history(written: str) -> None:
    with pytest.raises(BadInstant, match="before 1970"):
        instant(written, NOW)


@given(st.integers(0, 4_102_444_800_000))
def test_an_instant_in_words_reads_back_as_itself(at: int) -> None:
    assert instant(in_words(at), NOW) == at


def test_a_span_holds_its_beginning_and_not_its_end() -> None:
    span = span_of("-2m", "-1m", NOW)
    assert span == Span(NOW - 2 * MINUTE, NOW - MINUTE)
    assert span.holds(span.begin)
    assert span.holds(span.end - 1)
    assert not span.holds(span.end)
    assert not span.holds(span.begin - 1)


@pytest.mark.parametrize(("begin", "end"), [("now", "now"), ("now", "-1m"), ("-1h", "-2h")])
def test_an_empty_span_is_refused_in_words(begin: str, end: str) -> None:
    with pytest.raises(BadInstant, match=r"the span from 2026-09-21T\S+ to 2026-09-21T\S+ is empty"):
        span_of(begin, end, NOW)
