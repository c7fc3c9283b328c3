"""Frames to Kafka. When the broker is slow the newest frames win: a camera's oldest waiting frame is dropped *before*
it is handed to the client, whose own queue knows no age and would deliver minutes-old pictures after an outage."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from ingest.trouble import Trouble
from runtime import metrics
from runtime.kafka import KafkaError, KafkaException, Message, Producer, producer
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from runtime.tracing import Tracing
from schemas.frames import FrameHead, frame_headers

UNACKED: Final = 5
"""Frames of one camera that may be on the way at once: a second's worth at 5 frames a second."""

UNACKED_LOSSLESS: Final = 50
"""The same for a file that is played as fast as it is taken."""

RING_SECONDS: Final = 2.0
"""What waits behind them before the oldest goes: no more than inference's default staleness budget."""

MESSAGE_TIMEOUT_MS: Final = 10_000
"""A live frame that the broker did not take in this time is given up; it would be stale five times over."""

BUSY_SECONDS: Final = 0.05

log = get_logger(__name__)


class Outgoing(NamedTuple):
    """A frame, or an offline tick (empty ``value``). ``head.produced_at`` is filled in when it is sent."""

    head: FrameHead
    value: bytes


class Lane:
    """One camera's frames on their way. Only `Publisher` touches it, under its lock."""

    def __init__(self, camera_id: str, ring: int, *, lossless: bool) -> None:
        self.camera_id = camera_id
        self.ring = ring
        self.lossless = lossless
        self.most_unacked = UNACKED_LOSSLESS if lossless else UNACKED
        self.waiting: deque[Outgoing] = deque()
        self.unacked = 0
        self.sent: deque[int] = deque()
        """Offsets that the broker gave, oldest first; kept for lossless lanes only."""
        self.closed = False


