"""The API's own detector: one thread that decodes and looks, and a short queue before it.

`/infer` waits in the queue or is refused at once, so the event loop stays free and memory stays bounded.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Literal, NamedTuple, TypeVar

from inference.annotate import Area, Mark, annotated, as_jpeg
from inference.detectors.contract import Detector, DeviceLost, OutOfMemory
from inference.model_watch import took_over
from inference.pictures import Limits, Picture, check, decode
from runtime.logs import get_logger
from runtime.metrics import INFERENCE_SECONDS
from runtime.redact import redact
from schemas.messages import Detection, Model

WAITING: Final = 8
"""Requests in the queue besides the one that is being looked at."""

Result = TypeVar("Result")
State = Literal["loading", "ready", "failed"]

log = get_logger(__name__)


class Busy(RuntimeError):
    """The queue is full, or the device has no memory for this now; later it may do."""


class NotReady(RuntimeError):
    """There is no detector: it is being loaded, or could not be."""


class Looked(NamedTuple):
    """What was seen in a picture, and by which model. ``milliseconds`` are those of the detector alone."""

    model: Model
    width: int
    height: int
    detections: tuple[Detection, ...]
    milliseconds: float


class Looking:
    """Loads a detector in its thread, then looks at pictures one after the other."""

    def __init__(self, open_detector: Callable[[], Detector], waiting: int = WAITING) -> None:
        self._open = open_detector
        self._most = waiting + 1
        self._inside = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="looking")
        self._detector: Detector | None = None
        self.state: State = "loading"
        self.detail: str | None = "the model is being loaded"
        self.refused: str | None = None
        """Why the model that is asked for by now does not run; the one before does."""
        self.lost = False

    def start(self) -> "Future[None]":
        """Begins to load the detector; `state` says how that goes, and the future ends when it has been decided."""
        return self._thread.submit(self._load)

    def take_over(self, detector: Detector) -> None:
        """The detector, ready and warm, looks at what comes from now on; from any thread."""
        if self.lost:
            return
        took_over(detector, self.model)
        self._detector = detector
        self.state, self.detail = "ready", None

    def close(self) -> None:
        """Lets the thread end; what still waits is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def model(self) -> Model | None:
        """The model's identity; None before it is loaded."""
        return None if self._detector is None else self._detector.model

    @property
    def device(self) -> str | None:
        """Where the detector runs."""
        return None if self._detector is None else self._detector.device

    async def look(self, content: bytes, limits: Limits) -> Looked:
        """What is seen in a picture's bytes. Raises `BadPicture`, `Busy`, `NotReady`."""
        detector = self._ready()
        return await self._in_thread(lambda: _look(detector, content, limits)[0])

    async def draw(
        self, content: bytes, limits: Limits, marks: Callable[[Looked], tuple[Sequence[Mark], Sequence[Area]]]
    ) -> bytes:
        """The picture as a JPEG with what is seen in it, as ``marks`` puts it. Raises as `look` does."""
        detector = self._ready()

        def drawn() -> bytes:
            looked, picture = _look(detector, content, limits, whole=True)
            return as_jpeg(annotated(picture, *marks(looked)))

        return await self._in_thread(drawn)

    def _ready(self) -> Detector:
        if self._detector is None or self.state != "ready":
            raise NotReady(self.detail or "there is no model")
        if self._inside >= self._most:
            raise Busy(f"{self._most} pictures are being looked at or wait")
        return self._detector

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        self._inside += 1
        try:
            # Shielded: a caller that goes away does not free its place before the thread is done with it.
            future = asyncio.get_running_loop().run_in_executor(self._thread, work)
            future.add_done_callback(self._left)
        except BaseException:
            self._inside -= 1
            raise
        try:
            return await asyncio.shield(future)
        except OutOfMemory as error:
            raise Busy(str(error)) from None
        except DeviceLost as error:
            self._fail(f"the device is lost, only a new process gets it back: {error}")
            self.lost = True
            raise NotReady(self.detail or "") from None

    def _left(self, future: "asyncio.Future[Result]") -> None:
        self._inside -= 1
        if not future.cancelled():
            future.exception()  # retrieved, also when nobody waits any more

    def _load(self) -> None:
        try:
            self.take_over(self._open())
        except Exception as error:  # whatever it is, /health says it and the rest of the API goes on
            self._fail(str(error) or type(error).__name__)

    def _fail(self, detail: str) -> None:
        self.state, self.detail = "failed", redact(detail)
        log.error("model_unusable", reason=self.detail)


def _look(detector: Detector, content: bytes, limits: Limits, *, whole: bool = False) -> tuple[Looked, Picture]:
    head = check(content, limits)
    picture = decode(content, limits, at_least=None if whole else detector.input_size)
    started = time.perf_counter()
    (detections,) = detector.detect([picture])
    seconds = time.perf_counter() - started
    INFERENCE_SECONDS.observe(seconds)
    return Looked(detector.model, head.width, head.height, detections, seconds * 1000), picture
