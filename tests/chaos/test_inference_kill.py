"""`kill -9` in the middle of a complete run: every frame keeps exactly one event after identity, and somebody looks at
it soon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.kafka import Message
from schemas.messages import DetectionEvent
from tests.support.broker import read_all
from tests.support.inference_stage import Frames, await_all, read_events, write_script
from tests.support.pipeline import until

CAMERAS = ("yard_a", "yard_b", "gate", "dock")
COUNT = 150
BEFORE = 60
"""Frames of each camera that are there when a consumer is killed."""
pytestmark = pytest.mark.slow


@contextmanager
def inference_process(
    bootstrap: str, prefix: str, configs: Path, name: str = "inference"
) -> Iterator[subprocess.Popen[bytes]]:
    """`backsight inference` as users start it; its log is NAME.log."""
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "BACKSIGHT_CONFIGS": str(configs),
        "BACKSIGHT_PREFIX": prefix,
        "INFERENCE_DEVICE": "cpu",
        "INFERENCE_MODEL_PATH": str(configs / "script.jsonl"),
    }
    with (configs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "cli.main", "inference"], env=environment, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_killed_twice_inference_leaves_one_event_for_every_frame(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    write_script(tmp_path / "script.jsonl", CAMERAS, COUNT, seconds=0.01)
    frames = Frames(bootstrap, topics["frames"])
    for seq in range(COUNT):
        for camera_id in CAMERAS:
            frames.send(camera_id, seq)
    frames.flush()
    total = COUNT * len(CAMERAS)

    for events_first in (total // 4, total // 2):
        with inference_process(bootstrap, prefix, tmp_path) as process:
            seen = len(read_events(bootstrap, prefix, events_first, seconds=60))
            assert seen < total, "the kill comes in the middle"
            os.kill(process.pid, signal.SIGKILL)
    with inference_process(bootstrap, prefix, tmp_path) as process:
        records = await_all(bootstrap, prefix, total)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    print(f"{_one_event_each(bootstrap, topics, records)} of {total} events came twice")


def test_the_cameras_of_a_killed_consumer_move_to_the_other_within_15_s(
    bootstrap: str, prefix: str, topics: dict[str, str], topic_partitions: int, tmp_path: Path
) -> None:
    cameras = [f"camera_{number}" for number in range(9)]
    write_script(tmp_path / "script.jsonl", cameras, BEFORE + 1, seconds=0.005)
    frames = Frames(bootstrap, topics["frames"])

    def send(seqs: range) -> None:
        for seq in seqs:
            for camera_id in cameras:
                frames.send(camera_id, seq)
        frames.flush()

    def newest(partitions: set[int]) -> set[int]:
        """The newest frame that was looked at, in each of the partitions."""
        found = dict.fromkeys(partitions, -1)
        for record, event in read_events(bootstrap, prefix, 0):
            if record.partition() in found:
                found[record.partition()] = max(found[record.partition()], event.seq)
        return set(found.values())

    stays, dies = tmp_path / "stays.log", tmp_path / "dies.log"
    with (
        inference_process(bootstrap, prefix, tmp_path, "stays"),
        inference_process(bootstrap, prefix, tmp_path, "dies") as process,
    ):
        until(lambda: _held(stays) and len(_held(stays) | _held(dies)) == topic_partitions, 60, "both have a share")
        until(lambda: _held(dies) and not _held(stays) & _held(dies), 60, "a share each")
        moved = _held(dies)
        send(range(BEFORE))
        read_events(bootstrap, prefix, BEFORE)
        process.kill()
        killed = time.monotonic()
        send(range(BEFORE, BEFORE + 1))
        until(lambda: newest(moved) == {BEFORE}, 15, "the other looks at them", lambda: newest(moved))
        print(f"taken over {time.monotonic() - killed:.1f} s after the kill")
        records = await_all(bootstrap, prefix, (BEFORE + 1) * len(cameras))
    _one_event_each(bootstrap, topics, records)


def _held(log: Path) -> set[int]:
    """The partitions that a consumer holds by its log."""
    held: set[int] = set()
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry["event"] == "partitions_gained":
            held |= set(entry["partitions"])
        elif entry["event"] in ("partitions_given_up", "partitions_lost"):
            held -= set(entry["partitions"])
    return held


def _one_event_each(bootstrap: str, topics: dict[str, str], records: list[tuple[Message, DetectionEvent]]) -> int:
    """Every frame has one event after identity; answers how many came twice."""
    sent = {(each.partition(), each.offset()) for each in read_all(bootstrap, topics["frames"])}
    values = defaultdict(set)
    for record, event in records:
        values[event.frame.partition, event.frame.offset].add(record.value())
    assert values.keys() == sent, "none is missing"
    assert all(len(each) == 1 for each in values.values()), "doubles are the same to the byte"
    return len(records) - len(sent)
