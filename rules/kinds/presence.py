"""The forbidden ROI: a box of an alert class whose anchor, or enough of whose area, lies in the polygon is a hit."""

from collections.abc import Callable, Sequence

from rules.geometry import Bounds, Edge, Polygon, anchor_of, bounds_of, contains, edges_of, overlaps, to_fractions
from rules.kinds import Locate, PictureSize
from schemas.effective import AnchorPoint, CameraRules, Point, RoiRules
from schemas.messages import Box

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
    by_anchor: dict[AnchorPoint, list[tuple[Bounds, tuple[Edge, ...], int]]] = {}
    by_overlap: list[tuple[Bounds, tuple[Edge, ...], float, int]] = []
    for place, roi in enumerate(rois):
        polygon = polygon_of(roi, size)
        anchor = roi.anchors[label]
        if isinstance(anchor, str):
            by_anchor.setdefault(anchor, []).append((bounds_of(polygon), edges_of(polygon), place))
        else:
            by_overlap.append((bounds_of(polygon), edges_of(polygon), anchor, place))
    if len(by_anchor) == 1 and not by_overlap:
        ((anchor, areas),) = by_anchor.items()
        return _by_one_anchor(anchor_of(anchor), areas)
    return _by_any([(anchor_of(anchor), areas) for anchor, areas in by_anchor.items()], by_overlap)


def _by_one_anchor(point_on: Callable[[Box], Point], areas: list[tuple[Bounds, tuple[Edge, ...], int]]) -> Locate:
    def locate(box: Box) -> Sequence[int]:
        x, y = point_on(box)
        found: list[int] | None = None
        for (left, top, right, bottom), edges, place in areas:
            if left <= x <= right and top <= y <= bottom and contains(edges, x, y):
                if found is None:
                    found = [place]
                else:
                    found.append(place)
        return _NONE if found is None else found

    return locate


def _by_any(
    groups: list[tuple[Callable[[Box], Point], list[tuple[Bounds, tuple[Edge, ...], int]]]],
    by_overlap: list[tuple[Bounds, tuple[Edge, ...], float, int]],
) -> Locate:
    located = [_by_one_anchor(point_on, areas) for point_on, areas in groups]

    def locate(box: Box) -> Sequence[int]:
        found = [place for each in located for place in each(box)]
        x1, y1, x2, y2 = box
        for (left, top, right, bottom), edges, fraction, place in by_overlap:
            if x1 < right and left < x2 and y1 < bottom and top < y2 and overlaps(edges, box, fraction):
                found.append(place)
        found.sort()
        return found

    return locate
