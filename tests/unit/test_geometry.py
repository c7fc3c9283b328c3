"""Points and boxes in polygons, held against shapely and against exact arithmetic."""

from fractions import Fraction
from math import atan2, nextafter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPoint, Point, Polygon
from shapely.geometry import box as rectangle

from rules.geometry import anchor_of, bounds_of, contains, edges_of, overlaps, to_fractions

SQUARE = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))
NOTCHED = ((0.125, 0.125), (0.875, 0.125), (0.875, 0.875), (0.5, 0.375), (0.125, 0.875))
HORSESHOE = ((0, 0), (1, 0), (1, 1), (0.75, 1), (0.75, 0.25), (0.25, 0.25), (0.25, 1), (0, 1))

FEW = settings(max_examples=120, deadline=None)


def inside(polygon, x, y):
    return contains(edges_of(polygon), x, y)


def floats(least, most):
    """Doubles, without those whose products underflow in shapely.

    Near them it sees a point on an edge that passes it by 1e-47, and 1.07 of a box inside a polygon.
    """
    return st.floats(least, most).map(lambda n: 0.0 if abs(n) < 1e-100 else n)


coordinates = st.one_of(st.integers(-2, 18).map(lambda n: n / 16), floats(-0.2, 1.2))
points = st.tuples(coordinates, coordinates)


@st.composite
def polygons(draw):
    """A simple polygon, often concave: drawn points in the order of their angle around an inner one."""
    corners = draw(st.lists(points, min_size=3, max_size=9, unique=True))
    middle = MultiPoint(corners).centroid
    ordered = tuple(sorted(corners, key=lambda p: (atan2(p[1] - middle.y, p[0] - middle.x), p)))
    polygon = Polygon(ordered)
    assume(polygon.is_valid and polygon.area > 1e-6)
    return ordered


@st.composite
def boxes(draw):
    xs = sorted(draw(st.tuples(floats(0, 1), floats(0, 1))))
    ys = sorted(draw(st.tuples(floats(0, 1), floats(0, 1))))
    return (xs[0], ys[0], xs[1], ys[1])


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0.5, 0.5, True),
        (0.25, 0.5, True),  # an upright edge
        (0.5, 0.25, True),  # a level edge
        (0.5, 0.75, True),
        (0.25, 0.25, True),  # corners
        (0.75, 0.75, True),
        (0.1, 0.25, False),  # beside a level edge, on its line
        (0.9, 0.75, False),
        (0.25, 0.76, False),
        (0.2499999999999999, 0.5, False),
    ],
)
def test_the_edge_counts_as_inside(x, y, expected):
    assert inside(SQUARE, x, y) is expected
    assert inside(SQUARE[::-1], x, y) is expected


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0.5, 0.374, True),
        (0.5, 0.375, True),  # the tip of the notch
        (0.5, 0.376, False),
        (0.3125, 0.625, True),  # on a slanted edge
        (0.125, 0.875, True),
        (0.0, 0.875, False),  # on the line of two tips
    ],
)
def test_a_notch_is_outside(x, y, expected):
    assert inside(NOTCHED, x, y) is expected


def test_the_slanted_edge_is_exact_where_floating_point_is_not():
    # 0.1, 0.2, 0.3 are not on one line as doubles: the middle lies below the line from (0, 0) to (0.3, 0.3) by nothing
    # and the point next to it by one unit in the last place.
    triangle = ((0.0, 0.0), (0.3, 0.3), (0.0, 0.3))
    assert inside(triangle, 0.1, 0.1)
    assert not inside(triangle, 0.10000000000000002, 0.1)
    assert inside(triangle, 0.09999999999999999, 0.1)


def exactly_inside(polygon, x, y):
    """The textbook's ray, in rational arithmetic."""
    x, y = Fraction(x), Fraction(y)
    odd = False
    corners = [(Fraction(a), Fraction(b)) for a, b in polygon]
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        cross = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        if cross == 0 and min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by):
            return True
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            odd = not odd
    return odd


@FEW
@given(polygons(), points)
def test_a_point_lies_where_shapely_and_rational_arithmetic_see_it(polygon, point):
    assert inside(polygon, *point) == exactly_inside(polygon, *point) == Polygon(polygon).covers(Point(point))


@FEW
@given(polygons(), st.data())
def test_a_point_within_a_rounding_error_of_an_edge_is_told_exactly(polygon, data):
    number = data.draw(st.integers(0, len(polygon) - 1))
    (ax, ay), (bx, by) = polygon[number - 1], polygon[number]
    share = data.draw(st.floats(0, 1))
    x, y = ax + share * (bx - ax), ay + share * (by - ay)
    assert inside(polygon, x, y) == exactly_inside(polygon, x, y)


