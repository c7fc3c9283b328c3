"""One camera: connect, watch, connect again; sampled pictures and offline ticks to the publisher."""

import random
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Final

from ingest.backoff import wait_before
from ingest.capture_clock import CaptureClock
from ingest.frozen import FrozenWatch, thinned
from ingest.pictures import Encoded, PictureEncoder, PictureTooLarge
from ingest.publisher import Outgoing, Publisher
from ingest.sampling import Sampler
from ingest.sources import Picture, Source, SourceFault, open_source
from ingest.trouble import Trouble
from runtime import metrics
from runtime.configs import ResolvedCamera
from runtime.logs import get_logger
from runtime.redact import camera_place, redact
from schemas.frames import FrameHead
from schemas.messages import CameraState

TICK_AFTER_MS: Final = 1000.0
"""A camera is away for this long before its first tick: a start or a quick reconnection needs none."""

STEADY_SECONDS: Final = 30.0
"""A connection that gave pictures for as long ended the trouble before it; the next begins at the ladder's foot."""

WAIT_SLICE_SECONDS: Final = 0.5

log = get_logger(__name__)


class State(Enum):
    """What a camera is doing."""

    AWAY = "away"
    WATCHING = "watching"
    ENDED = "ended"
    """A file that was played to its end."""
    FAILED = "failed"
    """A file that may lose nothing and cannot be read."""


