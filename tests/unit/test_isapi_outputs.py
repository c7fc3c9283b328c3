"""The level machine: when something must be on, whatever alerts and answers come in which order."""

from hypothesis import given
from hypothesis import strategies as st

from router.isapi.outputs import Level, Limits, believed, ended, must_be_on, off_at, opened, taken

LIMITS = Limits(min_on_ms=2_000, max_on_ms=30_000)


def on(level: Level, at: int) -> bool:
    return must_be_on(level, LIMITS, at)


def test_it_is_on_while_an_alert_is_open_and_off_when_it_resolves():
    level = taken(opened(Level(told=False), "a", 1_000), True)
    assert on(level, 1_000)
    assert on(level, 20_000)
    level = ended(level, "a")
    assert not on(level, 20_000)
    assert taken(level, False) == Level(told=False)


def test_it_is_on_for_a_moment_at_least():
    level = ended(taken(opened(Level(told=False), "a", 1_000), True), "a")
    assert on(level, 2_999)
    assert not on(level, 3_000)
    assert off_at(level, LIMITS) == 3_000


def test_another_alert_prolongs_it_without_another_rise():
    level = taken(opened(Level(told=False), "a", 0), True)
    level = ended(opened(level, "b", 10_000), "a")
    assert level.told is True
    assert on(level, 20_000)
    assert not on(ended(level, "b"), 20_000)


def test_it_is_never_on_for_longer_than_its_limit_however_many_alerts_come():
    level = taken(opened(Level(told=False), "a", 0), True)
    level = opened(opened(level, "b", 29_000), "a", 29_500)
    assert on(level, 29_999)
    assert not on(level, 30_000)


def test_after_its_limit_a_new_alert_turns_it_on_again_and_the_old_ones_hold_it_no_more():
    level = taken(opened(Level(told=False), "a", 0), True)
    level = taken(level, False)
    assert not on(level, 30_001)
    level = taken(opened(level, "b", 40_000), True)
    assert on(level, 69_999)
    assert not on(ended(level, "b"), 50_000)


def test_what_a_process_before_left_on_is_not_ours_to_keep():
    assert Level().inherited
    assert not on(Level(), 0)
    assert not taken(Level(), False).inherited


def test_a_rise_of_which_nothing_is_known_counts_from_its_first_try():
    level = believed(opened(Level(told=False), "a", 0), None)
    level = opened(level, "a", 25_000)  # tried again
    assert off_at(level, LIMITS) == 30_000
    assert off_at(taken(level, True), LIMITS) == 30_000


def test_what_could_not_be_told_holds_nothing():
    level = ended(opened(Level(told=False), "a", 0), "a")
    assert not on(level, 1)
    assert off_at(level, LIMITS) is None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["opened", "resolved", "tick"]),
        st.sampled_from("abc"),
        st.integers(0, 12_000),
        st.sampled_from(["taken", "lost", "refused"]),
    ),
    max_size=60,
)


@given(STEPS)
def test_the_device_is_never_left_on_beyond_the_limit(steps):
    """A device that obeys what it takes, half of what gets lost, and is told whenever belief and need differ."""
    level, now, really, since = Level(told=False), 0, False, 0
    for kind, alert, wait, fate in steps:
        end = off_at(level, LIMITS)
        if level.told is not False and end is not None and end <= now + wait:  # the keeper is never late here
            now, wait = max(now, end), wait - max(0, end - now)
            assert not on(level, now)
            level, really = taken(level, False), False
        now += max(0, wait)
        if kind == "opened":
            level = opened(level, alert, now)
        elif kind == "resolved":
            level = ended(level, alert)
        must = on(level, now)
        if must is not level.told and (must or level.told is not False):
            if fate != "refused" and must is not really:
                really, since = must, now if must else since
            if fate == "taken":
                level = taken(level, must)
            else:
                level = believed(level, None) if fate == "lost" else ended(level, alert)
        if really:
            assert now - since <= LIMITS.max_on_ms
