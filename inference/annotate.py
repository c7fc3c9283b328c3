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
_MUCH: Final = 0.35
"""Of a box, that words may hide."""
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


class _Rect(NamedTuple):
    """Pixels; right and bottom are included."""

    left: int
    top: int
    right: int
    bottom: int

    def over(self, other: "_Rect") -> float:
        """How much of the other it covers, 0 to 1."""
        wide = min(self.right, other.right) - max(self.left, other.left) + 1
        high = min(self.bottom, other.bottom) - max(self.top, other.top) + 1
        whole = (other.right - other.left + 1) * (other.bottom - other.top + 1)
        return wide * high / whole if wide > 0 and high > 0 and whole > 0 else 0.0


class _Style(NamedTuple):
    """Of lines and words, by the size of the picture."""

    thickness: int
    letters: int

    @property
    def pad(self) -> int:
        """Between words and the edge of their plate."""
        return max(2, self.thickness)

    @property
    def plate(self) -> int:
        """How high a plate is."""
        return self.letters + round(self.letters * 0.3) + 2 * self.pad


class _Plate(NamedTuple):
    """Words, and where they stand."""

    words: str
    colour: Colour
    place: _Rect


def annotated(picture: Picture, marks: Sequence[Mark], areas: Sequence[Area] = ()) -> Picture:
    """A copy of the picture (RGB) with the areas under the boxes.

    The line of a box lies around it, and words where they hide neither much of a box nor other words, if there is room.
    """
    drawn = picture.copy()
    height, width = picture.shape[:2]
    # 1080p gets lines of 4 pixels and letters of 26. A line of one pixel is lost between its dark edges.
    style = _Style(max(2, round(max(width, height) / 480)), max(11, round(max(width, height) / 75)))
    for area in areas:
        corners = _pixels(area.points, width, height)
        veil = drawn.copy()
        cv2.fillPoly(veil, [corners], area.colour, cv2.LINE_AA, _SHIFT)
        cv2.addWeighted(veil, 0.18, drawn, 0.82, 0, dst=drawn)
        for ink, thickness in ((_BLACK, style.thickness + 2), (area.colour, style.thickness)):
            cv2.polylines(drawn, [corners], True, ink, thickness, cv2.LINE_AA, _SHIFT)
    boxes = [_corners(mark.box, width, height) for mark in marks]
    for mark, box in zip(marks, boxes, strict=True):
        _frame(drawn, box, mark.colour, style.thickness)
    plates: list[_Plate] = []
    # Those of areas first: they stay where they are while boxes walk about in a video.
    for area in areas:
        top, *others = sorted(((round(x * width), round(y * height)) for x, y in area.points), key=lambda at: at[::-1])
        feet = [top, *((x, y + style.plate) for x, y in others[::-1]), *others]
        _place(plates, _Words(area.name, area.colour, feet), boxes, style, drawn)
    for mark, box in zip(marks, boxes, strict=True):
        edge = style.thickness + 2
        feet = [(box.left, box.top - edge), (box.left, box.bottom + edge + style.plate)]
        _place(plates, _Words(mark.words, mark.colour, feet), boxes, style, drawn)
    for plate in plates:
        _write(drawn, plate, style)
    return drawn


