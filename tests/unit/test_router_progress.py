"""Which offset may be committed."""

from hypothesis import given
from hypothesis import strategies as st

from router.progress import Progress


def test_nothing_is_committed_before_anything_was_read():
    assert Progress().committable is None


def test_an_offset_that_waits_holds_back_those_done_after_it():
    progress = Progress()
    for offset in (7, 8, 9):
        progress.begin(offset)
    progress.done(8)
    progress.done(9)
    assert progress.committable == 7
    progress.done(7)
    assert progress.committable == 10
    assert progress.waiting == 0


@given(st.lists(st.integers(1, 5), min_size=1, max_size=60), st.randoms())
def test_the_committed_offset_never_passes_one_that_waits_and_never_goes_back(gaps, dice):
    progress = Progress()
    offsets = [sum(gaps[: place + 1]) for place in range(len(gaps))]
    waiting: set[int] = set()
    unread = list(offsets)
    newest = 0
    while unread or waiting:
        if unread and (not waiting or dice.random() < 0.5):
            offset = unread.pop(0)
            progress.begin(offset)
            waiting.add(offset)
        else:
            offset = dice.choice(sorted(waiting))
            progress.done(offset)
            waiting.discard(offset)
        at = progress.committable
        assert at is not None
        assert at >= newest
        assert at <= min(waiting, default=at)
        newest = at
    assert progress.committable == offsets[-1] + 1
