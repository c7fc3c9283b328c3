"""Boxes: from a detector's raw output to boxes as fractions of the picture. Plain numpy, no state.

Corners are x1, y1, x2, y2 with x right and y down. "Input pixels" are those of the square or rectangle that the model
takes; the picture lies inside it, scaled and centred on grey bars (the letterbox).
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.messages import Detection

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.intp]

MAX_CANDIDATES: Final = 3000
"""Boxes that suppression looks at, the most confident ones. At a floor of 0.10 a crowded picture gives about 1,000."""

MAX_DETECTIONS: Final = 300
"""Boxes of one picture that are kept, as many as NMS-free models give at most."""

DIGITS: Final = 6
"""Decimals of what is recorded: a millionth of the picture, 0.008 pixels at 8K, and about 50 bytes a box less."""


class Letterbox(NamedTuple):
    """Where a picture lies in the model's input, in input pixels."""

    left: int
    top: int
    width: int
    height: int


class Found(NamedTuple):
    """Boxes side by side: corners (n, 4), confidences (n,), class numbers (n,)."""

    corners: Floats
    confidences: Floats
    classes: Indices


def letterbox(picture_size: tuple[int, int], input_size: tuple[int, int]) -> Letterbox:
    """Where a picture of (width, height) comes to lie in an input of (width, height).

    The aspect ratio is kept and the bars are equal, an odd pixel going right and below, as Ultralytics trains it. No
    side is less than one pixel.
    """
    scale = min(input_size[0] / picture_size[0], input_size[1] / picture_size[1])
    width = min(input_size[0], max(1, round(picture_size[0] * scale)))
    height = min(input_size[1], max(1, round(picture_size[1] * scale)))
    return Letterbox((input_size[0] - width) // 2, (input_size[1] - height) // 2, width, height)


def to_fractions(corners: Floats, place: Letterbox) -> Floats:
    """Corners in input pixels as fractions of the picture, clipped to 0 to 1."""
    origin = np.array([place.left, place.top, place.left, place.top], dtype=np.float64)
    size = np.array([place.width, place.height, place.width, place.height], dtype=np.float64)
    return np.clip((corners.astype(np.float64) - origin) / size, 0.0, 1.0)


def to_input(corners: Floats, place: Letterbox) -> Floats:
    """Corners as fractions of the picture in input pixels: the reverse of `to_fractions`."""
    origin = np.array([place.left, place.top, place.left, place.top], dtype=np.float64)
    size = np.array([place.width, place.height, place.width, place.height], dtype=np.float64)
    return corners.astype(np.float64) * size + origin


def read_dense(output: Floats, floor: float) -> Found:
    """YOLOv8-style output of one picture, (4 + classes, anchors): centre x, centre y, width, height, then scores.

    Each anchor speaks for its best class. Overlapping boxes are still there: see `suppress`.
    """
    scores = output[4:]
    classes = scores.argmax(axis=0)
    confidences = np.take_along_axis(scores, classes[None, :], axis=0)[0].astype(np.float64)
    kept = np.flatnonzero(confidences >= floor)
    if len(kept) > MAX_CANDIDATES:
        kept = np.sort(kept[np.argsort(-confidences[kept], kind="stable")[:MAX_CANDIDATES]])
    centre_x, centre_y, width, height = output[:4, kept].astype(np.float64)
    corners = np.stack(
        [centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2], axis=1
    )
    return Found(corners, confidences[kept], classes[kept].astype(np.intp))


def read_sparse(output: Floats, floor: float) -> Found:
    """NMS-free output of one picture (YOLO26, YOLOv10), (boxes, 6): x1, y1, x2, y2, confidence, class number."""
    rows = output[output[:, 4] >= floor].astype(np.float64)
    return Found(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.intp))


def overlaps(box: Floats, others: Floats) -> Floats:
    """Intersection over union of one box (4,) with others (n, 4); 0 where a union has no area."""
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    shared = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    union = area + areas - shared
    ratio: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def suppress(found: Found, iou: float) -> Found:
    """Non-maximum suppression per class: of two boxes that overlap by more than ``iou`` the less confident one goes.

    Greedy, from the most confident down; of equals the one listed first stays, so the result is always the same.
    """
    order = np.argsort(-found.confidences, kind="stable")
    kept: list[int] = []
    for number in np.unique(found.classes):
        waiting = order[found.classes[order] == number]
        while len(waiting):
            best, waiting = waiting[0], waiting[1:]
            kept.append(int(best))
            waiting = waiting[overlaps(found.corners[best], found.corners[waiting]) <= iou]
    chosen = np.array(sorted(kept), dtype=np.intp)
    return Found(found.corners[chosen], found.confidences[chosen], found.classes[chosen])


def detections(found: Found, labels: Sequence[str], floor: float) -> tuple[Detection, ...]:
    """Boxes as fractions (0 to 1) to what is recorded: rounded, sorted by confidence, at most `MAX_DETECTIONS`.

    Of equal confidence the label, then the box decides, so that the order says nothing of how the boxes were found.
    What has no area, is no number, or is of a class that has no label is left out.
    """
    result: list[Detection] = []
    for corners, confidence, number in zip(
        found.corners.tolist(), found.confidences.tolist(), found.classes.tolist(), strict=True
    ):
        x1, y1, x2, y2 = (round(min(max(value, 0.0), 1.0), DIGITS) for value in corners)
        certain = round(min(confidence, 1.0), DIGITS)
        # A comparison with NaN is false, so what is no number is left out here too.
        if certain >= floor and x1 < x2 and y1 < y2 and 0 <= number < len(labels):
            result.append(Detection(label=labels[number], confidence=certain, box=(x1, y1, x2, y2)))
    result.sort(key=lambda each: (-each.confidence, each.label, each.box))
    return tuple(result[:MAX_DETECTIONS])
