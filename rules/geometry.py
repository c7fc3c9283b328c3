"""Whether a box lies in a polygon. Fractions of the picture, x right, y down.

Every answer is the exact one for the floats it is given: floating point decides where it is certain, rational
arithmetic where it is not. So there is no tolerance, the edge is inside wherever the polygon is drawn, and two
machines agree. What is rounded before that, once and in a stated way: a polygon's pixels divided by the picture's
size (`to_fractions`), and the middle of a box (`anchor_of`).
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final, TypeVar

from schemas.effective import AnchorPoint, Point
from schemas.messages import Box

Polygon = tuple[Point, ...]
Edge = tuple[float, float, float, float]
"""From (x, y) to (x, y)."""

Number = TypeVar("Number", float, Fraction)

Bounds = tuple[float, float, float, float]
"""Left, top, right, bottom of a polygon."""

_ORIENTATION_ERROR: Final = 3.4e-16
"""Bound of the rounding error of a 2×2 determinant, as a fraction of the sum of its products' sizes: (3 + 16ε)ε with
ε = 2⁻⁵³, rounded up (J. R. Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997)."""

_UNDERFLOW: Final = 1e-300
"""Products smaller than this may have lost digits, or everything."""

_AREA_ERROR: Final = 1e-9
"""A clipped area nearer than this to the asked fraction is computed again exactly. With the polygon at most 10⁵ box
sizes away (`_SMALL_BOX`) each clipped coordinate is good to about 10⁻¹¹ of the box."""

_SMALL_BOX: Final = 1e-4
"""A box narrower or lower than this fraction of the picture (under half a pixel of a 4K one) is computed exactly."""


def to_fractions(points: Sequence[Point], width: float, height: float) -> Polygon:
    """The points, given in pixels of a picture of this size, as fractions of it (each the nearest double)."""
    return tuple((x / width, y / height) for x, y in points)


def bounds_of(polygon: Polygon) -> Bounds:
    """The smallest upright rectangle around the polygon."""
    xs = [x for x, _ in polygon]
    ys = [y for _, y in polygon]
    return min(xs), min(ys), max(xs), max(ys)


def edges_of(polygon: Polygon) -> tuple[Edge, ...]:
    """The polygon's edges, the closing one last."""
    return tuple((*start, *end) for start, end in zip(polygon, polygon[1:] + polygon[:1], strict=True))


def _left(box: Box) -> float:
    return box[0]


def _right(box: Box) -> float:
    return box[2]


def _center(box: Box) -> float:
    return (box[0] + box[2]) / 2


def _top(box: Box) -> float:
    return box[1]


def _bottom(box: Box) -> float:
    return box[3]


def _middle(box: Box) -> float:
    return (box[1] + box[3]) / 2


_ACROSS: Final = {"left": _left, "center": _center, "right": _right}
_DOWN: Final = {"top": _top, "center": _middle, "bottom": _bottom}


def anchor_of(anchor: AnchorPoint) -> Callable[[Box], Point]:
    """How to find the anchor on a box: one of its corners, the middle of a side, or its centre."""
    down, _, across = anchor.partition("_")
    x_of = _ACROSS[across or "center"]
    y_of = _DOWN[down]
    if anchor == "bottom_center":  # the default, asked of almost every box

        def bottom_center(box: Box) -> Point:
            return (box[0] + box[2]) / 2, box[3]

        return bottom_center
    return lambda box: (x_of(box), y_of(box))


