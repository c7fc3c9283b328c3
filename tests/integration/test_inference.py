"""The inference stage on a real broker, with the scripted detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference.detectors.contract import DeviceLost
from inference.detectors.scripted import ScriptedDetector
from inference.stage import TopicsMissing, check_topics
from runtime.kafka import TIMESTAMP_CREATE_TIME
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_DEVICE, EXIT_FAULT, EXIT_OK
from schemas.frames import frame_headers
from schemas.messages import Detection
from schemas.topics import DEAD_LETTERS
from tests.support.broker import committed_offsets, read_all
from tests.support.inference_stage import (
    Frames,
    Stage,
    await_all,
    box_of,
    captured_at,
    head,
    inference_settings,
    read_events,
    running_stage,
    write_script,
)

CAMERAS = ("yard_a", "yard_b", "gate")


@pytest.fixture
def frames(bootstrap: str, topics: dict[str, str]) -> Frames:
    return Frames(bootstrap, topics["frames"])


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return write_script(tmp_path / "script.jsonl", CAMERAS, 60)


def test_every_frame_gets_one_event_in_order_at_its_own_partition(
    bootstrap: str, prefix: str, topics: dict[str, str], frames: Frames, script: Path
) -> None:
    for seq in range(40):
        for camera_id in CAMERAS:
            frames.send(camera_id, seq, "complete" if camera_id == "gate" else "live")
    frames.flush()
    with running_stage(inference_settings(bootstrap, prefix, script, batch_size=4, staleness_seconds=60)) as stage:
        events = read_events(bootstrap, prefix, 3 * 40)
        assert stage.end() == EXIT_OK

    sent = {(each.partition(), each.offset()): each for each in read_all(bootstrap, topics["frames"])}
    assert [(record.partition(), event.frame.offset) for record, event in events] == sorted(sent)
    for record, event in events:
        frame = sent[event.frame.partition, event.frame.offset]
        assert (event.frame.topic, event.frame.partition) == (topics["frames"], record.partition())
        assert (event.camera_id.encode(), record.key()) == (frame.key(), frame.key())
        assert record.timestamp() == (TIMESTAMP_CREATE_TIME, event.captured_at)
        assert (event.width, event.height, event.floor, event.skipped) == (1280, 960, 0.1, None)
        assert event.model.name == "script"
        headers = dict(record.headers())
        assert headers["produced_at"] == dict(frame.headers())["produced_at"]
        assert int(headers["inferred_at"]) >= int(headers["produced_at"])
        seen = (Detection("object", 0.9, box_of(event.seq)),) if event.seq % 3 else ()
        assert event.detections == seen


def test_all_that_was_sent_is_committed_after_a_stop(
    bootstrap: str, prefix: str, topics: dict[str, str], frames: Frames, script: Path
) -> None:
    for seq in range(20):
        frames.send("yard_a", seq)
    frames.flush()
    settings = inference_settings(bootstrap, prefix, script)
    with running_stage(settings) as stage:
        read_events(bootstrap, prefix, 20)
        assert stage.end() == EXIT_OK
    offsets = committed_offsets(bootstrap, f"{prefix}inference", topics["frames"])
    assert sum(offsets.values()) == 20
    for seq in range(20, 30):
        frames.send("yard_a", seq)
    frames.flush()
    with running_stage(settings) as stage:
        events = read_events(bootstrap, prefix, 30)
        assert stage.end() == EXIT_OK
    assert [event.seq for _, event in events] == list(range(30))


def test_ticks_and_stale_frames_are_skipped_and_keep_their_place(
    bootstrap: str, prefix: str, frames: Frames, script: Path
) -> None:
    frames.send("yard_a", 0, "live")
    frames.send("yard_a", 1, "live", produced_at=captured_at(1))
    frames.send("yard_a", 2, "live", value=b"", width=0, height=0, source_width=0, source_height=0)
    frames.send("yard_a", 3, "complete", produced_at=captured_at(3))
    frames.send("yard_a", 4, "live")
    frames.flush()
    settings = inference_settings(bootstrap, prefix, script, batch_wait_ms=200, staleness_seconds=60)
    with running_stage(settings):
        events = [event for _, event in read_events(bootstrap, prefix, 5)]
    assert [event.skipped for event in events] == [None, "stale", "offline", None, None]
    assert [event.captured_at for event in events] == [captured_at(seq) for seq in range(5)]
    assert [len(event.detections) for event in events] == [0, 0, 0, 0, 1]
    assert (events[2].width, events[2].height) == (0, 0)


def test_what_cannot_be_looked_at_is_kept_with_its_reason_and_the_rest_goes_on(
    bootstrap: str, prefix: str, topics: dict[str, str], frames: Frames, script: Path
) -> None:
    frames.send("yard_a", 0)
    frames.send("yard_a", 1, value=b"\xff\xd8\xff\xe0 not a picture")
    frames.send("yard_a", 2, headers=[("schema", b"frame/9")])
    frames.send("not a camera", 3, partition=0)
    frames.send("yard_a", 4, headers=frame_headers(head(4))[:-1])
    frames.send("yard_a", 5, captured_at=captured_at(5) * 2)
    frames.send("yard_a", 7)
    frames.flush()
    with running_stage(inference_settings(bootstrap, prefix, script)) as stage:
        events = [event for _, event in read_events(bootstrap, prefix, 3)]
        assert stage.end() == EXIT_OK
    assert [(event.seq, event.skipped) for event in events] == [(0, None), (1, "undecodable"), (7, None)]
    letters = read_all(bootstrap, DEAD_LETTERS.full_name(prefix))
    reasons = sorted((dict(each.headers())["reason"], each.key()) for each in letters)
    assert reasons == [
        (b"bad_header", b"yard_a"),
        (b"bad_header", b"yard_a"),
        (b"bad_header", b"yard_a"),
        (b"bad_key", b"not a camera"),
        (b"unknown_schema", b"yard_a"),
    ]
    assert sorted(each.value() for each in letters)[-1] == b"\xff\xd8\xff\xe0 not a picture"


def test_a_topic_full_of_bad_frames_stops_the_stage(
    bootstrap: str, prefix: str, topics: dict[str, str], frames: Frames, script: Path
) -> None:
    for seq in range(150):
        frames.send("yard_a", seq, value=b"GIF89a")
    frames.flush()
    assert Stage(inference_settings(bootstrap, prefix, script)).wait() == EXIT_FAULT
    assert len(read_all(bootstrap, DEAD_LETTERS.full_name(prefix))) == 100


@pytest.mark.slow
def test_two_stages_share_the_cameras_and_lose_nothing_when_one_leaves(
    bootstrap: str, prefix: str, topics: dict[str, str], frames: Frames, tmp_path: Path
) -> None:
    cameras = [f"camera_{number}" for number in range(9)]
    script = write_script(tmp_path / "script.jsonl", cameras, 80, seconds=0.001)
    settings = inference_settings(bootstrap, prefix, script)
    with running_stage(settings) as stays, running_stage(settings) as leaves:
        for seq in range(80):
            for camera_id in cameras:
                frames.send(camera_id, seq)
            if seq % 20 == 0:
                frames.flush()
                read_events(bootstrap, prefix, 9 * max(0, seq - 20))
            if seq == 40:
                assert leaves.end() == EXIT_OK
        frames.flush()
        events = read_events(bootstrap, prefix, 9 * 80)
        assert stays.end() == EXIT_OK
    found = [(event.frame.partition, event.frame.offset) for _, event in events]
    sent = [(each.partition(), each.offset()) for each in read_all(bootstrap, topics["frames"])]
    assert sorted(set(found)) == sent
    assert len(found) == len(sent), "a stage that is stopped or gives partitions up doubles nothing"


def test_a_lost_device_ends_the_stage_and_its_batch_is_not_committed(
    bootstrap: str,
    prefix: str,
    topics: dict[str, str],
    frames: Frames,
    script: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for seq in range(20):
        frames.send("yard_a", seq)
    frames.flush()
    detect = ScriptedDetector.detect

    def breaks(self: ScriptedDetector, pictures: Any, names: Any = None) -> Any:
        if names[0].captured_at == captured_at(12):
            raise DeviceLost("cuda:0: CUDA failure 700: an illegal memory access was encountered")
        return detect(self, pictures, names)

    settings = inference_settings(bootstrap, prefix, script)
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedDetector, "detect", breaks)
        assert Stage(settings).wait() == EXIT_DEVICE
    offsets = committed_offsets(bootstrap, f"{prefix}inference", topics["frames"])
    assert sum(offsets.values()) <= 12
    with running_stage(settings):
        events = await_all(bootstrap, prefix, 20)
    assert {event.seq for _, event in events} == set(range(20))
    assert {event.skipped for _, event in events} == {None}


def test_without_its_topics_the_stage_says_so(bootstrap: str, script: Path) -> None:
    assert Stage(inference_settings(bootstrap, "nobody.", script)).wait() == EXIT_BROKER


def test_topics_of_unequal_partition_counts_are_refused(
    bootstrap: str, prefix: str, topics: dict[str, str], script: Path
) -> None:
    # roi-revisions has one partition, frames 3.
    with pytest.raises(TopicsMissing, match=r"3 partitions .* 1$"):
        check_topics(inference_settings(bootstrap, prefix, script), topics["frames"], topics["roi-revisions"])


def test_a_model_that_is_not_there_is_a_mistake_of_the_configuration(bootstrap: str, tmp_path: Path) -> None:
    assert Stage(inference_settings(bootstrap, "", tmp_path / "none.onnx")).wait() == EXIT_CONFIG
