"""The detector at work, in a thread of its own: pictures that decode go in together, in batches that fit.

What cannot be detected is said of each frame, so that one bad picture costs nobody else anything.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from inference.batching import BatchLimit
from inference.detectors.contract import Detector, DeviceLost, OutOfMemory
from inference.frames import Frame
from inference.pictures import BadPicture, Picture
from runtime.logs import get_logger
from runtime.metrics import BATCH_SIZE, INFERENCE_SECONDS, OUT_OF_MEMORY
from runtime.repeated import Repeated
from schemas.messages import Detection

log = get_logger(__name__)

Clock = Callable[[], int]
"""Milliseconds UTC."""


class Failure(NamedTuple):
    """Why a frame has no detections: ``reason`` is from a short list, ``detail`` is for a person."""

    reason: str
    detail: str


class Outcome(NamedTuple):
    """What came of one frame."""

    frame: Frame
    detections: tuple[Detection, ...]
    failure: Failure | None


class Detecting:
    """Detects the frames of a batch, in smaller ones where the device's memory asks for it."""

    def __init__(self, detector: Detector, limit: BatchLimit, clock: Clock) -> None:
        self._detector = detector
        self._limit = limit
        self._clock = clock
        self._too_large = Repeated(log, "batch_halved_for_memory")
        self._failing = Repeated(log, "detector_failed_on_a_picture")

    def batch(self, frames: list[Frame]) -> list[Outcome]:
        """An outcome for each frame, in their order. Raises `DeviceLost`; nothing of the batch counts then."""
        outcomes: dict[int, Outcome] = {}
        ready: list[tuple[Frame, Picture]] = []
        for frame in frames:
            assert frame.picture is not None
            try:
                ready.append((frame, frame.picture.result()))
            except BadPicture as bad:
                outcomes[id(frame)] = Outcome(frame, (), Failure(bad.reason, bad.detail))
        while ready:
            size = min(len(ready), self._limit.now(self._clock()))
            part, ready = ready[:size], ready[size:]
            try:
                found = self._detect(part)
            except OutOfMemory as error:
                OUT_OF_MEMORY.inc()
                smaller = self._limit.halve(len(part), self._clock())
                if smaller is None:
                    raise DeviceLost(
                        f"not even one picture fits the memory of {self._detector.device}: {error}"
                    ) from None
                self._too_large.happened(self._clock(), tried=len(part), now=smaller, reason=str(error))
                ready = part + ready
                continue
            for outcome in found:
                outcomes[id(outcome.frame)] = outcome
        return [outcomes[id(frame)] for frame in frames]

    def _detect(self, part: list[tuple[Frame, Picture]]) -> list[Outcome]:
        started = time.perf_counter()
        try:
            found = self._detector.detect([picture for _, picture in part], [frame.name for frame, _ in part])
        except (OutOfMemory, DeviceLost):
            raise
        except Exception as error:
            if len(part) > 1:
                # One of them does it: find out which, and the others are detected.
                return [outcome for each in part for outcome in self._detect([each])]
            detail = f"{type(error).__name__}: {error}"
            self._failing.happened(self._clock(), camera=part[0][0].camera_id, detail=detail[:300])
            return [Outcome(part[0][0], (), Failure("detector_failed", detail))]
        BATCH_SIZE.observe(len(part))
        INFERENCE_SECONDS.observe(time.perf_counter() - started)
        return [Outcome(frame, seen, None) for (frame, _), seen in zip(part, found, strict=True)]
