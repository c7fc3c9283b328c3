"""The inference stage on a real broker keeps small pictures of what could alert, and a replay finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import simplejpeg

from inference.pictures import read_head
from runtime.kafka import producer
from runtime.lifecycle import EXIT_CONFIG, EXIT_OK
from runtime.metrics import PICTURES_DROPPED
from runtime.picture_memory import Kept, PictureMemory
from runtime.revisions import publish_revision
from runtime.settings import KafkaSettings, Settings
from schemas.documents.services import PictureMemorySettings
from schemas.effective import CameraRules, RoiRevision
from tests.support.inference_stage import (
    Frames,
    Stage,
    captured_at,
    inference_settings,
    jpeg,
    read_events,
    running_stage,
    write_script,
)

CAMERAS = ("yard_a", "yard_b", "gate")
COUNT = 60
# The script shows an `object` in every frame but each third, five frames a second: the first, and then the first that
# shows one 2 s later.
DUE = [1, 11, 22, 32, 43, 53]


@pytest.fixture
def frames(bootstrap: str, topics: dict[str, str]) -> Frames:
    return Frames(bootstrap, topics["frames"])


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return write_script(tmp_path / "script.jsonl", CAMERAS, COUNT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


def publish(bootstrap: str, prefix: str, camera_id: str, label: str, effective_from: int = 0) -> None:
    document = CameraRules(camera_id, alert_classes=(label,))
    to = producer(KafkaSettings(bootstrap_servers=bootstrap), "test-revisions")
    publish_revision(to, prefix, RoiRevision(camera_id, f"{effective_from:016x}", effective_from, 0, "file", document))


def settings_of(bootstrap: str, prefix: str, script: Path, url: Path | str, **pictures: Any) -> Settings:
    settings = inference_settings(bootstrap, prefix, script, batch_size=4, staleness_seconds=60)
    told = PictureMemorySettings(url=str(url), **pictures)
    return settings.model_copy(update={"services": settings.services.model_copy(update={"picture_memory": told})})


def kept(folder: Path, prefix: str, camera_id: str) -> list[Kept]:
    return PictureMemory(str(folder), prefix).between(camera_id, captured_at(0), captured_at(COUNT))


def run_all(settings: Settings, bootstrap: str, prefix: str, count: int) -> None:
    with running_stage(settings) as stage:
        read_events(bootstrap, prefix, count)
        assert stage.end() == EXIT_OK


def test_one_picture_every_two_seconds_is_kept_of_what_could_alert(
    bootstrap: str, prefix: str, frames: Frames, script: Path, folder: Path
) -> None:
    publish(bootstrap, prefix, "yard_a", "object")
    publish(bootstrap, prefix, "yard_b", "worker")
    publish(bootstrap, prefix, "yard_b", "object", effective_from=captured_at(30))
    for seq in range(COUNT):
        for camera_id in CAMERAS:
            frames.send(camera_id, seq, "live" if camera_id == "yard_a" else "complete", value=jpeg(640, 360, 2 * seq))
    frames.flush()
    run_all(settings_of(bootstrap, prefix, script, folder, width=320), bootstrap, prefix, 3 * COUNT)
    pictures = kept(folder, prefix, "yard_a")
    assert [each.captured_at for each in pictures] == [captured_at(seq) for seq in DUE]
    for each, seq in zip(pictures, DUE, strict=True):
        assert read_head(each.jpeg()) == ("jpeg", 320, 180)
        assert simplejpeg.decode_jpeg(each.jpeg()).mean() == pytest.approx(2 * seq, abs=3), "another frame's picture"
    from_31 = [captured_at(seq) for seq in (31, 41, 52)]
    assert [each.captured_at for each in kept(folder, prefix, "yard_b")] == from_31, "its label could alert from 30 on"
    assert kept(folder, prefix, "gate") == [], "no ROI, no alert that would have been"


def test_labels_may_be_named_and_a_second_start_doubles_nothing(
    bootstrap: str, prefix: str, frames: Frames, script: Path, folder: Path
) -> None:
    settings = settings_of(bootstrap, prefix, script, folder, labels=("object",), every_seconds=4)
    for seq in range(40):
        frames.send("gate", seq)
    frames.flush()
    run_all(settings, bootstrap, prefix, 40)
    assert [each.captured_at for each in kept(folder, prefix, "gate")] == [captured_at(seq) for seq in (1, 22)]
    for seq in range(40):
        frames.send("gate", seq)
    frames.flush()
    run_all(settings, bootstrap, prefix, 80)
    assert [each.captured_at for each in kept(folder, prefix, "gate")] == [captured_at(seq) for seq in (1, 22)]


def test_switched_off_it_touches_no_store(
    bootstrap: str, prefix: str, frames: Frames, script: Path, folder: Path
) -> None:
    for seq in range(10):
        frames.send("gate", seq)
    frames.flush()
    settings = settings_of(bootstrap, prefix, script, folder, labels=("object",), every_seconds=0)
    run_all(settings, bootstrap, prefix, 10)
    assert not folder.exists()


def test_a_store_that_cannot_be_written_stops_no_event(
    bootstrap: str, prefix: str, frames: Frames, script: Path, folder: Path
) -> None:
    folder.write_text("a file where the folder would be")
    for seq in range(COUNT):
        frames.send("gate", seq)
    frames.flush()
    before = PICTURES_DROPPED.labels("failed")._value.get()
    run_all(settings_of(bootstrap, prefix, script, folder, labels=("object",)), bootstrap, prefix, COUNT)
    assert PICTURES_DROPPED.labels("failed")._value.get() - before == len(DUE)


def test_a_store_without_its_driver_is_a_mistake_of_the_configuration(script: Path) -> None:
    assert Stage(settings_of("127.0.0.1:1", "", script, "nowhere://pictures")).wait() == EXIT_CONFIG
