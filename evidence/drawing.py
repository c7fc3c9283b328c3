"""An alert's picture: polygon, box and anchor point drawn in, and a strip of words under it that hides nothing."""

from typing import Final

import cv2
import numpy as np

from evidence.telling import anchor_point, box_words, caption
from inference.annotate import AMBER, RED, WEIGHT, Area, Colour, Mark, annotated, as_jpeg, fits, font
from inference.pictures import Limits, Picture, decode
from rules.kinds import PictureSize
from rules.kinds.presence import polygon_of
from schemas.effective import RoiRules
from schemas.frames import MAX_FRAME_BYTES
from schemas.messages import Alert, Box

LIMITS: Final = Limits(max_bytes=MAX_FRAME_BYTES)
_WHITE: Final[Colour] = (255, 255, 255)
_NIGHT: Final[Colour] = (24, 24, 27)
_BETWEEN: Final = " · "
"""The parts of a line of the caption."""


def evidence_picture(jpeg: bytes, alert: Alert, roi: RoiRules | None, source: PictureSize, quality: int) -> bytes:
    """A JPEG as wide as the frame and higher by the strip of words. ``source``: the size of the camera's own picture.

    Raises `BadPicture` where the frame does not decode.
    """
    picture = decode(jpeg, LIMITS, ("jpeg",))
    areas = [] if roi is None else [Area(polygon_of(roi, source), alert.roi, AMBER)]
    drawn = annotated(picture, [Mark(alert.evidence.box, box_words(alert), RED)], areas)
    point = anchor_point(roi, alert.label, alert.evidence.box)
    if point is not None:
        _spot(drawn, *point, alert.evidence.box)
    return as_jpeg(np.vstack([drawn, _strip(caption(alert, roi), picture.shape[1])]), quality)


def _spot(drawn: Picture, x: float, y: float, box: Box) -> None:
    """So small that it leaves something to be seen of a small box, and whole also at the picture's edge."""
    height, width = drawn.shape[:2]
    side = min((box[2] - box[0]) * width, (box[3] - box[1]) * height)
    radius = max(2, min(max(4, round(max(width, height) / 200)), round(side / 5)))
    around = radius + max(1, radius // 3)
    at = (_within(around, round(x * width), width), _within(around, round(y * height), height))
    cv2.circle(drawn, at, around, _WHITE, -1, cv2.LINE_AA)
    cv2.circle(drawn, at, radius, RED, -1, cv2.LINE_AA)


def _within(least: int, place: int, size: int) -> int:
    return max(least, min(place, size - 1 - least))


def _strip(lines: tuple[str, ...], width: int) -> Picture:
    """The lines one under the other; one that is too long goes on in the next, so that letters stay legible."""
    pad = max(4, width // 100)
    letters = max(11, round(width / 55))
    rows = [row for line in lines for row in _rows(line, letters, width - 2 * pad)]
    step = round(letters * 1.4)
    strip = np.full((step * len(rows) + 2 * pad, width, 3), _NIGHT, np.uint8)
    for number, row in enumerate(rows):
        foot = pad + step * number + letters
        cv2.putText(strip, row, (pad, foot), _WHITE, font(), letters, WEIGHT)
    return strip


def _rows(line: str, letters: int, width: int) -> list[str]:
    """Broken between its parts where it can be, and within one that is too long for a row."""
    rows: list[str] = []
    row = ""
    for part in line.split(_BETWEEN):
        longer = row + _BETWEEN + part if row else part
        if row and fits(longer, letters, width) < len(longer):
            rows.append(row)
            longer = part
        row = longer
        while (count := max(1, fits(row, letters, width))) < len(row):
            rows.append(row[:count])
            row = row[count:]
    return [*rows, row]
