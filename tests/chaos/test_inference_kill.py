"""`kill -9` in the middle of a complete run: every frame keeps exactly one event after identity."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.broker import read_all
from tests.support.inference_stage import Frames, await_all, read_events, write_script

CAMERAS = ("yard_a", "yard_b", "gate", "dock")
COUNT = 150
pytestmark = pytest.mark.slow


@contextmanager
def inference_process(bootstrap: str, prefix: str, configs: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`backsight inference` as users start it."""
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "BACKSIGHT_CONFIGS": str(configs),
        "BACKSIGHT_PREFIX": prefix,
        "INFERENCE_DEVICE": "cpu",
        "INFERENCE_MODEL_PATH": str(configs / "script.jsonl"),
    }
    with (configs / "inference.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "cli.main", "inference"], env=environment, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(180)
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

    sent = {(each.partition(), each.offset()) for each in read_all(bootstrap, topics["frames"])}
    values = defaultdict(set)
    for record, event in records:
        values[event.frame.partition, event.frame.offset].add(record.value())
    assert values.keys() == sent, "none is missing"
    assert all(len(each) == 1 for each in values.values()), "doubles are the same to the byte"
    print(f"{len(records) - total} of {total} events came twice")
