"""A differing alert's picture, and what is drawn over it: both polygons, the box, the anchor points. Pure.

Places are in pixels of the picture. It is drawn by the page, not into the picture: so it stays sharp at any size, and
words have all letters.
"""

from typing import Final

from msgspec import Struct

from replay.diff import Difference
from replay.report.words import percent
from rules.geometry import anchor_of
from rules.kinds import PictureSize
from rules.kinds.presence import needs_size, polygon_of
from schemas.effective import Anchor, CameraRules, Point, RoiRules
from schemas.messages import Evidence

_BEYOND: Final = 4.0
"""Points farther outside the picture than so many pictures are drawn there: browsers lose count with huge numbers."""


class Picture(Struct, frozen=True):
    """``evidence``: which side's it shows. ``source_size``: the camera's own, where it is known. ``words``: whence."""

    jpeg: bytes
    size: PictureSize
    source_size: PictureSize | None
    evidence: Evidence
    words: str


class Outline(Struct, frozen=True):
    """One side's ROI. ``points`` as SVG wants them, empty where it cannot be placed: ``words`` say why, or its rule."""

    points: str
    words: str
    anchor: Point | None


class Drawing(Struct, frozen=True):
    """``width`` and ``height`` of the picture; ``box`` left, top, width, height. ``same``: both outlines are equal."""

    width: int
    height: int
    before: Outline
    after: Outline
    same: bool
    box: tuple[float, float, float, float]
    words: str


def evidence_of(difference: Difference) -> tuple[Evidence, ...]:
    """The evidence of the candidate's alert, then that of the one before, where they differ."""
    found = [alert.evidence for alert in (difference.after, difference.before) if alert is not None]
    return tuple(dict.fromkeys(found))


def drawing(
    size: PictureSize,
    source: PictureSize | None,
    evidence: Evidence,
    label: str,
    before: RoiRules | str,
    after: RoiRules | str,
) -> Drawing:
    """``size``: of the picture shown; ``source``: of the camera's picture at that time, None where it is not known.

    A side is its ROI, or a word about why there is none.
    """
    ours = _outline(size, source, evidence, label, before)
    theirs = _outline(size, source, evidence, label, after)
    left, top, right, bottom = evidence.box
    return Drawing(
        width=size.width,
        height=size.height,
        before=ours,
        after=theirs,
        same=ours == theirs and ours.points != "",
        box=(
            round(left * size.width, 1),
            round(top * size.height, 1),
            round((right - left) * size.width, 1),
            round((bottom - top) * size.height, 1),
        ),
        words=f"{label} {percent(evidence.confidence)}",
    )


def roi_of(document: CameraRules | None, name: str, camera_id: str) -> RoiRules | str:
    """The ROI in the document, or a word about why there is none."""
    if document is None:
        return f"no document of {camera_id} is known"
    return next((roi for roi in document.rois if roi.name == name), f"the document has no ROI {name}")


def _outline(
    size: PictureSize, source: PictureSize | None, evidence: Evidence, label: str, roi: RoiRules | str
) -> Outline:
    if isinstance(roi, str):
        return Outline("", roi, None)
    if source is None and needs_size(roi):
        return Outline("", "cannot be placed: the size of the camera's picture is not known", None)
    polygon = polygon_of(roi, source or size)
    points = " ".join(f"{_pixels(x, size.width)},{_pixels(y, size.height)}" for x, y in polygon)
    anchor = roi.anchors.get(label)
    point = None
    if isinstance(anchor, str):
        x, y = anchor_of(anchor)(evidence.box)
        point = (_pixels(x, size.width), _pixels(y, size.height))
    return Outline(points, _rule(anchor, label), point)


def _rule(anchor: Anchor | None, label: str) -> str:
    if anchor is None:
        return f"{label} is not among its alert_classes"
    if isinstance(anchor, str):
        return f"anchor {anchor}"
    return f"{percent(anchor)} of the box must lie in it"


def _pixels(fraction: float, length: int) -> float:
    return round(min(max(fraction, -_BEYOND), 1 + _BEYOND) * length, 1)
