"""Cameras over a real RTSP server to a real Kafka."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from schemas.partitioning import partition_of
from tests.support.clips import write_clip
from tests.support.frames import Ingest, Watching, increasing, write_cameras
from tests.support.rtsp_server import RtspServer, need_rtsp

pytestmark = [pytest.mark.rtsp, pytest.mark.kafka]
PASSWORD = "s3cr@t/word:9"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RtspServer]:
    need_rtsp()
    clip = write_clip(tmp_path / "clip.mp4")
    with RtspServer({"gate": clip, "yard": clip}, user="admin", password=PASSWORD) as running:
        yield running


def test_frames_arrive_as_promised(
    server: RtspServer, bootstrap: str, prefix: str, topics: dict[str, str], topic_partitions: int, tmp_path: Path
) -> None:
    configs = write_cameras(
        tmp_path / "configs",
        {"id": "gate", "url": server.url("gate"), "fps_target": 5},
        {"id": "yard", "url": server.url("yard"), "fps_target": 2, "width": 160},
    )
    with Ingest(bootstrap, prefix, configs) as ingest, Watching(bootstrap, topics["frames"]) as seen:
        # Longer than the clip of 4 s, so that its beginning again is seen too.
        seen.until(lambda w: len(w.pictures("gate")) >= 30 and len(w.pictures("yard")) >= 10)
        assert ingest.stop() == 0
    for camera_id, size, rate in (("gate", (320, 180), 5), ("yard", (160, 90), 2)):
        frames = seen.pictures(camera_id)
        assert increasing(seen.of(camera_id))
        assert {each.partition for each in frames} == {partition_of(camera_id, topic_partitions)}
        heads = [each.head for each in frames]
        assert {(head.width, head.height) for head in heads} == {size}
        assert {(head.source_width, head.source_height, head.mode) for head in heads} == {(320, 180, "live")}
        assert [head.seq for head in heads] == list(range(heads[0].seq, heads[0].seq + len(heads)))
        assert all(0 <= head.produced_at - head.captured_at < 2500 for head in heads)
        assert all(each.timestamp == each.head.produced_at for each in frames)
        span = heads[-1].captured_at - heads[0].captured_at
        assert span == pytest.approx((len(heads) - 1) * 1000 / rate, rel=0.1)
        picture = cv2.imdecode(np.frombuffer(frames[-1].value, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape[:2] == size[::-1]
    assert seen.summary()["gate"][1] <= 2  # at most while it connected
    assert PASSWORD not in ingest.log()
    assert "s3cr" not in ingest.log()


def test_a_wrong_password_is_said_clearly_and_never_shown(
    server: RtspServer, bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    wrong = server.url("gate").replace("s3cr%40t", "wr0ng%40w")
    configs = write_cameras(
        tmp_path / "configs",
        {"id": "gate", "url": wrong},
        {"id": "yard", "url": server.url("yard")},
        {"id": "nowhere", "url": server.url("no-such-stream")},
        {"id": "off", "url": "rtsp://u:wr0ng@127.0.0.1:1/x"},
    )
    with Ingest(bootstrap, prefix, configs) as ingest, Watching(bootstrap, topics["frames"]) as seen:
        said = ingest.until_event("camera_away", camera="gate")
        assert (said["reason"], "refused the user or password" in said["message"]) == ("refused", True)
        assert "no such stream" in ingest.until_event("camera_away", camera="nowhere")["message"]
        assert "connection refused" in ingest.until_event("camera_away", camera="off")["message"]
        seen.until(lambda w: len(w.ticks("gate")) >= 3 and len(w.pictures("yard")) >= 5)
        assert not seen.pictures("gate")
        assert len(ingest.events("camera_away")) == 3, "once each, however often they were tried"
        assert "wr0ng" not in ingest.log()
        assert "admin" not in ingest.log()


def test_a_camera_that_goes_away_ticks_and_comes_back(
    server: RtspServer, bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    configs = write_cameras(tmp_path / "configs", {"id": "gate", "url": server.url("gate"), "no_frame_seconds": 2})
    with Ingest(bootstrap, prefix, configs) as ingest, Watching(bootstrap, topics["frames"]) as seen:
        seen.until(lambda w: len(w.pictures("gate")) >= 5)
        server.kill()
        before = len(seen.ticks("gate"))
        seen.until(lambda w: len(w.ticks("gate")) >= before + 3)
        heads = [each.head for each in seen.ticks("gate")[before:]]
        assert all((head.width, head.height, head.source_width, head.source_height) == (0, 0, 0, 0) for head in heads)
        gaps = [after.captured_at - before.captured_at for before, after in itertools.pairwise(heads)]
        assert gaps[:2] == pytest.approx([1000, 1000], abs=300)
        server.restart_on_same_port()
        count = len(seen.pictures("gate"))
        seen.until(lambda w: len(w.pictures("gate")) >= count + 5)
        # Half open: the connection stands and nothing comes.
        server.freeze()
        began, before = time.monotonic(), len(seen.ticks("gate"))
        seen.until(lambda w: len(w.ticks("gate")) > before)
        assert time.monotonic() - began < 2 + 3
        server.thaw()
        count = len(seen.pictures("gate"))
        seen.until(lambda w: len(w.pictures("gate")) >= count + 5)
        assert increasing(seen.of("gate"))
        assert ingest.stop() == 0


def test_two_processes_share_the_cameras_and_a_dead_ones_move(
    server: RtspServer, bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    names = [f"cam_{number}" for number in range(6)]
    configs = write_cameras(
        tmp_path / "configs", *({"id": name, "url": server.url("gate"), "fps_target": 2} for name in names)
    )
    with (
        Ingest(bootstrap, prefix, configs) as first,
        Ingest(bootstrap, prefix, configs) as second,
        Watching(bootstrap, topics["frames"]) as seen,
    ):
        first.until_event("leases_given")
        second.until_event("leases_given")
        seen.until(lambda w: all(len(w.pictures(name)) >= 3 for name in names))
        deadline = time.monotonic() + 20
        while not (first.events("camera_watching") and second.events("camera_watching")):
            assert time.monotonic() < deadline, "both get a share"
            time.sleep(0.1)
        # Sequence numbers count from where a camera was begun: two readers at once would interleave two counts.
        seen.until(lambda w: all(len(w.pictures(name)) >= 10 for name in names))
        first.kill()
        died = time.time() * 1000
        seen.until(lambda w: all(_watched_since(w, name, died + 1000) for name in names), 15)
        assert second.stop() == 0
    for name in names:
        assert increasing(seen.of(name)), name
        counts = [each.head.seq for each in seen.of(name)]
        # In the first, perhaps in the second after it joined, and after the kill.
        assert counts.count(0) <= 3, counts
        assert all(after > before or after == 0 for before, after in itertools.pairwise(counts)), (
            f"{name} was read twice at once: {counts}"
        )


def _watched_since(seen: Watching, camera_id: str, instant: float) -> bool:
    newest = seen.of(camera_id)[-1]
    return not newest.is_tick and newest.head.captured_at > instant
