"""What each camera does, on `camera-status`: at every change and once a minute. Never in the way of frames."""

import threading
import time
from typing import Final

from ingest.trouble import Trouble
from runtime.kafka import KafkaError, KafkaException, Message, producer
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from schemas.codec import encode, schema_header
from schemas.messages import CameraState, CameraStatus

EVERY_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 1.0
"""After the broker did not take one."""
POLL_SECONDS: Final = 0.5
MESSAGE_TIMEOUT_MS: Final = 10_000

log = get_logger(__name__)


class Statuses:
    """Holds what each camera does and writes it in a thread of its own; only the newest is ever tried again."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._topic = topic
        self._states: dict[str, tuple[CameraState, int]] = {}
        self._due: dict[str, float] = {}
        self._changes: list[CameraStatus] = []
        """Not written yet: a camera that was away for some milliseconds was away."""
        self._changed = threading.Condition()
        self._closing = False
        self._trouble = Trouble(log)
        self._producer = producer(kafka, "backsight-ingest-status", message_timeout_ms=MESSAGE_TIMEOUT_MS)
        self._thread = threading.Thread(target=self._run, name="camera-status", daemon=True)
        self._thread.start()

    def tell(self, camera_id: str, state: CameraState, since: int) -> None:
        """What a camera does since then (milliseconds UTC); the same state as before changes nothing. Never waits."""
        with self._changed:
            before = self._states.get(camera_id)
            if before is not None and before[0] == state:
                return
            self._states[camera_id] = (state, since)
            self._due[camera_id] = time.monotonic() + EVERY_SECONDS
            self._changes.append(CameraStatus(camera_id, state, since, round(time.time() * 1000)))
            self._changed.notify()

    def forget(self, camera_id: str) -> None:
        """Says no more of a camera: others read it now, or nobody."""
        with self._changed:
            self._states.pop(camera_id, None)
            self._due.pop(camera_id, None)
            self._changes = [each for each in self._changes if each.camera_id != camera_id]

    def close(self, seconds: float) -> None:
        """Ends the thread; waits as long for the broker at most."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        self._producer.flush(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                if not (self._closing or self._changes or any(due <= now for due in self._due.values())):
                    self._changed.wait(POLL_SECONDS)
                    now = time.monotonic()
                ready = [camera for camera, due in self._due.items() if due <= now]
                self._due.update(dict.fromkeys(ready, now + EVERY_SECONDS))
                statuses, self._changes = self._changes, []
                at = round(time.time() * 1000)
                statuses += [CameraStatus(camera, *self._states[camera], at) for camera in ready]
                closing = self._closing
            for status in statuses:
                self._write(status)
            self._producer.poll(0)
            if closing:
                return

    def _write(self, status: CameraStatus) -> None:
        def reported(error: KafkaError | None, _record: Message) -> None:
            if error is not None:
                self._failed(status, error.name(), error.str())

        try:
            self._producer.produce(
                self._topic,
                key=status.camera_id,
                value=encode(status),
                headers=[schema_header(CameraStatus)],
                timestamp=status.reported_at,
                on_delivery=reported,
            )
        except BufferError:
            self._failed(status, "BUFFER", "too many wait for the broker")
        except KafkaException as error:
            self._failed(status, error.args[0].name(), error.args[0].str())

    def _failed(self, status: CameraStatus, kind: str, reason: str) -> None:
        self._trouble.report("status_not_delivered", kind, topic=self._topic, reason=reason)
        with self._changed:
            if status.camera_id in self._due:
                soon = time.monotonic() + AGAIN_SECONDS
                self._due[status.camera_id] = min(self._due[status.camera_id], soon)
