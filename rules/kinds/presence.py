"""The forbidden ROI: a box of an alert class whose anchor, or enough of whose area, lies in the polygon is a hit."""

from collections.abc import Sequence

from rules.geometry import Edge, Polygon, anchor_of, bounds_of, contains, edges_of, overlaps, to_fractions
from rules.kinds import Locate, PictureSize
from schemas.effective import AnchorPoint, CameraRules, RoiRules
from schemas.messages import Box

Area = tuple[float, float, float, float, tuple[Edge, ...], int]
"""A ROI's polygon: its bounds (left, top, right, bottom), its edges, and the ROI's place in the list."""

_NONE: tuple[int, ...] = ()


def rois_of(rules: CameraRules) -> tuple[RoiRules, ...]:
    """All of them: it is the only kind yet."""
    return rules.rois


def needs_size(roi: RoiRules) -> bool:
    """Pixels without a reference size are those of the picture itself."""
    return roi.units == "pixels" and roi.reference_size is None


def out_of_bounds(roi: RoiRules, size: PictureSize) -> bool:
    """Whether a point lies outside the picture; with a reference size or fractions the document was checked for it."""
    return needs_size(roi) and any(not (0 <= x <= size.width and 0 <= y <= size.height) for x, y in roi.points)


def polygon_of(roi: RoiRules, size: PictureSize) -> Polygon:
    """The ROI's polygon in fractions of the picture."""
    if roi.units == "fractions":
        return roi.points
    width, height = roi.reference_size or size
    if width <= 0 or height <= 0:
        raise ValueError(
            f"roi {roi.name!r} is in pixels of the source picture, and the event gives its size as {width} x {height}"
        )
    return to_fractions(roi.points, width, height)


def locator(rois: Sequence[RoiRules], label: str, size: PictureSize) -> Locate:
    """Bounding boxes first: of ten ROIs most are told apart from a box by four comparisons."""
    by_anchor: dict[AnchorPoint, list[Area]] = {}
    by_overlap: list[tuple[Area, float]] = []
    for place, roi in enumerate(rois):
        polygon = polygon_of(roi, size)
        area = (*bounds_of(polygon), edges_of(polygon), place)
        anchor = roi.anchors[label]
        if isinstance(anchor, str):
            by_anchor.setdefault(anchor, []).append(area)
        else:
            by_overlap.append((area, anchor))
    located = [_by_anchor(anchor, areas) for anchor, areas in by_anchor.items()]
    if len(located) == 1 and not by_overlap:
        return located[0]
    return _by_any(located, by_overlap)


def _by_anchor(anchor: AnchorPoint, areas: list[Area]) -> Locate:
    point_on = anchor_of(anchor)

    def locate(box: Box) -> Sequence[int]:
        x, y = point_on(box)
        found: list[int] | None = None
        for left, top, right, bottom, edges, place in areas:
            if left <= x <= right and top <= y <= bottom and contains(edges, x, y):
                if found is None:
                    found = [place]
                else:
                    found.append(place)
        return found or _NONE

    return locate


def _by_any(located: list[Locate], by_overlap: list[tuple[Area, float]]) -> Locate:
    def locate(box: Box) -> Sequence[int]:
        found = [place for each in located for place in each(box)]
        x1, y1, x2, y2 = box
        for (left, top, right, bottom, edges, place), fraction in by_overlap:
            if x1 < right and left < x2 and y1 < bottom and top < y2 and overlaps(edges, box, fraction):
                found.append(place)
        found.sort()
        return found

    return locate
