"""An alert's picture: polygon, box and anchor point drawn in, and a strip of words under it that hides nothing."""

from typing import Final

import cv2
import numpy as np

from evidence.telling import anchor_point, box_words, caption
from inference.annotate import AMBER, RED, WEIGHT, Area, Colour, Mark, annotated, as_jpeg, font
from inference.pictures import Limits, Picture, decode
from rules.kinds import PictureSize
from rules.kinds.presence import polygon_of
from schemas.effective import RoiRules
from schemas.frames import MAX_FRAME_BYTES
from schemas.messages import Alert

LIMITS: Final = Limits(max_bytes=MAX_FRAME_BYTES)
_WHITE: Final[Colour] = (255, 255, 255)
_NIGHT: Final[Colour] = (24, 24, 27)


def evidence_picture(jpeg: bytes, alert: Alert, roi: RoiRules | None, source: PictureSize, quality: int) -> bytes:
    """A JPEG as wide as the frame and higher by the strip of words. ``source``: the size of the camera's own picture.

    Raises `BadPicture` where the frame does not decode.
    """
    picture = decode(jpeg, LIMITS, ("jpeg",))
    areas = [] if roi is None else [Area(polygon_of(roi, source), alert.roi, AMBER)]
    drawn = annotated(picture, [Mark(alert.evidence.box, box_words(alert), RED)], areas)
    point = anchor_point(roi, alert.label, alert.evidence.box)
    if point is not None:
        _spot(drawn, *point)
    return as_jpeg(np.vstack([drawn, _strip(caption(alert, roi), picture.shape[1])]), quality)


def _spot(drawn: Picture, x: float, y: float) -> None:
    height, width = drawn.shape[:2]
    at = (min(round(x * width), width - 1), min(round(y * height), height - 1))
    radius = max(4, round(max(width, height) / 200))
    cv2.circle(drawn, at, radius + 2, _WHITE, -1, cv2.LINE_AA)
    cv2.circle(drawn, at, radius, RED, -1, cv2.LINE_AA)


def _strip(lines: tuple[str, ...], width: int) -> Picture:
    """The lines one under the other, in letters that are as large as fit."""
    pad = max(4, width // 100)
    wanted = max(11, round(width / 55))
    letters = min(_fitting(line, wanted, width - 2 * pad) for line in lines)
    step = round(letters * 1.4)
    strip = np.full((step * len(lines) + 2 * pad, width, 3), _NIGHT, np.uint8)
    for number, line in enumerate(lines):
        foot = pad + step * number + letters
        cv2.putText(strip, line, (pad, foot), _WHITE, font(), letters, WEIGHT)
    return strip


def _fitting(line: str, letters: int, width: int) -> int:
    (_, _, wide, _) = cv2.getTextSize((0, 0), line, (0, 0), font(), letters, WEIGHT)
    return letters if wide <= width else max(6, letters * width // wide)
