"""The forbidden ROI: units, anchors per label, bounds; and the registry that finds a kind by its file."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rules.kinds import PictureSize, presence, rule_kinds
from schemas.messages import Detection
from tests.support.histories import SQUARE, boxes, pixels, roi, rois
from tests.support.reference import lies_in

HD = PictureSize(1920, 1080)
LOADING_ZONE = ((100, 100), (500, 100), (500, 400), (100, 400))


def holds(area, box, size=HD, label="object"):
    return list(presence.locator([area], label, size)(box)) == [0]


def foot(x, y, size=HD):
    """A box in fractions whose bottom centre is at these pixels."""
    return ((x - 20) / size.width, (y - 80) / size.height, (x + 20) / size.width, y / size.height)


def test_every_kind_is_found_by_being_there():
    assert dict(rule_kinds()) == {"presence": presence}


def test_pixels_are_those_of_the_source_picture():
    area = roi(points=LOADING_ZONE, units="pixels")
    assert holds(area, foot(300, 400))
    assert not holds(area, foot(300, 401))
    small = PictureSize(640, 360)
    assert holds(area, foot(300, 300, small), small)
    assert holds(area, foot(1200, 900), HD) is False
    assert holds(area, foot(1200, 900), small)  # the same fractions, at 400, 300 of the smaller picture


def test_pixels_of_a_reference_size_scale_with_the_picture():
    area = roi(points=LOADING_ZONE, units="pixels", reference_size=HD)
    for size in (HD, PictureSize(640, 360), PictureSize(0, 0)):
        assert holds(area, foot(300, 300), size)
        assert not holds(area, foot(600, 300), size)


def test_fractions_need_no_size():
    area = roi(points=SQUARE)
    assert holds(area, (0.4, 0.4, 0.6, 0.5), PictureSize(0, 0))
    assert not presence.needs_size(area)


def test_pixels_of_a_picture_without_size_cannot_be_judged():
    with pytest.raises(
        ValueError, match="'zone' is in pixels of the source picture, and the event gives its size as 0 x"
    ):
        presence.locator([roi(points=LOADING_ZONE, units="pixels")], "object", PictureSize(0, 1080))


def test_a_label_may_have_an_anchor_of_its_own():
    area = roi(anchors={"object": "bottom_center", "person": {"overlap": 0.5}["overlap"]})
    box = (0.5, 0.5, 0.7, 0.8)  # its foot is below the square, five sixths of it inside
    assert not holds(area, box)
    assert holds(area, box, label="person")


def test_the_places_of_the_rois_that_hold_a_box_ascend():
    areas = [
        roi("a", anchors={"object": 0.1}),
        roi("b"),
        roi("far", points=((0.9, 0.9), (1, 0.9), (1, 1))),
        roi("c", anchors={"object": "center"}),
        roi("d", anchors={"object": 0.9}),
    ]
    assert list(presence.locator(areas, "object", HD)((0.4, 0.4, 0.6, 0.6))) == [0, 1, 3, 4]
    assert list(presence.locator(areas, "object", HD)((0.0, 0.0, 0.1, 0.1))) == []


def test_points_beyond_the_picture_are_told_and_judged_all_the_same():
    area = roi(points=((1000, 100), (2500, 100), (2500, 900), (1000, 900)), units="pixels")
    assert presence.out_of_bounds(area, HD)
    assert not presence.out_of_bounds(area, PictureSize(2500, 900))
    assert not presence.out_of_bounds(replace(area, reference_size=(2560, 1440)), HD)
    assert not presence.out_of_bounds(roi(), HD)
    assert holds(area, foot(1800, 500))


@settings(max_examples=80, deadline=None)
@given(st.lists(rois("zone"), min_size=1, max_size=4), boxes(), st.sampled_from(["object", "person"]))
def test_a_box_lies_where_shapely_sees_it(areas, box, label):
    size = PictureSize(1600, 800)
    expected = [place for place, area in enumerate(areas) if lies_in(Detection(label, 1.0, box), area, *size)]
    assert list(presence.locator(areas, label, size)(box)) == expected


def test_a_foot_on_the_drawn_edge_is_inside_at_every_common_size():
    """Box and polygon are divided by the size in the same way, so that a pixel on the edge stays on it."""
    for size in (HD, PictureSize(1280, 720), PictureSize(2592, 1944), PictureSize(704, 576), PictureSize(333, 777)):
        area = roi(points=pixels(SQUARE, size), units="pixels", anchors={"object": "bottom_left"})
        for y in range(size.height // 3, size.height // 2, 7):
            left = size.width * 0.25
            assert holds(area, (left / size.width, 0, 1, y / size.height), size)