class CameraRun:
    """Runs one camera in a thread of its own until it is stopped or its file ends.

    ``now`` answers the arrival clock's milliseconds. ``after`` is the newest ``captured_at`` the camera is known to
    have: capture times go on after it, and a file in `complete` mode goes on behind it. ``room`` answers whether one
    more frame of such a file may be sent, given how far inference has come. ``tell`` is told what the camera does and
    since when; it must not wait, and hears the same more than once.
    """

    def __init__(
        self,
        resolved: ResolvedCamera,
        publisher: Publisher,
        now: Callable[[], float],
        after: int | None,
        room: Callable[[str], bool],
        tell: Callable[[str, CameraState, int], None],
    ) -> None:
        self.resolved = resolved
        self.camera = resolved.camera
        self.state = State.AWAY
        self._publisher = publisher
        self._now = now
        self._room = room
        self._tell = tell
        self._published_until = -1 if after is None else after
        self._complete = not self.camera.realtime
        self._clock = CaptureClock(None if self._complete else after)
        self._sampler = Sampler(self.camera.fps_target)
        self._frozen = FrozenWatch(round(self.camera.frozen_seconds * 1000))
        self._encoder = PictureEncoder(self.camera.width, self.camera.quality)
        self._seq = 0
        self._size: tuple[int, int] | None = None
        self._away_since = now()
        self._last_picture = 0.0
        self._endless = True
        # Held while a capture time is given and its frame handed on, so that ticks and pictures stay in order.
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._log = log.bind(camera=self.camera.id)
        self._trouble = Trouble(self._log)
        self._thread = threading.Thread(target=self._run, name=f"camera-{self.camera.id}", daemon=True)
        self._pictures = metrics.CAMERA_PICTURES.labels(self.camera.id)
        self._taken_in = metrics.STAGE_RECORDS_IN.labels("ingest")
        self._seconds = metrics.STAGE_SECONDS.labels("ingest")

    def start(self) -> None:
        """Begins."""
        self._publisher.add(self.camera.id, self.camera.fps_target, lossless=self._complete)
        metrics.CAMERA_UP.labels(self.camera.id).set(0)
        metrics.CAMERA_FROZEN.labels(self.camera.id).set(0)
        self._say_status()
        self._thread.start()

    def stop(self) -> None:
        """Nothing is sent from here on, whatever the thread still hangs in."""
        with self._lock:
            self._stopping.set()

    def join(self, seconds: float) -> bool:
        """Waits for the thread; answers whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def done(self) -> bool:
        """It will send nothing more, and what it sent has been taken."""
        return self.state in (State.ENDED, State.FAILED)

    def tick(self) -> None:
        """Called every second: sends an ``offline`` tick while the camera is away."""
        now = self._now()
        with self._lock:
            if self._stopping.is_set() or self._complete or self.done:
                return
            silent = now - self._last_picture
            if self.state is State.WATCHING and self._endless and silent > self.camera.no_frame_seconds * 1000:
                # The thread hangs in a read that does not keep its time.
                self._gone("no_picture", f"no picture for {self.camera.no_frame_seconds:g} s")
            if self.state is State.AWAY and now - self._away_since >= TICK_AFTER_MS:
                self._send(self._clock.stamp(now), None)

    # ---- the camera's own thread ----

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._watch()
                self._end(State.ENDED)
                return
            except SourceFault as fault:
                reason, message = fault.reason, str(fault)
            except Exception as error:  # whatever a codec throws: the other cameras go on, and so does this one
                reason, message = "broken", redact(f"{type(error).__name__}: {error}")
            if self._stopping.is_set():
                return
            steady = self.state is State.WATCHING and time.monotonic() - began > STEADY_SECONDS
            failures = 1 if steady else failures + 1
            if self._complete:
                self._log.error("file_cannot_be_played", reason=message)
                self._end(State.FAILED)
                return
            with self._lock:
                self._gone(reason, message)
            chance = random.random()  # noqa: S311 - jitter
            if self._stopping.wait(wait_before(failures, chance, refused=reason == "refused")):
                return
            metrics.CAMERA_RECONNECTS.labels(self.camera.id).inc()

    def _watch(self) -> None:
        """One connection, from opening to its end; raises `SourceFault` where a camera's stream ends."""
        source = open_source(self.resolved, self._stopping.wait)
        try:
            self._endless = source.endless
            self._clock.new_stream()
            for picture in source.pictures():
                if self._stopping.is_set():
                    return
                self._take(picture)
            if source.endless and not self._stopping.is_set():
                raise SourceFault("ended", f"{camera_place(self.resolved.url)}: the camera ended the stream")
        finally:
            _close(source)

    def _take(self, picture: Picture) -> None:
        now = self._now()
        self._pictures.inc()
        with self._lock:
            if self.state is State.AWAY:
                self._here(picture)
            self._last_picture = now
            taken = self._taken(now, picture)
            if not self._sampler.keep(taken):
                return
            captured_at = self._clock.stamp(taken)
        if self._complete and captured_at <= self._published_until:
            self._seq += 1  # published before a restart: its place in the count stays
            return
        self._taken_in.inc()
        began = time.perf_counter()
        try:
            encoded = self._encoder.encode(picture.frame)
        except PictureTooLarge as error:
            self._drop("too_large", str(error))
            return
        except (ValueError, OSError) as error:
            self._drop("not_encoded", redact(f"{type(error).__name__}: {error}"))
            return
        self._notice(encoded, captured_at)
        self._seconds.observe(time.perf_counter() - began)
        if self._complete:
            self._put(captured_at, encoded)
            return
        with self._lock:
            if not self._stopping.is_set():
                self._send(captured_at, encoded)

    def _taken(self, now: float, picture: Picture) -> float:
        if self._complete and self.camera.start_at_ms is not None:
            return self.camera.start_at_ms + (picture.at_ms or 0.0)
        return self._clock.taken(now, picture.at_ms)

    def _send(self, captured_at: int, encoded: Encoded | None) -> None:
        self._publisher.offer(self.camera.id, self._outgoing(captured_at, encoded))

    def _put(self, captured_at: int, encoded: Encoded) -> None:
        """Waits for inference and the broker as long as it takes."""
        outgoing = self._outgoing(captured_at, encoded)
        waited = time.monotonic()
        while not self._stopping.is_set():
            if self._room(self.camera.id):
                if self._publisher.put(self.camera.id, outgoing, WAIT_SLICE_SECONDS):
                    return
            else:
                self._stopping.wait(0.02)
            if time.monotonic() - waited > 60:
                self._trouble.report("file_waits", reason="inference has not finished the frames before")

    def _outgoing(self, captured_at: int, encoded: Encoded | None) -> Outgoing:
        sizes = (0, 0, 0, 0) if encoded is None else encoded[1:5]
        head = FrameHead(self._seq, captured_at, 0, "complete" if self._complete else "live", *sizes)
        self._seq += 1
        return Outgoing(head, b"" if encoded is None else encoded.jpeg)

    def _notice(self, encoded: Encoded, captured_at: int) -> None:
        """A changed picture size, a picture that stands still: said, not acted on."""
        size = (encoded.source_width, encoded.source_height)
        if self._size is not None and self._size != size:
            self._log.warning("picture_size_changed", before=list(self._size), now=list(size))
        self._size = size
        before = self._frozen.frozen
        if self._frozen.look(captured_at, thinned(encoded.luma)) != before:
            metrics.CAMERA_FROZEN.labels(self.camera.id).set(not before)
            self._log.warning("picture_moves_again" if before else "picture_frozen")
            self._say_status()

    def _here(self, picture: Picture) -> None:
        self.state = State.WATCHING
        metrics.CAMERA_UP.labels(self.camera.id).set(1)
        self._say_status()
        self._trouble.over("camera_away")
        size = [picture.frame.width, picture.frame.height]
        self._log.info("camera_watching", place=camera_place(self.resolved.url), size=size)

    def _gone(self, reason: str, message: str) -> None:
        """With the lock held."""
        if self.state is State.WATCHING:
            self.state = State.AWAY
            self._away_since = self._now()
        metrics.CAMERA_UP.labels(self.camera.id).set(0)
        self._say_status()
        self._trouble.report("camera_away", reason, reason=reason, message=message)

    def _say_status(self) -> None:
        if self._stopping.is_set():
            return  # another process may be reading it already
        state: CameraState
        since: float
        if self.state is not State.WATCHING:
            state, since = "offline", self._away_since
        elif self._frozen.frozen:
            state, since = "frozen", self._frozen.since
        else:
            state, since = "live", self._now()
        self._tell(self.camera.id, state, round(since))

    def _drop(self, reason: str, detail: str) -> None:
        metrics.CAMERA_DROPPED.labels(self.camera.id, reason).inc()
        self._trouble.report("frame_dropped", reason, reason=reason, detail=detail)

    def _end(self, state: State) -> None:
        if self._stopping.is_set():
            return
        while not self._publisher.drain(self.camera.id, WAIT_SLICE_SECONDS):
            if self._stopping.is_set():
                return
        self.state, self._away_since = state, self._now()
        metrics.CAMERA_UP.labels(self.camera.id).set(0)
        self._say_status()
        if state is State.ENDED:
            self._log.info("file_ended", frames=self._seq)


def _close(source: Source) -> None:
    try:
        source.close()
    except Exception as error:  # a connection that is broken already
        log.debug("source_not_closed", reason=type(error).__name__)
