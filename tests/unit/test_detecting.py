"""The detector at work: batches that do not fit, pictures that do not decode, a device that is lost."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import pytest

from inference.batching import BatchLimit
from inference.detecting import Detecting
from inference.detectors.contract import DeviceLost, FrameName, OutOfMemory
from inference.frames import Frame
from inference.ordering import PartitionOrder
from inference.pictures import BadPicture, Picture
from schemas.frames import FrameHead
from schemas.messages import Detection, Model


class Fake:
    """A detector whose memory holds ``fits`` pictures, and which fails on the grey values of ``fails_on``."""

    labels = ("object",)
    model = Model("fake", "1", "0" * 64)
    device = "cuda:0"
    input_size = None
    batch_size = 16

    def __init__(self, fits: int = 16, fails_on: frozenset[int] = frozenset(), error: Exception | None = None) -> None:
        self.fits = fits
        self.fails_on = fails_on
        self.error = error or RuntimeError("bad picture")
        self.batches: list[int] = []

    def detect(
        self, pictures: Sequence[Picture], names: Sequence[FrameName] | None = None
    ) -> list[tuple[Detection, ...]]:
        self.batches.append(len(pictures))
        if len(pictures) > self.fits:
            raise OutOfMemory("CUDA failure 2: out of memory")
        if any(int(picture[0, 0, 0]) in self.fails_on for picture in pictures):
            raise self.error
        return [(Detection("object", int(picture[0, 0, 0]) / 255, (0.0, 0.0, 1.0, 1.0)),) for picture in pictures]


def frame(number: int, failure: BadPicture | None = None) -> Frame:
    decoded: Future[Picture] = Future()
    if failure is None:
        decoded.set_result(np.full((2, 2, 3), number, dtype=np.uint8))
    else:
        decoded.set_exception(failure)
    head = FrameHead(number, 1, 1, "live", 2, 2, 2, 2)
    return Frame(None, "frames", 0, number, "yard", head, PartitionOrder(), False, decoded)  # type: ignore[arg-type]


def detecting(fake: Fake, size: int = 16) -> tuple[Detecting, BatchLimit]:
    limit = BatchLimit(size)
    return Detecting(fake, limit, lambda: 0), limit


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_nothing_is_lost() -> None:
    fake = Fake(fits=4)
    work, limit = detecting(fake)
    outcomes = work.batch([frame(number) for number in range(16)])
    assert [outcome.frame.offset for outcome in outcomes] == list(range(16))
    assert [outcome.detections[0].confidence for outcome in outcomes] == [number / 255 for number in range(16)]
    assert fake.batches == [16, 8, 4, 4, 4, 4]
    assert limit.now(0) == 4, "the next batch begins with what fits"


def test_when_not_even_one_fits_the_device_is_lost() -> None:
    work, _ = detecting(Fake(fits=0))
    with pytest.raises(DeviceLost, match="not even one picture fits the memory of cuda:0"):
        work.batch([frame(number) for number in range(4)])


def test_a_lost_device_is_not_the_frames_fault() -> None:
    work, _ = detecting(Fake(fails_on=frozenset({1}), error=DeviceLost("cuda:0: CUDA failure 700")))
    with pytest.raises(DeviceLost):
        work.batch([frame(0), frame(1)])


def test_a_picture_that_does_not_decode_costs_nobody_else_anything() -> None:
    work, _ = detecting(Fake())
    outcomes = work.batch([frame(0), frame(1, BadPicture("undecodable", "cut off")), frame(2)])
    assert [outcome.failure.reason if outcome.failure else None for outcome in outcomes] == [None, "undecodable", None]


def test_the_picture_that_the_detector_fails_on_is_found() -> None:
    fake = Fake(fails_on=frozenset({2}))
    work, _ = detecting(fake)
    outcomes = work.batch([frame(number) for number in range(4)])
    assert [outcome.failure is None for outcome in outcomes] == [True, True, False, True]
    assert outcomes[2].failure is not None
    assert outcomes[2].failure.reason == "detector_failed"
    assert fake.batches == [4, 1, 1, 1, 1]