class Publisher:
    """One sending thread and one producer for the process's cameras.

    ``lossless`` frames (a file in `complete` mode) are never dropped: `put` waits instead, and so does the client.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, tracing: Tracing | None = None) -> None:
        self._kafka = kafka
        self._topic = topic
        self._tracing = tracing
        self._lanes: dict[str, Lane] = {}
        self._order: deque[Lane] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._trouble = Trouble(log)
        # A lossless producer's messages never time out, so it is another one.
        self._threads: list[threading.Thread] = []
        self._live = self._producer("backsight-ingest", message_timeout_ms=MESSAGE_TIMEOUT_MS)
        self._lossless: Producer | None = None
        self.fault: str | None = None
        """Why a frame that may not be lost was not taken; the process cannot go on then."""
        self._start(self._send_all)

    def _producer(self, client_id: str, **overrides: Any) -> Producer:
        # A frame is worth sending at once, and a JPEG does not shrink.
        client = producer(self._kafka, client_id, linger_ms=0, compression_type="none", **overrides)
        self._start(self._poll, client)
        return client

    def _start(self, task: Callable[..., None], *facts: Any) -> None:
        thread = threading.Thread(target=task, args=facts, name="frames", daemon=True)
        self._threads.append(thread)
        thread.start()

    def add(self, camera_id: str, fps: float, *, lossless: bool = False) -> None:
        """Makes room for a camera; one that was there before is forgotten with what it still had waiting."""
        with self._changed:
            self._forget(camera_id)
            lane = Lane(camera_id, max(4, round(fps * RING_SECONDS)), lossless=lossless)
            self._lanes[camera_id] = lane
            self._order.append(lane)
            if lossless and self._lossless is None:
                self._lossless = self._producer("backsight-ingest-complete", message_timeout_ms=0)

    def remove(self, camera_id: str) -> None:
        """Forgets a camera with what it still has waiting."""
        with self._changed:
            self._forget(camera_id)

    def _forget(self, camera_id: str) -> None:
        lane = self._lanes.pop(camera_id, None)
        if lane is not None:
            lane.closed = True
            if lane.waiting and not lane.lossless:
                metrics.CAMERA_DROPPED.labels(camera_id, "camera_stopped").inc(len(lane.waiting))
            self._order.remove(lane)
            self._changed.notify_all()

    def offer(self, camera_id: str, outgoing: Outgoing) -> None:
        """Sends as soon as may be; drops the camera's oldest waiting frame where there is no room. Never waits."""
        with self._changed:
            lane = self._lanes.get(camera_id)
            if lane is None:
                return
            if len(lane.waiting) >= lane.ring:
                lane.waiting.popleft()
                metrics.CAMERA_DROPPED.labels(camera_id, "broker_slow").inc()
                self._trouble.report("frames_dropped", camera_id, camera=camera_id, reason="the broker is slow")
            lane.waiting.append(outgoing)
            self._changed.notify_all()

    def put(self, camera_id: str, outgoing: Outgoing, seconds: float) -> bool:
        """Sends without loss: waits for room, at most ``seconds``; answers whether it was taken."""
        with self._changed:
            lane = self._lanes.get(camera_id)
            if lane is None:
                return False
            if not self._changed.wait_for(lambda: lane.closed or len(lane.waiting) < lane.ring, seconds) or lane.closed:
                return False
            lane.waiting.append(outgoing)
            self._changed.notify_all()
            return True

    def ahead(self, camera_id: str, committed: int) -> int:
        """How many of a lossless camera's frames the reader whose committed offset is given has not finished."""
        with self._changed:
            lane = self._lanes.get(camera_id)
            if lane is None:
                return 0
            while lane.sent and lane.sent[0] < committed:
                lane.sent.popleft()
            return len(lane.sent) + lane.unacked + len(lane.waiting)

    def drain(self, camera_id: str, seconds: float) -> bool:
        """Waits until all of a camera's frames are acknowledged or given up; answers whether they were in time."""
        with self._changed:
            lane = self._lanes.get(camera_id)
            if lane is None:
                return True
            return self._changed.wait_for(lambda: lane.closed or not (lane.waiting or lane.unacked), seconds)

    def close(self, seconds: float) -> int:
        """Sends what waits, ends the threads; answers how many frames the broker did not take in ``seconds``."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(
                lambda: not any(lane.waiting or lane.unacked for lane in self._order), max(0.0, seconds)
            )
            left = sum(len(lane.waiting) + lane.unacked for lane in self._order)
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(1.0, deadline - time.monotonic()))
        return left

    def _send_all(self) -> None:
        while True:
            with self._changed:
                lane = self._ready()
                while lane is None and not self._closing:
                    self._changed.wait()
                    lane = self._ready()
                if lane is None:
                    return
                outgoing = lane.waiting.popleft()
                lane.unacked += 1
                self._changed.notify_all()
            if not self._send(lane, outgoing):
                with self._changed:
                    lane.unacked -= 1
                    lane.waiting.appendleft(outgoing)
                time.sleep(BUSY_SECONDS)

    def _ready(self) -> Lane | None:
        """The next camera in turn with a frame to send and room on the way."""
        for _ in range(len(self._order)):
            self._order.rotate(-1)
            lane = self._order[-1]
            if lane.waiting and lane.unacked < lane.most_unacked:
                return lane
        return None

    def _send(self, lane: Lane, outgoing: Outgoing) -> bool:
        """Hands one frame to the client; False when its queue is full."""
        now = round(time.time() * 1000)
        head = replace(outgoing.head, produced_at=now)
        client = self._lossless if lane.lossless else self._live
        assert client is not None
        headers = frame_headers(head)
        if self._tracing is not None and outgoing.value and self._tracing.sampled():
            headers.append(self._tracing.span("capture", head.captured_at, now, None, camera=lane.camera_id))

        def reported(error: KafkaError | None, message: Message) -> None:
            self._reported(lane, outgoing, error, message)

        try:
            client.produce(
                self._topic,
                value=outgoing.value,
                key=lane.camera_id,
                headers=headers,
                timestamp=now,
                on_delivery=reported,
            )
        except BufferError:
            return False
        except KafkaException as error:
            self._failed(lane, error.args[0])
        return True

    def _reported(self, lane: Lane, outgoing: Outgoing, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed(lane, error)
            return
        camera_id, head = lane.camera_id, outgoing.head
        with self._changed:
            lane.unacked -= 1
            if lane.lossless:
                lane.sent.append(message.offset())
            self._changed.notify_all()
        if outgoing.value:
            metrics.CAMERA_FRAMES.labels(camera_id).inc()
            metrics.CAMERA_LAST_FRAME.labels(camera_id).set(head.captured_at / 1000)
            if head.mode == "live":
                metrics.RECORD_AGE.labels("ingest").observe(max(0.0, time.time() - head.captured_at / 1000))
        else:
            metrics.CAMERA_TICKS.labels(camera_id).inc()
        metrics.STAGE_RECORDS.labels("ingest").inc()

    def _failed(self, lane: Lane, error: KafkaError) -> None:
        metrics.CAMERA_DROPPED.labels(lane.camera_id, "not_delivered").inc()
        metrics.PRODUCE_ERRORS.labels("ingest").inc()
        self._trouble.report("frame_not_delivered", error.name(), topic=self._topic, reason=error.str())
        with self._changed:
            lane.unacked -= 1
            if lane.lossless:
                self.fault = f"{self._topic}: {error.str()}"
            self._changed.notify_all()

    def _poll(self, client: Producer) -> None:
        while not self._closing:
            client.poll(0.1)
