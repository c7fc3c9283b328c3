"""The ingest process under test, and what it puts on ``frames``."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import yaml

from runtime.kafka import TopicPartition, reader
from schemas.frames import FrameHead, read_frame_headers
from tests.support.broker import settings

ROOT = Path(__file__).parents[2]


class Frame(NamedTuple):
    """A record of ``frames``."""

    camera_id: str
    head: FrameHead
    value: bytes
    partition: int
    offset: int
    timestamp: int

    @property
    def is_tick(self) -> bool:
        """Whether it is an offline tick."""
        return not self.value


class Watching:
    """Reads ``frames`` from its beginning and keeps what came."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.frames: list[Frame] = []
        self._client = reader(settings(bootstrap), "test-frames")
        partitions = self._client.list_topics(topic, timeout=10).topics[topic].partitions
        self._client.assign([TopicPartition(topic, number, 0) for number in partitions])

    def until(self, enough: Callable[[Self], object], seconds: float = 30.0) -> Self:
        """Reads until ``enough`` answers true; fails after ``seconds`` with what there was."""
        deadline = time.monotonic() + seconds
        while not enough(self):
            assert time.monotonic() < deadline, f"not within {seconds:g} s; there was: {self.summary()}"
            message = self._client.poll(0.1)
            if message is None or message.error() is not None:
                continue
            self.frames.append(
                Frame(
                    message.key().decode(),
                    read_frame_headers(message.headers()),
                    message.value() or b"",
                    message.partition(),
                    message.offset(),
                    message.timestamp()[1],
                )
            )
        return self

    def pictures(self, camera_id: str) -> list[Frame]:
        """The camera's frames with a picture."""
        return [each for each in self.of(camera_id) if not each.is_tick]

    def ticks(self, camera_id: str) -> list[Frame]:
        """The camera's offline ticks."""
        return [each for each in self.of(camera_id) if each.is_tick]

    def of(self, camera_id: str) -> list[Frame]:
        """Everything of the camera, in order."""
        return [each for each in self.frames if each.camera_id == camera_id]

    def summary(self) -> dict[str, tuple[int, int]]:
        """Camera to (pictures, ticks)."""
        names = sorted({each.camera_id for each in self.frames})
        return {name: (len(self.pictures(name)), len(self.ticks(name))) for name in names}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


class Ingest:
    """`backsight ingest` as a process of its own, with its log in hand."""

    def __init__(self, bootstrap: str, prefix: str, configs: Path) -> None:
        self._environ = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "BACKSIGHT_PREFIX": prefix,
            "BACKSIGHT_CONFIGS": str(configs),
        }
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by __exit__
        self._said = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "cli.main", "ingest"]
        self._process = subprocess.Popen(command, env=self._environ, cwd=ROOT, stderr=self._log, stdout=self._log)
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process."""
        assert self._process is not None
        return self._process

    def log(self) -> str:
        """Everything it wrote to stdout and stderr."""
        if self._log.closed:
            return self._said
        self._log.seek(0)
        return self._log.read()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log lines of that event."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    def until_event(self, name: str, seconds: float = 30.0, **facts: object) -> dict[str, Any]:
        """Waits for a log line of that event with these facts; fails after ``seconds`` with the whole log."""
        deadline = time.monotonic() + seconds
        while True:
            for line in self.events(name):
                if all(line.get(key) == value for key, value in facts.items()):
                    return line
            assert time.monotonic() < deadline, f"no {name} {facts} within {seconds:g} s:\n{self.log()}"
            time.sleep(0.05)

    def ends(self, seconds: float = 30.0) -> int:
        """Waits for its end; answers its exit code."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ends()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if kind is not None:
            print(self.log(), file=sys.stderr)
        self._said = self.log()
        self._log.close()


def write_cameras(configs: Path, *cameras: dict[str, Any]) -> Path:
    """`cameras.yaml` with these cameras, replaced in one step."""
    configs.mkdir(exist_ok=True)
    beside = configs / "cameras.yaml.new"
    beside.write_text(yaml.safe_dump({"cameras": list(cameras)}))
    beside.replace(configs / "cameras.yaml")
    return configs


def increasing(frames: list[Frame]) -> bool:
    """Whether capture times increase strictly in the topic's order."""
    times = [each.head.captured_at for each in frames]
    return all(after > before for before, after in itertools.pairwise(times))
