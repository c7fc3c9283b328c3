"""What ingest tells of its cameras on `camera-status`: real processes, a real broker, and none at all."""

import time
from pathlib import Path

import pytest

from ingest.statuses import Statuses
from runtime.broker import ports
from runtime.topic_reader import TopicReader
from schemas.codec import decode
from schemas.messages import CameraStatus
from tests.support.broker import settings
from tests.support.clips import write_clip
from tests.support.frames import Ingest, write_cameras

pytestmark = [pytest.mark.kafka]


class Said:
    """What the topic says, in order."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._reader = TopicReader(settings(bootstrap), topic, "test-statuses")
        self.all: list[CameraStatus] = []

    def until(self, camera: str, *states: str) -> list[CameraStatus]:
        deadline = time.monotonic() + 40
        while True:
            for record in self._reader.new():
                assert record.key() == decode(CameraStatus, record.value(), record.headers()).camera_id.encode()
                self.all.append(decode(CameraStatus, record.value()))
            found = [each for each in self.all if each.camera_id == camera]
            if [each.state for each in found] == list(states):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.05)


def test_every_change_is_told_and_another_process_that_takes_a_camera_over_tells_anew(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "still.mp4", moving=False)
    still = {"id": "gate", "url": str(clip), "loop": True, "frozen_seconds": 2}
    gone = {"id": "gone", "url": f"rtsp://127.0.0.1:{ports.pick_free()}/x"}
    configs = write_cameras(tmp_path / "configs", still, gone)
    said = Said(bootstrap, topics["camera-status"])
    try:
        with Ingest(bootstrap, prefix, configs) as first:
            found = said.until("gate", "offline", "live", "frozen")
            said.until("gone", "offline")
            assert first.stop() == 0
        assert found[1].since <= found[2].since + 1000 < found[2].reported_at, "frozen since its first picture"
        with Ingest(bootstrap, prefix, configs):
            said.until("gate", "offline", "live", "frozen", "offline", "live", "frozen")
    finally:
        said._reader.close()


def test_without_a_broker_telling_waits_for_nothing_and_the_newest_is_told_when_it_is_there(
    bootstrap: str, topics: dict[str, str]
) -> None:
    nowhere = Statuses(settings(f"127.0.0.1:{ports.pick_free()}"), topics["camera-status"])
    began = time.monotonic()
    for number in range(20_000):
        nowhere.tell(f"camera-{number % 100}", "live" if number // 100 % 2 else "offline", number)
    assert time.monotonic() - began < 2
    nowhere.close(0.1)
    assert time.monotonic() - began < 4

    said = Said(bootstrap, topics["camera-status"])
    there = Statuses(settings(bootstrap), topics["camera-status"])
    try:
        there.tell("yard", "live", 1_700_000_000_000)
        there.tell("yard", "live", 1_700_000_009_000)
        assert said.until("yard", "live")[0].since == 1_700_000_000_000
        there.tell("yard", "frozen", 1_700_000_060_000)
        said.until("yard", "live", "frozen")
        there.forget("yard")
        there.tell("dock", "offline", 1_700_000_000_000)
        there.tell("dock", "live", 1_700_000_000_001)
        assert len(said.until("dock", "offline", "live")) == 2, "a change that lasted a millisecond is one"
    finally:
        there.close(5)
        said._reader.close()
