"""Draws what was seen onto a picture: boxes with their words, and polygons. Legible from a thumbnail to 8K."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from inference.pictures import Picture
from schemas.messages import Box

Colour = tuple[int, int, int]

RED: Final[Colour] = (220, 38, 38)
AMBER: Final[Colour] = (245, 158, 11)
GREEN: Final[Colour] = (22, 163, 74)
_WHITE: Final[Colour] = (255, 255, 255)
_BLACK: Final[Colour] = (0, 0, 0)
GRID_LINES: Final = 32
"""At most so many lines of a grid each way."""
WEIGHT: Final = 500
"""Of the letters: a little bolder than regular."""
_SHIFT: Final = 4
"""Polygons are given to OpenCV in sixteenths of a pixel."""


class Mark(NamedTuple):
    """A box in fractions of the picture, its words, and its colour."""

    box: Box
    words: str
    colour: Colour


class Area(NamedTuple):
    """A polygon in fractions of the picture, its name, and its colour."""

    points: Sequence[tuple[float, float]]
    name: str
    colour: Colour


def annotated(picture: Picture, marks: Sequence[Mark], areas: Sequence[Area] = ()) -> Picture:
    """A copy of the picture (RGB) with the areas under the boxes."""
    drawn = picture.copy()
    height, width = picture.shape[:2]
    # 1080p gets lines of 3 pixels and letters of 26.
    thickness = max(1, round(max(width, height) / 640))
    letters = max(11, round(max(width, height) / 75))
    for area in areas:
        corners = _pixels(area.points, width, height)
        veil = drawn.copy()
        cv2.fillPoly(veil, [corners], area.colour, cv2.LINE_AA, _SHIFT)
        cv2.addWeighted(veil, 0.18, drawn, 0.82, 0, dst=drawn)
        cv2.polylines(drawn, [corners], True, area.colour, thickness, cv2.LINE_AA, _SHIFT)
    for mark in marks:
        left, top, right, bottom = _corners(mark.box, width, height)
        cv2.rectangle(drawn, (left, top), (right, bottom), _BLACK, thickness + 2)
        cv2.rectangle(drawn, (left, top), (right, bottom), mark.colour, thickness)
    # Words last, so that no box hides them.
    for area in areas:
        x, y = min(area.points, key=lambda point: (point[1], point[0]))
        _write(drawn, area.name, round(x * width), round(y * height), area.colour, letters, thickness)
    for mark in marks:
        left, top, _, _ = _corners(mark.box, width, height)
        _write(drawn, mark.words, left, top, mark.colour, letters, thickness)
    return drawn


def gridded(picture: Picture) -> Picture:
    """A copy of the picture with a grid of pixels over it, numbered along its edges, for reading off points."""
    drawn = picture.copy()
    height, width = picture.shape[:2]
    step = next((each for each in (10, 20, 50, 100, 200) if max(width, height) / each <= GRID_LINES), 500)
    letters = max(9, round(max(width, height) / 110))
    lines = drawn.copy()
    for x in range(step, width, step):
        cv2.line(lines, (x, 0), (x, height - 1), _WHITE if x // step % 5 else GREEN, 1)
    for y in range(step, height, step):
        cv2.line(lines, (0, y), (width - 1, y), _WHITE if y // step % 5 else GREEN, 1)
    cv2.addWeighted(lines, 0.45, drawn, 0.55, 0, dst=drawn)
    for x in range(step, width, step):
        _write(drawn, str(x), x, 0, _BLACK, letters, 1)
    for y in range(step, height, step):
        _write(drawn, str(y), 0, y, _BLACK, letters, 1)
    return drawn


def as_jpeg(picture: Picture, quality: int = 85) -> bytes:
    """The picture (RGB) as a JPEG."""
    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=quality, colorspace="RGB")
    return encoded


@cache
def font() -> Any:
    """OpenCV's own, which has letters of most scripts; nothing of the machine is needed."""
    return cv2.FontFace("sans")


def _corners(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    return (
        min(round(left * width), width - 1),
        min(round(top * height), height - 1),
        min(round(right * width), width - 1),
        min(round(bottom * height), height - 1),
    )


def _pixels(points: Sequence[tuple[float, float]], width: int, height: int) -> NDArray[np.int32]:
    # A polygon may reach far beyond the picture; OpenCV wants 32 bits.
    corners = np.clip(np.array(points, dtype=np.float64), -4.0, 5.0) * (width, height)
    return np.round(corners * (1 << _SHIFT)).astype(np.int32)


def _write(drawn: Picture, words: str, x: int, y: int, colour: Colour, letters: int, thickness: int) -> None:
    """Words on a plate above (x, y), moved so that they lie within the picture."""
    _, _, wide, _ = cv2.getTextSize((0, 0), words, (0, 0), font(), letters, WEIGHT)
    high, below = letters, round(letters * 0.3)
    pad = max(2, thickness)
    height, width = drawn.shape[:2]
    left = max(0, min(x, width - wide - 2 * pad))
    foot = max(high + below + 2 * pad, min(y, height - 1))
    cv2.rectangle(drawn, (left, foot - high - below - 2 * pad), (left + wide + 2 * pad, foot), colour, -1)
    bright = sum(colour) > 400
    ink = _BLACK if bright else _WHITE
    cv2.putText(drawn, words, (left + pad, foot - below - pad), ink, font(), letters, WEIGHT)
