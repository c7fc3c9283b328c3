"""Files as cameras: played without loss, ended, gone on with, and cameras that come and go while ingest runs."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime.kafka import TopicPartition, consumer
from schemas.topics import DAY
from tests.support.broker import settings
from tests.support.clips import write_clip
from tests.support.frames import Ingest, Watching, increasing, write_cameras

pytestmark = [pytest.mark.kafka]
STARTS = (datetime.now(UTC) - timedelta(days=3)).replace(microsecond=0)
START, START_MS = STARTS.isoformat(), round(STARTS.timestamp() * 1000)


def complete(name: str, url: Path, **more: object) -> dict[str, object]:
    return {"id": name, "url": str(url), "realtime": False, "start_at": START, **more}


def test_a_file_is_played_whole_and_the_process_ends(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", seconds=12)
    configs = write_cameras(
        tmp_path / "configs", complete("film", clip, fps_target=5), complete("all", clip, fps_target=10)
    )
    with Ingest(bootstrap, prefix, configs) as ingest:
        assert ingest.ends(40) == 0
    with Watching(bootstrap, topics["frames"]) as seen:
        seen.until(lambda w: len(w.frames) >= 180)
    film = [each.head for each in seen.of("film")]
    assert [head.captured_at for head in film] == [START_MS + 200 * n for n in range(60)]
    assert [head.seq for head in film] == list(range(60))
    assert {head.mode for head in film} == {"complete"}
    assert [each.head.captured_at for each in seen.of("all")] == [START_MS + 100 * n for n in range(120)]
    # Another run under the same prefix has nothing to add: it goes on where the topic ends.
    with Ingest(bootstrap, prefix, configs) as again:
        assert again.ends(40) == 0
    with Watching(bootstrap, topics["frames"]) as seen:
        seen.until(lambda w: len(w.frames) >= 180)
        with pytest.raises(AssertionError):
            seen.until(lambda w: len(w.frames) > 180, 1)


def test_a_file_waits_for_inference_and_goes_on_after_a_kill(
    bootstrap: str, prefix: str, topics: dict[str, str], topic_partitions: int, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", seconds=30, size=(96, 64))
    configs = write_cameras(tmp_path / "configs", complete("film", clip, fps_target=10))
    inference = consumer(settings(bootstrap), f"{prefix}inference", "test-inference")
    inference.subscribe([topics["frames"]])
    try:
        with Watching(bootstrap, topics["frames"]) as seen:
            with Ingest(bootstrap, prefix, configs) as ingest:
                seen.until(lambda w: len(w.frames) >= 200)
                with pytest.raises(AssertionError):
                    seen.until(lambda w: len(w.frames) > 200, 1.5)
                ingest.kill()
            with Ingest(bootstrap, prefix, configs) as ingest:
                while inference.poll(0.2) is None:
                    pass
                place = TopicPartition(topics["frames"], seen.frames[0].partition, 50)
                inference.commit(offsets=[place], asynchronous=False)
                # After the restart the 200 count from the newest known commit: 250 in all at the least, and it is
                # bounded by what was published before the kill, which this process did not send.
                seen.until(lambda w: len(w.frames) >= 250)
                inference.commit(offsets=[TopicPartition(place.topic, place.partition, 300)], asynchronous=False)
                assert ingest.ends(30) == 0
            seen.until(lambda w: len(w.frames) >= 300)
    finally:
        inference.close()
    assert [each.head.captured_at for each in seen.frames] == [START_MS + 100 * n for n in range(300)]
    assert [each.head.seq for each in seen.frames] == list(range(300))


def test_cameras_come_go_and_change_without_a_restart(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", seconds=3)
    gate = {"id": "gate", "url": str(clip), "loop": True}
    yard = {"id": "yard", "url": str(clip), "loop": True, "fps_target": 2}
    configs = write_cameras(tmp_path / "configs", gate)
    with Ingest(bootstrap, prefix, configs) as ingest, Watching(bootstrap, topics["frames"]) as seen:
        seen.until(lambda w: len(w.pictures("gate")) >= 3)
        write_cameras(configs, gate, yard)
        seen.until(lambda w: len(w.pictures("yard")) >= 3)
        write_cameras(configs, {**gate, "width": 64}, yard)
        seen.until(lambda w: w.pictures("gate")[-1].head.width == 64)
        assert [each.head.seq for each in seen.of("yard")] == list(range(len(seen.of("yard")))), "yard was let be"
        write_cameras(configs, {**gate, "fps_target": -1}, yard)
        said = ingest.until_event("cameras_not_changed")
        assert any("cameras[0].fps_target" in problem for problem in said["problems"])
        count = len(seen.pictures("gate"))
        seen.until(lambda w: len(w.pictures("gate")) >= count + 10)
        write_cameras(configs, yard)
        ingest.until_event("cameras_read", cameras=1)
        taken_off = time.time() * 1000
        seen.until(lambda w: w.pictures("yard")[-1].head.captured_at > taken_off + 4000)
        assert seen.of("gate")[-1].head.captured_at < taken_off + 2000
        assert len(ingest.events("cameras_not_changed")) == 1
        assert ingest.stop() == 0
        assert increasing(seen.of("gate"))
        assert increasing(seen.of("yard"))


def test_capture_times_go_on_after_a_restart_even_when_the_last_is_ahead(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", seconds=3)
    configs = write_cameras(tmp_path / "configs", {"id": "gate", "url": str(clip), "loop": True})
    with Watching(bootstrap, topics["frames"]) as seen:
        for _ in range(3):
            with Ingest(bootstrap, prefix, configs) as ingest:
                count = len(seen.pictures("gate"))
                seen.until(lambda w, count=count: len(w.pictures("gate")) >= count + 4)
                ingest.kill()
        seen.until(lambda w: [each.head.seq for each in w.frames].count(0) == 3)
    assert increasing(seen.of("gate"))


def test_a_file_that_ends_sends_no_tick(bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", seconds=2)
    configs = write_cameras(tmp_path / "configs", {"id": "gate", "url": str(clip)})
    with Ingest(bootstrap, prefix, configs) as ingest, Watching(bootstrap, topics["frames"]) as seen:
        assert ingest.ends(30) == 0
        seen.until(lambda w: len(w.frames) >= 10)
        assert seen.summary() == {"gate": (10, 0)}
        assert seen.frames[-1].head.captured_at - seen.frames[0].head.captured_at == pytest.approx(1800, abs=60)


def test_what_cannot_be_played_ends_with_the_code_for_a_wrong_document(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    old = {"id": "old", "url": "clip.mp4", "realtime": False, "start_at": "2020-01-01T00:00:00Z"}
    configs = write_cameras(tmp_path / "configs", old)
    with Ingest(bootstrap, prefix, configs) as ingest:
        assert ingest.ends() == 2
        assert f"older than the {30 * DAY // DAY} days detections are kept" in ingest.log()
    write_cameras(configs, complete("film", tmp_path / "absent.mp4"))
    with Ingest(bootstrap, prefix, configs) as ingest:
        assert ingest.ends() == 2
        assert "there is no such file" in ingest.until_event("file_cannot_be_played", camera="film")["reason"]


def test_missing_topics_are_named(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    configs = write_cameras(tmp_path / "configs", {"id": "gate", "url": "clip.mp4"})
    with Ingest(bootstrap, prefix, configs) as ingest:
        assert ingest.ends() == 3
        assert f"the topic {prefix}frames does not exist; `backsight topics apply` creates it" in ingest.log()
