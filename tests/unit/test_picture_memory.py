"""Small pictures: which are due, how they are kept and found, and that a store in trouble stops nobody."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import numpy as np
import pytest
import simplejpeg
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

from inference.keeping import MOST_WAITING, Keeper, Waiting, small
from inference.pictures import read_head
from inference.remembering import Due
from runtime.configs import Checked
from runtime.metrics import PICTURES_DROPPED, PICTURES_KEPT
from runtime.picture_memory import PictureMemory, folders_of, name_of
from runtime.pipeline.run import UpOptions, _own_stores
from runtime.settings import load_settings
from runtime.store import BadStore, StoreTrouble
from schemas.documents.rois import Rois
from schemas.problems import BadDocument
from schemas.topics import DAY, HOUR

AT = 1_795_474_799_000  # 2026-11-23T22:59:59Z


@pytest.fixture(params=["folder", "object store"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "pictures")
        return
    name = f"memory://{uuid4().hex}"
    yield name
    store, root = fsspec.url_to_fs(name)
    if store.exists(root):
        store.rm(root, recursive=True)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# Kept and found


def test_a_picture_is_named_by_camera_and_time_in_utc() -> None:
    assert name_of("yard_gate", AT) == "yard_gate/2026-11-23/22/1795474799000.jpg"
    assert name_of("yard_gate", AT + 1000) == "yard_gate/2026-11-23/23/1795474800000.jpg"


def test_the_nearest_picture_is_found_and_of_two_as_near_the_earlier(url: str) -> None:
    memory = PictureMemory(url)
    for at in (AT, AT + 2000, AT + 4000):
        memory.keep("gate", at, str(at).encode())
    assert memory.find("gate", AT + 1999, 5000) == memory.find("gate", AT + 2400, 5000)
    near = memory.find("gate", AT + 3000, 5000)
    assert near is not None
    assert (near.camera_id, near.captured_at, near.jpeg()) == ("gate", AT + 2000, str(AT + 2000).encode())


def test_no_picture_is_better_than_one_from_another_time_or_camera_or_run(url: str) -> None:
    memory = PictureMemory(url)
    assert memory.find("gate", AT, 5000) is None, "the store need not be there"
    memory.keep("gate", AT, b"live")
    PictureMemory(url, "try.").keep("gate", AT + 100, b"tried")
    assert memory.find("gate", AT + 5001, 5000) is None
    assert memory.find("dock", AT, 5000) is None
    assert [kept.jpeg() for kept in memory.between("gate", AT, AT + 5000)] == [b"live"]
    assert [kept.jpeg() for kept in PictureMemory(url, "try.").between("gate", AT, AT + 5000)] == [b"tried"]


@given(
    kept=st.sets(st.integers(0, 3 * HOUR), max_size=12),
    at=st.integers(-HOUR, 4 * HOUR),
    within=st.integers(0, 2 * HOUR),
)
def test_finding_looks_into_every_folder_that_it_must(kept: set[int], at: int, within: int) -> None:
    start = AT - AT % DAY + 22 * HOUR  # the next day begins among them
    memory = PictureMemory(f"memory://{uuid4().hex}")
    for each in kept:
        memory.keep("gate", start + each, b"")
    found = memory.find("gate", start + at, within)
    near = sorted((abs(each - at), each) for each in kept if abs(each - at) <= within)
    assert (None if found is None else found.captured_at - start) == (near[0][1] if near else None)


def test_finding_lists_one_or_two_folders_only() -> None:
    assert folders_of("gate", AT - 5000, AT) == ["gate/2026-11-23/22"]
    assert folders_of("gate", AT - 5000, AT + 5000) == ["gate/2026-11-23/22", "gate/2026-11-23/23"]


def test_a_picture_that_is_kept_again_is_kept_once(url: str) -> None:
    memory = PictureMemory(url)
    for _ in range(2):
        memory.keep("gate", AT, b"the same")
    assert [kept.jpeg() for kept in memory.between("gate", AT - HOUR, AT + HOUR)] == [b"the same"]


def test_a_disk_that_fills_leaves_no_broken_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_store: LocalFileSystem, path: str, value: bytes, **_: Any) -> None:
        Path(path).write_bytes(value[:3])
        raise OSError(28, "No space left on device")

    memory = PictureMemory(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "pipe_file", full)
        with pytest.raises(StoreTrouble, match=r"could not keep a picture: OSError: .*No space left"):
            memory.keep("gate", AT, b"a picture")
    assert names(tmp_path) == []
    memory.keep("gate", AT, b"a picture")
    assert names(tmp_path) == [name_of("gate", AT)]


def test_what_a_crash_left_half_written_is_never_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    memory = PictureMemory(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "mv", killed)
        with pytest.raises(KeyboardInterrupt):
            memory.keep("gate", AT, b"a picture")
    assert len(names(tmp_path)) == 1, "its beginning lies there"
    assert memory.find("gate", AT, 5000) is None
    assert memory.forget(AT + 2 * DAY) == 1
    assert names(tmp_path) == []


# Forgotten


def test_days_that_have_ended_before_are_forgotten_for_every_camera_and_run(url: str) -> None:
    old, young = AT - 31 * DAY, AT - 30 * DAY
    for prefix in ("", "run-1."):
        for camera_id in ("gate", "dock"):
            for at in (old, young):
                PictureMemory(url, prefix).keep(camera_id, at, b"")
    midnight = young - young % DAY
    assert PictureMemory(url).forget(midnight - 1) == 0
    assert PictureMemory(url, "other.").forget(midnight) == 4
    for prefix in ("", "run-1."):
        for camera_id in ("gate", "dock"):
            left = PictureMemory(url, prefix).between(camera_id, old, young)
            assert [kept.captured_at for kept in left] == [young]


def test_forgetting_touches_nothing_that_is_no_picture_of_ours(tmp_path: Path) -> None:
    memory = PictureMemory(str(tmp_path))
    memory.keep("holidays", AT, b"")
    theirs = [
        "holidays/2026-11-23/beach.jpg",
        "holidays/2026-11-23/1795474799000.jpg",
        "holidays/2026-11-23/21/1795474799000.jpg",
        "holidays/2026-99-99/22/1795474799000.jpg",
        "holidays/1795474799000.jpg",
        "1795474799000.jpg",
    ]
    for name in theirs:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"dear to somebody")
    assert memory.forget(AT + 2 * DAY) == 1
    assert names(tmp_path) == sorted(theirs)


# Bad stores


def test_a_store_without_its_driver_is_said_at_once_and_without_credentials() -> None:
    with pytest.raises(BadStore, match=r"foo://.*Protocol not known") as unknown:
        PictureMemory("foo://u:s3cretX@host/pictures")
    assert "s3cretX" not in str(unknown.value)


def test_a_store_that_cannot_be_reached_is_said_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(url: str) -> None:
        raise ConnectionRefusedError(f"could not connect to {url}")

    monkeypatch.setattr("runtime.store.fsspec.url_to_fs", refused)
    memory = PictureMemory("ftp://u:s3cretX@host/pictures")
    for ask in (lambda: memory.find("gate", AT, 1), lambda: memory.keep("gate", AT, b""), lambda: memory.forget(AT)):
        with pytest.raises(StoreTrouble, match=r"ftp://\*\*\*@host/pictures could not") as trouble:
            ask()
        assert "s3cretX" not in str(trouble.value)


def test_a_store_that_is_a_file_is_trouble_and_not_emptiness(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("a file")
    memory = PictureMemory(str(tmp_path / "pictures"))
    with pytest.raises(StoreTrouble, match="NotADirectoryError"):
        memory.find("gate", AT, 5000)


# Due

frames = st.lists(st.tuples(st.integers(1, 5000), st.sets(st.sampled_from("ab"))), max_size=60)


@given(frames)
def test_each_label_in_sight_is_on_a_picture_at_least_every_interval(steps: list[tuple[int, set[str]]]) -> None:
    due, at = Due(2000), 0
    newest: dict[str, int] = {}
    for step, in_sight in steps:
        at += step
        before = dict(newest)
        if due.look("gate", at, in_sight):
            assert any(at - before.get(label, -2000) >= 2000 for label in in_sight), "kept without need"
            newest |= dict.fromkeys(in_sight, at)
        assert all(at - newest.get(label, -2000) < 2000 for label in in_sight)


@given(frames)
def test_another_camera_changes_nothing(steps: list[tuple[int, set[str]]]) -> None:
    alone, beside, at = Due(2000), Due(2000), 0
    for step, in_sight in steps:
        at += step
        beside.look("dock", at + 700, {"a", "b"})
        assert alone.look("gate", at, in_sight) == beside.look("gate", at, in_sight)


def test_nothing_in_sight_keeps_nothing_and_a_new_label_is_kept_at_once() -> None:
    due = Due(2000)
    seen = [set(), {"a"}, {"a"}, {"a", "b"}, {"a", "b"}, {"b"}]
    kept = [due.look("gate", 200 * number, in_sight) for number, in_sight in enumerate(seen)]
    assert kept == [False, True, False, True, False, False]


def test_a_stretch_that_is_judged_again_is_kept_again() -> None:
    due = Due(2000)
    first = [at for at in range(0, 10_000, 200) if due.look("gate", at, {"a"})]
    assert [at for at in range(0, 10_000, 200) if due.look("gate", at, {"a"})] == first


# The keeper


def picture(width: int, height: int) -> bytes:
    shades = np.linspace(0, 255, width * height * 3, dtype=np.uint8).reshape(height, width, 3)
    content: bytes = simplejpeg.encode_jpeg(shades, quality=85)
    return content


@pytest.mark.parametrize(
    ("size", "kept"),
    [((1280, 720), (640, 360)), ((1920, 1080), (640, 360)), ((1000, 500), (640, 320)), ((720, 1280), (640, 1138))],
)
def test_a_kept_picture_has_the_width_asked_for(size: tuple[int, int], kept: tuple[int, int]) -> None:
    assert read_head(small(picture(*size), 640, 75)) == ("jpeg", *kept)


@pytest.mark.parametrize("width", [640, 320])
def test_a_picture_is_never_made_larger_and_stays_itself(width: int) -> None:
    frame = picture(width, 200)
    assert small(frame, 640, 75) == frame


def keeper_of(memory: PictureMemory, now: int = AT) -> Keeper:
    return Keeper(memory, width=640, quality=75, retention_ms=30 * DAY, clock=lambda: now)


def dropped(reason: str) -> float:
    return float(PICTURES_DROPPED.labels(reason)._value.get())


def test_a_store_that_hangs_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, writing = threading.Event(), threading.Event()
    keep = PictureMemory.keep

    def hangs(self: PictureMemory, *arguments: Any) -> None:
        writing.set()
        assert goes_on.wait(20)
        keep(self, *arguments)

    monkeypatch.setattr(PictureMemory, "keep", hangs)
    memory = PictureMemory(str(tmp_path))
    keeper, before = keeper_of(memory), dropped("slow")
    keeper.start()
    keeper.offer(Waiting("gate", AT, picture(64, 48)))
    assert writing.wait(20)
    for number in range(1, MOST_WAITING + 11):
        keeper.offer(Waiting("gate", AT + number, picture(64, 48)))
    assert dropped("slow") - before == 10
    goes_on.set()
    keeper.close(20)
    assert len(memory.between("gate", AT, AT + HOUR)) == MOST_WAITING + 1


def test_what_the_store_refuses_is_counted_and_the_next_picture_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = PictureMemory.keep

    def refuses(self: PictureMemory, camera_id: str, captured_at: int, jpeg: bytes) -> None:
        if captured_at == AT:
            raise StoreTrouble("the disk is full")
        keep(self, camera_id, captured_at, jpeg)

    monkeypatch.setattr(PictureMemory, "keep", refuses)
    memory = PictureMemory(str(tmp_path))
    keeper, failed, kept = keeper_of(memory), dropped("failed"), PICTURES_KEPT._value.get()
    keeper.start()
    for at, content in ((AT, picture(64, 48)), (AT + 1, b"no picture"), (AT + 2, picture(64, 48))):
        keeper.offer(Waiting("gate", at, content))
    keeper.close(20)
    assert [each.captured_at for each in memory.between("gate", AT, AT + HOUR)] == [AT + 2]
    assert dropped("failed") - failed == 2
    assert PICTURES_KEPT._value.get() - kept == 1


def test_the_keeper_forgets_what_is_older_than_the_detections(tmp_path: Path) -> None:
    memory = PictureMemory(str(tmp_path))
    for at in (AT - 32 * DAY, AT - 29 * DAY):
        memory.keep("gate", at, b"")
    keeper = keeper_of(memory)
    keeper.start()
    keeper.close(20)
    assert [each.captured_at for each in memory.between("gate", AT - 33 * DAY, AT)] == [AT - 29 * DAY]


# Settings


def test_the_environment_says_where_pictures_lie_and_nothing_shows_it(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {"PICTURE_MEMORY_URL": "sftp://u:s3cretX@host/pictures"})
    assert settings.services.picture_memory.url == "sftp://u:s3cretX@host/pictures"
    assert "s3cretX" not in repr(settings)


def test_wrong_settings_of_the_picture_memory_are_named(tmp_path: Path) -> None:
    (tmp_path / "services.yaml").write_text("picture_memory: {url: '', every_seconds: -1, labels: []}\n")
    with pytest.raises(BadDocument) as bad:
        load_settings(tmp_path, {})
    assert [place for place, _ in bad.value.problems] == [
        f"services.yaml: picture_memory.{key}" for key in ("url", "every_seconds", "labels")
    ]


@pytest.mark.parametrize(("environ", "own"), [({}, True), ({"PICTURE_MEMORY_URL": "s3://bucket"}, False)])
def test_up_keeps_pictures_beside_its_other_data_unless_told_where(
    tmp_path: Path, environ: dict[str, str], own: bool
) -> None:
    checked = Checked([], [], (), Rois(), load_settings(tmp_path, environ))
    options = UpOptions(configs=tmp_path, data=tmp_path / "data", checked=checked, environ=environ, sinks=lambda: ())
    expected = str(tmp_path / "data" / "pictures") if own else None
    assert _own_stores(options).get("PICTURE_MEMORY_URL") == expected
