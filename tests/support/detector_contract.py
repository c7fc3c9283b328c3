"""What every detector owes, as checks on one that is loaded. See `inference.detectors.contract`."""

from __future__ import annotations

import numpy as np

from inference.detectors.contract import Detector
from inference.pictures import Picture


def pictures() -> list[Picture]:
    """Pictures of several shapes: plain ones, noise from a seed, and one of a single pixel."""
    dice = np.random.default_rng(7)
    noise = [dice.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((48, 64), (90, 160), (64, 64), (31, 17))]
    return [*noise, np.full((36, 64, 3), 255, dtype=np.uint8), np.zeros((1, 1, 3), dtype=np.uint8)]


def check_contract(detector: Detector, floor: float) -> None:
    """Raises AssertionError where the detector breaks a promise."""
    given = pictures()
    kept = [picture.copy() for picture in given]
    first = detector.detect(given)
    assert len(first) == len(given), "one answer for each picture"
    assert detector.detect(given) == first, "the same pictures give the same answer"
    assert all(np.array_equal(one, other) for one, other in zip(given, kept, strict=True)), "pictures stay as they were"
    assert detector.detect([]) == []
    for found in first:
        assert [(-each.confidence, each.label, each.box) for each in found] == sorted(
            (-each.confidence, each.label, each.box) for each in found
        ), "sorted by confidence, label and box"
        for each in found:
            x1, y1, x2, y2 = each.box
            assert 0 <= x1 < x2 <= 1
            assert 0 <= y1 < y2 <= 1
            assert floor <= each.confidence <= 1
            assert each.label in detector.labels
            assert all(round(value, 6) == value for value in (*each.box, each.confidence))
    assert detector.detect(given[:1])[0] == detector.detect(given[:1])[0]
    assert len(detector.model.sha256) == 64
    assert detector.model.name
    assert detector.model.version
    assert detector.batch_size >= 1
    assert detector.device == "cpu"
