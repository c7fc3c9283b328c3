"""Frames into the picture memory, in a thread of its own: inference never waits for a store.

The detector's picture is not used: it may be smaller than what is to be kept, and one that waits would hold megabytes.
The frame's own JPEG waits, and is decoded once more at a half or a quarter of its size.
"""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, Self

import cv2
import numpy as np
import simplejpeg

from inference.alert_labels import AlertLabels
from inference.frames import Event
from inference.pictures import MAX_SIDE, Limits, decode, read_head
from inference.remembering import Due
from runtime.logs import get_logger
from runtime.metrics import PICTURE_BYTES, PICTURES_DROPPED, PICTURES_KEPT
from runtime.picture_memory import PictureMemory
from runtime.repeated import Repeated
from runtime.settings import Settings
from schemas.frames import MAX_FRAME_BYTES
from schemas.topics import DETECTIONS

MOST_WAITING: Final = 64
"""Frames that wait for the store; with frames of 150 KB that is 10 MB."""
FORGET_EVERY_SECONDS: Final = 3600.0
CLOSE_SECONDS: Final = 5.0
_LIMITS: Final = Limits(max_bytes=MAX_FRAME_BYTES)

log = get_logger(__name__)


class Waiting(NamedTuple):
    """A frame that is to be kept: ``jpeg`` as ingest sent it."""

    camera_id: str
    captured_at: int
    jpeg: bytes


class Keeper:
    """Makes pictures small, writes them, and forgets old ones. What the store refuses is counted, and logged once.

    ``retention_ms``: how long a picture stays. ``clock`` answers milliseconds UTC.
    """

    def __init__(
        self, memory: PictureMemory, *, width: int, quality: int, retention_ms: int, clock: Callable[[], int]
    ) -> None:
        self._memory = memory
        self._width = width
        self._quality = quality
        self._retention_ms = retention_ms
        self._clock = clock
        self._queue: queue.Queue[Waiting | None] = queue.Queue(MOST_WAITING)
        self._slow = Repeated(log, "picture_memory_slow")
        self._failing = Repeated(log, "picture_not_kept")
        self._not_forgotten = Repeated(log, "pictures_not_forgotten")
        self._forget_at = 0.0
        self._thread = threading.Thread(target=self._work, name="pictures", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def offer(self, frame: Waiting) -> None:
        """Takes the frame to be kept, or counts it where too many wait. Never waits."""
        try:
            self._queue.put_nowait(frame)
        except queue.Full:
            PICTURES_DROPPED.labels("slow").inc()
            self._slow.happened(self._clock(), camera=frame.camera_id, waiting=MOST_WAITING)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Keeps what waits, as far as the store takes it in that time."""
        with suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
            self._thread.join(seconds)

    def _work(self) -> None:
        while True:
            if time.monotonic() >= self._forget_at:
                self._forget_at = time.monotonic() + FORGET_EVERY_SECONDS
                self._forget()
            try:
                frame = self._queue.get(timeout=FORGET_EVERY_SECONDS)
            except queue.Empty:
                continue
            if frame is None:
                return
            self._keep(frame)

    def _keep(self, frame: Waiting) -> None:
        try:
            picture = small(frame.jpeg, self._width, self._quality)
            self._memory.keep(frame.camera_id, frame.captured_at, picture)
        except Exception as error:  # whatever it is, the next picture may well be kept
            PICTURES_DROPPED.labels("failed").inc()
            self._failing.happened(self._clock(), camera=frame.camera_id, reason=str(error))
            return
        PICTURES_KEPT.inc()
        PICTURE_BYTES.inc(len(picture))

    def _forget(self) -> None:
        try:
            gone = self._memory.forget(self._clock() - self._retention_ms)
        except Exception as error:  # tried again in an hour
            self._not_forgotten.happened(self._clock(), reason=str(error))
            return
        if gone:
            log.info("pictures_forgotten", count=gone)


class Remembering:
    """Looks at every event, and gives the keeper the frames that are due."""

    def __init__(self, keeper: Keeper, labels: AlertLabels, every_ms: int) -> None:
        self._keeper = keeper
        self._labels = labels
        self._due = Due(every_ms)

    @classmethod
    def of(cls, settings: Settings, clock: Callable[[], int]) -> Self | None:
        """As the settings say; None where nothing is to be kept. Raises `BadStore`."""
        told = settings.services.picture_memory
        if not told.every_seconds:
            return None
        memory = PictureMemory(told.url, settings.prefix)
        assert DETECTIONS.retention_ms is not None
        keeper = Keeper(
            memory, width=told.width, quality=told.quality, retention_ms=DETECTIONS.retention_ms, clock=clock
        )
        labels = AlertLabels(settings.kafka, settings.prefix, told.labels)
        return cls(keeper, labels, max(1, round(told.every_seconds * 1000)))

    def start(self) -> None:
        """Begins; returns once it is known which labels can alert."""
        self._keeper.start()
        self._labels.start()

    def seen(self, event: Event) -> None:
        """An event was made of a frame. Costs microseconds; the rest is the keeper's."""
        message = event.message
        if not message.detections:
            return
        wanted = self._labels.at(message.camera_id, message.captured_at)
        in_sight = {each.label for each in message.detections if each.label in wanted}
        if self._due.look(message.camera_id, message.captured_at, in_sight):
            self._keeper.offer(Waiting(message.camera_id, message.captured_at, event.frame.record.value()))

    def close(self) -> None:
        """Ends, within seconds."""
        self._labels.stop()
        self._keeper.close()


def small(jpeg: bytes, width: int, quality: int) -> bytes:
    """The picture ``width`` pixels wide; one that is no wider stays as it is, to the byte. Raises `BadPicture`."""
    if read_head(jpeg).width <= width:
        return jpeg
    picture = decode(jpeg, _LIMITS, ("jpeg",), (width, MAX_SIDE))
    high, wide = picture.shape[:2]
    if wide > width:
        size = (width, max(1, round(high * width / wide)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    content: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=quality, colorsubsampling="420")
    return content
