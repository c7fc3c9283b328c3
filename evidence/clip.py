"""An alert's clip: the camera's frames around the opening as an MP4, made when first asked for, kept from then on."""

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final, Protocol

import av
import cv2
import numpy as np

from evidence.drawing import LIMITS
from evidence.store import EvidenceStore
from inference.pictures import BadPicture, Picture, decode
from runtime.frame_records import Frame, FrameRecords
from runtime.metrics import EVIDENCE_BYTES
from runtime.settings import Settings
from schemas.messages import Alert, FrameRef

MILLISECONDS: Final = Fraction(1, 1000)
SETTLED_MS: Final = 2000
"""After its last frame was captured a clip waits for so long: frames are on their way."""
LAST_MS: Final = 200
"""How long the last picture of a clip is shown."""


class ClipNotYet(Exception):
    """The frames after the opening are not captured yet; ``seconds`` to wait."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(f"the clip goes on for {seconds} s more")


class ClipBusy(Exception):
    """Another clip is being made."""


class ClipGone(Exception):
    """No clip can be made (any more)."""


class Around(Protocol):
    """`runtime.frame_records.FrameRecords`."""

    def around(self, ref: FrameRef, before_ms: int, after_ms: int) -> Iterator[Frame]:
        """The camera's frames from so long before to so long after that one. Raises `BrokerUnreachable`."""
        ...


class Clips:
    """Makes clips, one at a time, and keeps them. From any thread.

    ``open_frames`` gives a reader for one clip. ``clock`` answers milliseconds UTC.
    """

    def __init__(
        self,
        store: EvidenceStore,
        open_frames: Callable[[], AbstractContextManager[Around]],
        before_ms: int,
        after_ms: int,
        clock: Callable[[], int],
    ) -> None:
        self._store = store
        self._open_frames = open_frames
        self._before_ms = before_ms
        self._after_ms = after_ms
        self._clock = clock
        self._turn = threading.Lock()

    def clip(self, alert: Alert) -> bytes:
        """The alert's clip as an MP4.

        Raises `ClipNotYet`, `ClipBusy`, `ClipGone`, `StoreTrouble` and `BrokerUnreachable`.
        """
        kept = self._store.find(alert.alert_id, alert.opened_at, "clip.mp4")
        if kept is not None:
            return kept
        self._wait_for(alert.evidence.captured_at)
        if not self._turn.acquire(blocking=False):
            raise ClipBusy
        try:
            with self._open_frames() as frames:
                made = make_clip(self._frames_of(alert, frames))
        finally:
            self._turn.release()
        self._store.put(alert.alert_id, alert.opened_at, "clip.mp4", made)
        EVIDENCE_BYTES.inc(len(made))
        return made

    def _frames_of(self, alert: Alert, frames: Around) -> Iterator[Frame]:
        """Nothing where the topic was made again since and another camera's frames lie there."""
        for frame in frames.around(alert.evidence.frame, self._before_ms, self._after_ms):
            away = frame.head.captured_at - alert.evidence.captured_at
            if frame.camera_id == alert.camera_id and -self._before_ms <= away <= self._after_ms:
                if away == 0:  # a recording that is played was captured long ago, and goes on all the same
                    self._wait_for(frame.head.produced_at)
                yield frame

    def _wait_for(self, middle: int) -> None:
        left = middle + self._after_ms + SETTLED_MS - self._clock()
        if left > 0:
            raise ClipNotYet(-(-left // 1000))


def clips_of(settings: Settings, store: EvidenceStore, clock: Callable[[], int]) -> Clips:
    """As the settings say, from the cluster's topic of frames."""
    told = settings.services.evidence

    @contextmanager
    def open_frames() -> Iterator[FrameRecords]:
        frames = FrameRecords(settings.kafka, "backsight-clip")
        try:
            yield frames
        finally:
            frames.close()

    before, after = round(told.clip_before_seconds * 1000), round(told.clip_after_seconds * 1000)
    return Clips(store, open_frames, before, after, clock)


def make_clip(frames: Iterable[Frame]) -> bytes:
    """The frames as H.264 in an MP4, each shown from its capture time to the next one's. Raises `ClipGone`.

    A frame that does not decode is left out; all are as large as the first.
    """
    with tempfile.TemporaryDirectory(prefix="backsight-clip-") as folder:
        path = Path(folder) / "clip.mp4"
        if not _write(path, _pictures(frames)):
            raise ClipGone("the frames around the alert are no longer on their topic")
        return path.read_bytes()


def _pictures(frames: Iterable[Frame]) -> Iterator[tuple[int, Picture]]:
    """Capture time and picture, in order of time, all of the first one's size (less a pixel where that is odd)."""
    size: tuple[int, int] | None = None
    newest = -1
    for frame in frames:
        if frame.head.captured_at <= newest:
            continue
        try:
            picture = decode(frame.jpeg, LIMITS, ("jpeg",))
        except BadPicture:
            continue
        newest = frame.head.captured_at
        if size is None:
            size = (max(2, picture.shape[1] // 2 * 2), max(2, picture.shape[0] // 2 * 2))
        if picture.shape[1::-1] != size:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        yield newest, picture


def _write(path: Path, pictures: Iterator[tuple[int, Picture]]) -> bool:
    first = next(pictures, None)
    if first is None:
        return False
    began, picture = first
    # The index first: a browser begins to play before it has the whole.
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as clip:
        stream = clip.add_stream("libx264", options={"preset": "veryfast", "crf": "23", "threads": "2"})
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = MILLISECONDS
        at = 0

        def show(picture: Picture, at: int) -> None:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = at, MILLISECONDS
            clip.mux(stream.encode(frame))

        show(picture, 0)
        for captured_at, picture in pictures:
            at = captured_at - began
            show(picture, at)
        show(picture, at + LAST_MS)
        clip.mux(stream.encode())
    return True
