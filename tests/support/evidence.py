"""Frames, alerts that were opened by them, and the evidence stage to keep what it should."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from evidence.process import run
from runtime.kafka import Message, Producer, deliver, producer
from runtime.lifecycle import Stop
from runtime.settings import KafkaSettings, Settings
from schemas.codec import encode, schema_header
from schemas.documents.services import EvidenceSettings, Services
from schemas.frames import FrameHead, frame_headers
from schemas.messages import Alert, FrameRef
from tests.support.alerts import opened, record_of
from tests.support.broker import settings as kafka_settings
from tests.support.inference_stage import jpeg


def evidence_settings(bootstrap: str, prefix: str, url: Path | str, **told: Any) -> Settings:
    """Settings of an evidence stage with that store."""
    services = Services(evidence=EvidenceSettings(url=str(url), **told))
    return Settings(services=services, kafka=KafkaSettings(bootstrap_servers=bootstrap), prefix=prefix)


class Yard:
    """Writes frames and the alerts they opened."""

    def __init__(self, bootstrap: str, topics: dict[str, str]) -> None:
        self._producer: Producer = producer(kafka_settings(bootstrap), "test-yard", linger_ms=0)
        self._topics = topics
        self.start = round(time.time() * 1000) - 60_000

    def frame(
        self, number: int, camera: str = "gate", width: int = 320, height: int = 180, every_ms: int = 200
    ) -> FrameRef:
        """The camera's frame of that number, five a second from a minute ago, with its picture's grey telling it."""
        at = self.start + number * every_ms
        told: list[Message] = []
        self._producer.produce(
            self._topics["frames"],
            key=camera,
            value=jpeg(width, height, 20 + 2 * number % 200),
            headers=frame_headers(FrameHead(number, at, at, "live", width, height, 1280, 720)),
            timestamp=at,
            on_delivery=lambda _error, message: told.append(message),
        )
        assert self._producer.flush(20) == 0
        return FrameRef(self._topics["frames"], told[0].partition() or 0, told[0].offset() or 0)

    def alert(self, number: int, frame: FrameRef, camera: str = "gate") -> Alert:
        """The alert that the frame of that number opened, written to its topic."""
        alert = opened(camera=camera, at=self.start + 200 * number)
        alert = structs.replace(alert, evidence=structs.replace(alert.evidence, frame=frame))
        self.write(alert)
        return alert

    def write(self, alert: Alert) -> None:
        """Writes an alert as the rules do."""
        key, value, headers = record_of(alert)
        deliver(
            self._producer, self._topics["alerts"], key=key, value=value, headers=headers, timestamp=alert.opened_at
        )

    def write_to(self, topic: str, key: str, message: msgspec.Struct) -> None:
        """Writes a message as its stage does."""
        header = [schema_header(type(message))]
        deliver(self._producer, self._topics[topic], key=key, value=encode(message), headers=header)


@contextmanager
def evidence_stage(settings: Settings) -> Iterator[list[int]]:
    """The stage in a thread, stopped at the end; its exit code is in the list then."""
    stop, codes = Stop(), []
    thread = threading.Thread(target=lambda: codes.append(run(settings, stop)), daemon=True)
    thread.start()
    try:
        yield codes
    finally:
        stop.set()
        thread.join(30)


def until(condition: Any, seconds: float = 20.0) -> Any:
    """What the condition answers once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found
