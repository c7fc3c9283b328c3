"""When a changed document is taken up."""

from pathlib import Path

from router.watched import LOOK_SECONDS, Watched


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def looks(self, watched: Watched) -> bool:
        """The next look."""
        self.now += LOOK_SECONDS
        return watched.changed()


def test_a_change_is_taken_up_once_and_only_when_the_file_has_come_to_rest(tmp_path: Path) -> None:
    file, clock = tmp_path / "routes.yaml", Clock()
    file.write_text("one")
    watched = Watched([file, tmp_path / "none.yaml"], clock)
    assert not clock.looks(watched)
    file.write_text("two, half writ")
    assert not clock.looks(watched)
    file.write_text("two, half written")
    assert not clock.looks(watched), "it was still being written"
    assert clock.looks(watched)
    assert not clock.looks(watched)


def test_a_change_that_is_taken_back_is_none(tmp_path: Path) -> None:
    file, clock = tmp_path / "routes.yaml", Clock()
    file.write_text("one")
    watched = Watched([file], clock)
    file.write_text("two")
    assert not clock.looks(watched)
    file.write_text("one")
    assert not clock.looks(watched)
    assert not clock.looks(watched)


def test_a_file_that_comes_or_goes_is_a_change(tmp_path: Path) -> None:
    file, clock = tmp_path / "routes.yaml", Clock()
    watched = Watched([file], clock)
    file.write_text("")
    assert [clock.looks(watched), clock.looks(watched)] == [False, True]
    file.unlink()
    assert [clock.looks(watched), clock.looks(watched)] == [False, True]


def test_files_are_not_read_before_it_is_time(tmp_path: Path) -> None:
    file, clock = tmp_path / "routes.yaml", Clock()
    watched = Watched([file], clock)
    file.write_text("one")
    assert not any(watched.changed() for _ in range(10))
    assert [clock.looks(watched), clock.looks(watched)] == [False, True]
