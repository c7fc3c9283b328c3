"""The timeline strips: where bars lie, what is one bar, and where the axis is named."""

from hypothesis import given
from hypothesis import strategies as st

from replay.report.timeline import MOST_ROWS, MOST_TICKS, strips, ticks
from replay.spans import Span
from schemas.messages import Alert
from tests.support.comparisons import BEGIN, HOUR, SPAN, comparison, raised

SECONDS = 6 * 3600

several = st.lists(
    st.builds(
        raised,
        st.integers(0, SECONDS - 1),
        st.one_of(st.none(), st.floats(0.001, 3 * SECONDS)),
        roi=st.sampled_from(("a", "b")),
    ),
    max_size=20,
    unique_by=lambda alert: (alert.roi, alert.opened_at),
)


@given(several, several)
def test_every_alert_lies_under_a_bar_of_its_kind_on_its_side(before: list[Alert], after: list[Alert]) -> None:
    made = comparison(before, after)
    (strip,) = strips(made, {})
    rows = {row.name.split(" · ")[0]: row for row in strip.rows}
    for difference in made.differences:
        for alert, side in ((difference.before, "before"), (difference.after, "after")):
            if alert is None:
                continue
            at = 100 * (alert.opened_at - SPAN.begin) / (SPAN.end - SPAN.begin)
            bars = getattr(rows[difference.roi], side)
            assert any(
                bar.kind == difference.kind and bar.left - 0.31 <= at <= bar.left + bar.width + 0.01 for bar in bars
            )
    for row in strip.rows:
        for bar in (*row.before, *row.after):
            assert bar.left >= 0
            assert 0 < bar.width <= 100.01 - bar.left


def test_ten_thousand_alerts_are_a_few_hundred_bars() -> None:
    alerts = [raised(second * 2, 1) for second in range(10_000)]
    (strip,) = strips(comparison(alerts, alerts[::2]), {})
    (row,) = strip.rows
    assert len(row.before) + len(row.after) < 700
    assert sum(int(bar.title.split()[0]) if bar.title[0].isdigit() else 1 for bar in row.before) == 10_000
    assert len(row.signs) <= 100


def test_a_bar_says_what_it_is_and_leads_to_its_card() -> None:
    (strip,) = strips(comparison([raised(60)], []), {0: 7})
    (bar,) = strip.rows[0].before
    assert bar.title == "removed: object in loading_zone, 2026-09-21 14:14:20, for 8 s"
    assert bar.card == 7
    assert strip.rows[0].after == ()


def test_an_alert_that_did_not_resolve_lasts_to_the_end() -> None:
    (strip,) = strips(comparison([raised(SECONDS / 2, None)], []), {})
    (bar,) = strip.rows[0].before
    assert (bar.left, bar.width) == (50.0, 50.0)
    assert bar.title.endswith("still open")


def test_a_camera_with_many_subjects_shows_those_that_differ_and_the_rest_as_one() -> None:
    same = [raised(60 + number, roi=f"same_{number:02}") for number in range(30)]
    (strip,) = strips(comparison([*same, raised(60, roi="zz")], same), {})
    names = [row.name for row in strip.rows]
    assert len(names) == MOST_ROWS
    assert "zz · object" in names
    assert names[-1] == "20 other subjects"


def test_where_the_camera_sent_nothing_the_strip_says_so() -> None:
    (strip,) = strips(comparison(), {})
    assert strip.silent == ((0.0, 1.39),)  # the first event comes 5 minutes after the span's beginning


def test_the_axis_is_named_at_round_instants() -> None:
    named = ticks(Span(BEGIN, BEGIN + 6 * HOUR))
    assert [tick.clock for tick in named] == ["15:00", "16:00", "17:00", "18:00", "19:00", "20:00"]
    assert [tick.date for tick in named] == ["21 Sep", None, None, None, None, None]
    assert named[0].left == round(100 * (46 * 60 + 40) / SECONDS, 2)


@given(st.integers(0, 4_000_000_000_000), st.integers(1, 40 * 365 * 24 * HOUR))
def test_the_axis_never_has_more_names_than_fit(begin: int, length: int) -> None:
    named = ticks(Span(begin, begin + length))
    assert len(named) <= MOST_TICKS
    assert all(0 <= tick.left <= 100 for tick in named)