def gridded(picture: Picture) -> Picture:
    """A copy of the picture with a grid of pixels over it, numbered along its edges, for reading off points."""
    drawn = picture.copy()
    height, width = picture.shape[:2]
    step = next((each for each in (10, 20, 50, 100, 200) if max(width, height) / each <= GRID_LINES), 500)
    style = _Style(1, max(9, round(max(width, height) / 110)))
    lines = drawn.copy()
    for x in range(step, width, step):
        cv2.line(lines, (x, 0), (x, height - 1), _WHITE if x // step % 5 else GREEN, 1)
    for y in range(step, height, step):
        cv2.line(lines, (0, y), (width - 1, y), _WHITE if y // step % 5 else GREEN, 1)
    cv2.addWeighted(lines, 0.45, drawn, 0.55, 0, dst=drawn)
    for x in range(step, width, step):
        _write(drawn, _plate(_Words(str(x), _BLACK), (x, 0), style, drawn), style)
    for y in range(step, height, step):
        _write(drawn, _plate(_Words(str(y), _BLACK), (0, y), style, drawn), style)
    return drawn


def as_jpeg(picture: Picture, quality: int = 85) -> bytes:
    """The picture (RGB) as a JPEG."""
    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=quality, colorspace="RGB")
    return encoded


@cache
def font() -> Any:
    """OpenCV's own, which has letters of most scripts; nothing of the machine is needed."""
    return cv2.FontFace("sans")


def fits(words: str, letters: int, width: int) -> int:
    """How many of the first characters are no wider than ``width`` pixels."""
    if _wide(words, letters) <= width:
        return len(words)
    least, most = 0, len(words) - 1
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if _wide(words[:middle], letters) <= width else (least, middle - 1)
    return least


def _wide(words: str, letters: int) -> int:
    _, _, wide, _ = cv2.getTextSize((0, 0), words, (0, 0), font(), letters, WEIGHT)
    return int(wide)


def _corners(box: Box, width: int, height: int) -> _Rect:
    left, top, right, bottom = box
    return _Rect(
        min(round(left * width), width - 1),
        min(round(top * height), height - 1),
        min(round(right * width), width - 1),
        min(round(bottom * height), height - 1),
    )


def _pixels(points: Sequence[tuple[float, float]], width: int, height: int) -> NDArray[np.int32]:
    # A polygon may reach far beyond the picture; OpenCV wants 32 bits.
    corners = np.clip(np.array(points, dtype=np.float64), -4.0, 5.0) * (width, height)
    return np.round(corners * (1 << _SHIFT)).astype(np.int32)


def _frame(drawn: Picture, box: _Rect, colour: Colour, thickness: int) -> None:
    """A line around the box with dark edges, which show it on any ground; where the picture ends it lies inside."""
    height, width = drawn.shape[:2]
    off = thickness // 2 + 1
    first = (max(off, box.left - off), max(off, box.top - off))
    last = (min(width - 1 - off, box.right + off), min(height - 1 - off, box.bottom + off))
    cv2.rectangle(drawn, first, last, _BLACK, thickness + 2)
    cv2.rectangle(drawn, first, last, colour, thickness)


class _Words(NamedTuple):
    """Words, and below which pixels their plate may stand, the best first."""

    text: str
    colour: Colour
    feet: Sequence[tuple[int, int]] = ()


def _place(plates: list[_Plate], words: _Words, boxes: Sequence[_Rect], style: _Style, drawn: Picture) -> None:
    """Adds the words' plate where it hides no other words, nor too much of a box, as far as that can be."""
    tried = [_plate(words, foot, style, drawn) for foot in words.feet]

    def hidden(plate: _Plate) -> tuple[bool, bool]:
        return (
            any(plate.place.over(each.place) > 0 for each in plates),
            any(plate.place.over(box) > _MUCH for box in boxes),
        )

    plates.append(min(tried, key=hidden))


def _plate(words: _Words, foot: tuple[int, int], style: _Style, drawn: Picture) -> _Plate:
    """A plate of words above the pixel, moved so that it lies within the picture; what does not fit is left out."""
    height, width = drawn.shape[:2]
    text, room = words.text, width - 2 * style.pad
    if fits(text, style.letters, room) < len(text):
        text = text[: fits(text, style.letters, room - _wide("…", style.letters))] + "…"
    wide = _wide(text, style.letters) + 2 * style.pad
    left = max(0, min(foot[0], width - wide))
    bottom = max(style.plate, min(foot[1], height - 1))
    return _Plate(text, words.colour, _Rect(left, bottom - style.plate, left + wide, bottom))


def _write(drawn: Picture, plate: _Plate, style: _Style) -> None:
    left, top, right, bottom = plate.place
    cv2.rectangle(drawn, (left, top), (right, bottom), plate.colour, -1)
    bright = sum(plate.colour) > 400
    foot = (left + style.pad, bottom - round(style.letters * 0.3) - style.pad)
    cv2.putText(drawn, plate.words, foot, _BLACK if bright else _WHITE, font(), style.letters, WEIGHT)
