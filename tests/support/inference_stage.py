"""Frames, scripts for the scripted detector, and an inference stage to put them through."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from inference.stage import run
from runtime.kafka import KafkaException, Message, Producer, producer
from runtime.lifecycle import Stop
from runtime.settings import KafkaSettings, Settings
from schemas.codec import decode
from schemas.documents.services import InferenceSettings, Services
from schemas.frames import FrameHead, Mode, frame_headers
from schemas.messages import DetectionEvent
from schemas.topics import DETECTIONS
from tests.support.broker import read_all

START = round(time.time() * 1000) - 24 * 3_600_000
"""Capture time of frame 0 of every camera in these tests. The broker deletes detection events that are older than 30
days, in the middle of a test."""


@cache
def jpeg(width: int = 64, height: int = 48, grey: int = 90) -> bytes:
    """A small valid JPEG."""
    content: bytes = simplejpeg.encode_jpeg(np.full((height, width, 3), grey, dtype=np.uint8), quality=80)
    return content


def captured_at(seq: int) -> int:
    """Capture time of a camera's frame: 5 a second."""
    return START + 200 * seq


def head(seq: int, mode: Mode = "complete", **other: int) -> FrameHead:
    """A frame's headers: produced now, 64 x 48 of a source of 1280 x 960."""
    facts: dict[str, Any] = {
        "captured_at": captured_at(seq),
        "produced_at": time.time_ns() // 1_000_000,
        "width": 64,
        "height": 48,
        "source_width": 1280,
        "source_height": 960,
        **other,
    }
    return FrameHead(seq=seq, mode=mode, **facts)


class Frames:
    """Writes frames to one topic, in order."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._producer: Producer = producer(KafkaSettings(bootstrap_servers=bootstrap), "test-frames")
        self._topic = topic

    def send(
        self,
        camera_id: str,
        seq: int,
        mode: Mode = "complete",
        *,
        value: bytes | None = None,
        headers: list[tuple[str, bytes]] | None = None,
        partition: int | None = None,
        **other: int,
    ) -> None:
        """One frame; ``value`` b"" is a tick. ``other`` replaces single headers."""
        where = {} if partition is None else {"partition": partition}
        self._producer.produce(
            self._topic,
            key=camera_id,
            value=jpeg() if value is None else value,
            headers=frame_headers(head(seq, mode, **other)) if headers is None else headers,
            **where,
        )

    def flush(self) -> None:
        """Until the broker has all."""
        assert self._producer.flush(20) == 0


def box_of(seq: int) -> tuple[float, float, float, float]:
    """Where the scripted object stands in a frame."""
    left = (seq % 80) / 100
    return (left, 0.25, round(left + 0.1, 6), 0.75)


def write_script(path: Path, cameras: Sequence[str], count: int, seconds: float = 0.0) -> Path:
    """A script in which every camera sees an `object` in every frame but each third."""
    lines: list[dict[str, Any]] = [{"labels": ["object", "worker"], "seconds": seconds}]
    lines += [
        {
            "camera_id": camera_id,
            "captured_at": captured_at(seq),
            "detections": [{"label": "object", "confidence": 0.9, "box": box_of(seq)}] if seq % 3 else [],
        }
        for camera_id in cameras
        for seq in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


def inference_settings(bootstrap: str, prefix: str, model: Path, **inference: Any) -> Settings:
    """Settings of an inference stage with that model."""
    told = InferenceSettings(model_path=str(model), device="cpu", **inference)
    return Settings(services=Services(inference=told), kafka=KafkaSettings(bootstrap_servers=bootstrap), prefix=prefix)


class Stage:
    """An inference stage in a thread of this process."""

    def __init__(self, settings: Settings, **how: Any) -> None:
        self.exit_code: int | None = None
        self._stop = Stop()
        self._thread = threading.Thread(target=self._run, args=(settings, how))
        self._thread.start()

    def _run(self, settings: Settings, how: dict[str, Any]) -> None:
        self.exit_code = run(settings, self._stop, **how)

    def end(self, seconds: float = 30.0) -> int | None:
        """Stops it and waits; answers its exit code."""
        self._stop.set()
        return self.wait(seconds)

    def wait(self, seconds: float = 30.0) -> int | None:
        """Waits for it to end by itself."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"the stage did not end within {seconds} s"
        return self.exit_code


@contextmanager
def running_stage(settings: Settings, **how: Any) -> Iterator[Stage]:
    """A stage that is stopped at the end, whatever happens; ``how`` goes to `inference.stage.run`."""
    stage = Stage(settings, **how)
    try:
        yield stage
    finally:
        stage.end()


def read_events(bootstrap: str, prefix: str, count: int, seconds: float = 40.0) -> list[tuple[Message, DetectionEvent]]:
    """The records of `detections` once there are ``count``, in partition and offset order, decoded."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            records = read_all(bootstrap, DETECTIONS.full_name(prefix))
        except KafkaException:
            # A topic that is a few milliseconds old may have no leader yet.
            if time.monotonic() > deadline:
                raise
            records = []
        if len(records) >= count:
            return [(record, decode(DetectionEvent, record.value(), record.headers())) for record in records]
        assert time.monotonic() < deadline, f"found {len(records)} of {count} detection events in {seconds} s"
        time.sleep(0.1)  # the topic is looked at again, not a guess at how long the stage takes


def await_all(bootstrap: str, prefix: str, total: int) -> list[tuple[Message, DetectionEvent]]:
    """The events once every frame has one, however many came twice."""
    count = total
    while True:
        records = read_events(bootstrap, prefix, count, seconds=60)
        found = {(event.frame.partition, event.frame.offset) for _, event in records}
        if len(found) >= total:
            return records
        count = len(records) + 1