def contains(edges: Sequence[Edge], x: float, y: float) -> bool:
    """Whether the point lies in the polygon with these edges or on one of them.

    A ray to the right is crossed an odd number of times from inside. An edge counts its upper end and not its lower,
    so that a vertex is crossed once; points on vertices and level edges, which that skips, are found by comparing.
    """
    inside = False
    for ax, ay, bx, by in edges:
        if ay <= y:
            if by <= y:
                # Not crossed. It may still hold the point: at its start, or along it where it is level.
                if ay == y and (ax == x or (by == y and (ax < x <= bx or bx <= x < ax))):
                    return True
                continue
            if ay == y and ax == x:
                return True
        elif by > y:
            continue
        # One end above, the other on or below: the sign says on which side of the edge the point lies.
        forth = (bx - ax) * (y - ay)
        back = (by - ay) * (x - ax)
        side = forth - back
        limit = _ORIENTATION_ERROR * (abs(forth) + abs(back)) + _UNDERFLOW
        if -limit <= side <= limit:
            side = _exact_side(ax, ay, bx, by, x, y)
            if side == 0:
                return True
        if (side > 0) == (by > ay):
            inside = not inside
    return inside


def _exact_side(ax: float, ay: float, bx: float, by: float, x: float, y: float) -> int:
    a, b, c, d = Fraction(ax), Fraction(ay), Fraction(x), Fraction(y)
    side = (Fraction(bx) - a) * (d - b) - (Fraction(by) - b) * (c - a)
    return (side > 0) - (side < 0)


def overlaps(edges: Sequence[Edge], box: Box, fraction: float) -> bool:
    """Whether at least this fraction of the box's area lies in the polygon. A box without area never does."""
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        return False
    # An edge whose ends both lie on one outer side of the box does not enter it. Where none enters, the box lies
    # wholly inside or wholly outside, and its centre tells which.
    for ax, ay, bx, by in edges:
        if not (
            (ax <= left and bx <= left)
            or (ax >= right and bx >= right)
            or (ay <= top and by <= top)
            or (ay >= bottom and by >= bottom)
        ):
            break
    else:
        return contains(edges, (left + right) / 2, (top + bottom) / 2)
    # The box becomes the unit square, so that the clipped area is the fraction.
    across, down = right - left, bottom - top
    if across >= _SMALL_BOX and down >= _SMALL_BOX:
        over = _area_in_unit_square([((x - left) / across, (y - top) / down) for x, y, _, _ in edges]) - fraction
        if abs(over) > _AREA_ERROR:
            return over > 0
    x0, y0 = Fraction(left), Fraction(top)
    wide, high = Fraction(right) - x0, Fraction(bottom) - y0
    return _area_in_unit_square(
        [((Fraction(x) - x0) / wide, (Fraction(y) - y0) / high) for x, y, _, _ in edges]
    ) >= Fraction(fraction)


def _area_in_unit_square(points: list[tuple[Number, Number]]) -> Number:
    """The area that the polygon shares with the unit square, by Sutherland and Hodgman's clipping.

    The square is convex, so the clipped area is right for a concave polygon too: where it falls apart, the pieces hang
    together by edges without area.
    """
    points = _clipped_from_zero(points)  # left
    points = _clipped_from_zero([(1 - x, y) for x, y in points])  # right, mirrored
    points = _clipped_from_zero([(y, x) for x, y in points])  # top, turned
    points = _clipped_from_zero([(1 - y, x) for y, x in points])  # bottom, turned and mirrored
    twice = points[0][0] * 0 if points else 0  # a zero of the points' own kind
    for i in range(len(points)):  # the shoelace formula
        twice += points[i - 1][0] * points[i][1] - points[i][0] * points[i - 1][1]
    area = twice / 2
    return -area if area < 0 else area  # type: ignore[return-value]  # a Number halved is of its own kind


def _clipped_from_zero(points: list[tuple[Number, Number]]) -> list[tuple[Number, Number]]:
    """The part of the polygon whose first coordinate is not negative."""
    kept: list[tuple[Number, Number]] = []
    for i in range(len(points)):
        (ax, ay), (bx, by) = points[i - 1], points[i]
        if (ax < 0) != (bx < 0):
            kept.append((ax * 0, ay + (by - ay) * (ax / (ax - bx))))
        if bx >= 0:
            kept.append((bx, by))
    return kept
