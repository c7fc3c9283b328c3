"""Which files a rotated file leaves behind."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from router.rotation import Rotation, is_due, rotated_name, surplus

DAY = date(2026, 11, 23)
BOTH = Rotation(most_bytes=100, daily=True, keep=3)

names = st.sampled_from(["alerts.jsonl", "alerts", "al.er.ts.log", "a-2026-11-23.1.jsonl", "[x]*.jsonl"])
days = st.dates(date(2000, 1, 1), date(2100, 1, 1))


def test_a_file_gives_way_before_it_is_too_large_and_on_a_new_day():
    def due(size: int, coming: int, written_on: date = DAY) -> bool:
        return is_due(BOTH, size=size, coming=coming, written_on=written_on, today=DAY)

    assert not due(60, 40)
    assert due(60, 41)
    assert due(1, 1, DAY - timedelta(days=1))


def test_an_empty_file_never_gives_way():
    assert not is_due(BOTH, size=0, coming=1000, written_on=DAY - timedelta(days=9), today=DAY)


def test_a_clock_that_was_set_back_rotates_nothing():
    assert not is_due(BOTH, size=1, coming=1, written_on=DAY + timedelta(days=1), today=DAY)


def test_without_a_limit_a_file_grows_for_ever():
    never = Rotation(most_bytes=None, daily=False, keep=None)
    assert not is_due(never, size=10**12, coming=1, written_on=DAY - timedelta(days=9), today=DAY)


def test_old_files_are_called_by_day_and_number():
    assert rotated_name("alerts.jsonl", DAY, []) == "alerts-2026-11-23.1.jsonl"
    assert rotated_name("alerts.jsonl", DAY, ["alerts-2026-11-23.9.jsonl", "alerts-2026-11-22.11.jsonl"]) == (
        "alerts-2026-11-23.10.jsonl"
    )


def test_what_others_put_beside_it_is_never_removed():
    theirs = [
        "alerts.jsonl",
        "alerts-2026-11-23.1.jsonl.gz",
        "alerts-2026-11-23.jsonl",
        "alerts-2026-02-31.1.jsonl",
        "alerts-2026-11-23.01.jsonl",
        "other-2026-11-23.1.jsonl",
        "alerts-٢٠٢٦-11-23.1.jsonl",
        "alerts-2026-11-23.1.jsonl\n",
    ]
    assert surplus("alerts.jsonl", theirs, 1) == []


@given(names, st.lists(days, max_size=12), st.integers(1, 5))
def test_the_newest_stay_and_no_name_is_given_twice(name, written, keep):
    found: list[str] = []
    for day in sorted(written):
        old = rotated_name(name, day, found)
        assert old not in (*found, name)
        found.append(old)
        for gone in surplus(name, found, keep):
            found.remove(gone)
        assert found[-1] == old
        assert len(found) <= keep
    assert surplus(name, found, None) == []