@FEW
@given(st.lists(points, min_size=3, max_size=8, unique=True), st.data())
def test_a_roi_that_grows_never_loses_a_hit(corners, data):
    hull = MultiPoint(corners).convex_hull
    more = MultiPoint([*corners, *data.draw(st.lists(points, max_size=4))]).convex_hull
    assume(hull.geom_type == more.geom_type == "Polygon" and hull.area > 1e-6)
    small, large = tuple(hull.exterior.coords)[:-1], tuple(more.exterior.coords)[:-1]
    # shapely's hull may leave out a point that lies outside it by a rounding error; then it has not grown.
    assume(all(exactly_inside(large, *corner) for corner in small))
    x, y = data.draw(points)
    assert not inside(small, x, y) or inside(large, x, y)
    box, fraction = data.draw(boxes()), data.draw(st.floats(0.01, 1))
    assert not overlaps(edges_of(small), box, fraction) or overlaps(edges_of(large), box, fraction)


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        ("top_left", (0.125, 0.25)),
        ("top_center", (0.25, 0.25)),
        ("top_right", (0.375, 0.25)),
        ("center_left", (0.125, 0.5)),
        ("center", (0.25, 0.5)),
        ("center_right", (0.375, 0.5)),
        ("bottom_left", (0.125, 0.75)),
        ("bottom_center", (0.25, 0.75)),
        ("bottom_right", (0.375, 0.75)),
    ],
)
def test_the_nine_anchors(anchor, expected):
    assert anchor_of(anchor)((0.125, 0.25, 0.375, 0.75)) == expected


@pytest.mark.parametrize(
    ("polygon", "box", "fraction", "expected"),
    [
        (SQUARE, (0.3, 0.3, 0.4, 0.4), 1.0, True),  # wholly inside
        (SQUARE, (0.25, 0.25, 0.75, 0.75), 1.0, True),  # the same
        (SQUARE, (0.0, 0.25, 0.5, 0.75), 0.5, True),  # exactly half
        (SQUARE, (0.0, 0.25, 0.5, 0.75), 0.5000000000000001, False),
        (SQUARE, (0.0, 0.0, 0.5, 0.5), 0.25, True),  # exactly a quarter
        (SQUARE, (0.0, 0.0, 1.0, 1.0), 0.25, True),  # the polygon inside the box
        (SQUARE, (0.0, 0.0, 1.0, 1.0), 0.26, False),
        (SQUARE, (0.75, 0.25, 1.0, 0.75), 0.0001, False),  # side by side
        (SQUARE, (0.8, 0.8, 0.9, 0.9), 0.0001, False),
        (SQUARE, (0.5, 0.5, 0.5, 0.6), 0.1, False),  # no area
        (SQUARE, (0.6, 0.6, 0.5, 0.7), 0.1, False),  # right of left
        (HORSESHOE, (0.0, 0.5, 1.0, 1.0), 0.5, True),  # in two pieces, exactly half
        (HORSESHOE, (0.0, 0.5, 1.0, 1.0), 0.51, False),
        (HORSESHOE, (0.3, 0.5, 0.7, 1.0), 0.01, False),  # between the legs
        (((0, 0), (1, 0), (0, 1)), (0.0, 0.0, 1.0, 1.0), 0.5, True),
        (((0, 0), (1, 0), (0, 1)), (0.25, 0.25, 0.75, 0.75), 0.5, True),  # cut along its diagonal
        (((0, 0), (3, 0), (0, 3)), (0.1, 0.1, 0.7, 0.3), 1.0, True),  # no edge near
    ],
)
def test_overlap_is_a_fraction_of_the_boxs_area(polygon, box, fraction, expected):
    assert overlaps(edges_of(polygon), box, fraction) is expected
    assert overlaps(edges_of(polygon[::-1]), box, fraction) is expected


@FEW
@given(polygons(), boxes(), st.floats(0.01, 1))
def test_overlap_is_that_of_shapely(polygon, box, fraction):
    shape = rectangle(*box)
    assume(shape.area > 1e-9)
    share = Polygon(polygon).intersection(shape).area / shape.area
    assume(abs(share - fraction) > 1e-6)
    assert overlaps(edges_of(polygon), box, fraction) == (share >= fraction)


@FEW
@given(polygons(), boxes(), st.integers(1, 100))
def test_overlap_at_the_very_fraction_is_enough(polygon, box, percent):
    """Where float and exact arithmetic meet: the exact share itself, and the double next above it."""
    fraction = percent / 100
    assume(box[2] > box[0] and box[3] > box[1])
    at, above = overlaps(edges_of(polygon), box, fraction), overlaps(edges_of(polygon), box, nextafter(fraction, 2))
    assert at or not above


def test_pixels_become_the_nearest_fractions():
    assert to_fractions(((0, 0), (1920, 0), (1920, 1080), (100, 400)), 1920, 1080) == (
        (0, 0),
        (1, 0),
        (1, 1),
        (100 / 1920, 400 / 1080),
    )


def test_bounds_and_edges():
    assert bounds_of(NOTCHED) == (0.125, 0.125, 0.875, 0.875)
    assert edges_of(((0, 0), (1, 0), (0, 1))) == ((0, 0, 1, 0), (1, 0, 0, 1), (0, 1, 0, 0))
