"""`cameras.yaml` followed while ingest runs."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest import roster as roster_module
from ingest.roster import Roster
from schemas.problems import BadDocument
from tests.support.frames import write_cameras


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_module, "LOOK_SECONDS", 0.0)


def test_added_changed_and_removed_cameras_are_seen(tmp_path: Path) -> None:
    roster = Roster(write_cameras(tmp_path, {"id": "a", "url": "rtsp://u:${SECRET}@h/a"}), {"SECRET": "x"})
    assert not roster.look()
    write_cameras(tmp_path, {"id": "a", "url": "rtsp://u:${SECRET}@h/a"}, {"id": "b", "url": "rtsp://h/b"})
    assert roster.look()
    assert set(roster.cameras) == {"a", "b"}
    write_cameras(tmp_path, {"id": "a", "url": "rtsp://h/other"}, {"id": "b", "url": "rtsp://h/b", "enabled": False})
    assert roster.look()
    assert {name: each.url for name, each in roster.cameras.items()} == {"a": "rtsp://h/other"}


def test_a_file_that_does_not_check_changes_nothing_and_is_said_once(tmp_path: Path) -> None:
    roster = Roster(write_cameras(tmp_path, {"id": "a", "url": "rtsp://h/a"}), {})
    write_cameras(tmp_path, {"id": "a", "url": "rtsp://admin:hunter2@h/a", "fps_target": 0}, {"id": "b"})
    with capture_logs() as logs:
        assert [roster.look() for _ in range(3)] == [False] * 3
    (said,) = logs
    assert {problem.split(":")[1].strip() for problem in said["problems"]} == {
        "cameras[0].fps_target",
        "cameras[1].url",
    }
    assert "hunter2" not in str(logs)
    assert roster.cameras["a"].url == "rtsp://h/a"
    (tmp_path / "cameras.yaml").unlink()
    assert not roster.look()
    write_cameras(tmp_path, {"id": "c", "url": "rtsp://h/c"})
    assert roster.look()


def test_a_comment_changes_nothing(tmp_path: Path) -> None:
    roster = Roster(write_cameras(tmp_path, {"id": "a", "url": "rtsp://h/a"}), {})
    file = tmp_path / "cameras.yaml"
    file.write_text("# mine\n" + file.read_text())
    assert not roster.look()


def test_the_first_reading_must_check(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match="is missing"):
        Roster(tmp_path, {})
