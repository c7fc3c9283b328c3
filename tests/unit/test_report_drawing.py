"""What is drawn over a picture lies where the rules judged, whatever the polygon's units and the picture's size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from replay.report.drawing import Drawing, drawing, roi_of
from rules.kinds import PictureSize
from schemas.effective import CameraRules, RoiRules
from schemas.messages import Evidence, FrameRef
from tests.support.histories import documents, roi, rules

SOURCE = PictureSize(1920, 1080)
SHOWN = PictureSize(640, 360)
EVIDENCE = Evidence(FrameRef("frames", 0, 1), (0.25, 0.5, 0.75, 1.0), 0.876, 1)
TRIANGLE = ((0.25, 0.25), (0.75, 0.25), (0.5, 1.0))


def drawn(before: RoiRules | str, after: RoiRules | str, source: PictureSize | None = SOURCE) -> Drawing:
    return drawing(SHOWN, source, EVIDENCE, "object", before, after)


@pytest.mark.parametrize(
    "same_place",
    [
        roi(points=TRIANGLE),
        roi(points=((480, 270), (1440, 270), (960, 1080)), units="pixels"),
        roi(points=((100, 50), (300, 50), (200, 200)), units="pixels", reference_size=(400, 200)),
    ],
    ids=["fractions", "pixels", "reference_size"],
)
def test_a_polygon_lies_at_its_place_in_whatever_units_it_is_written(same_place: RoiRules) -> None:
    assert drawn(same_place, "gone").before.points == "160.0,90.0 480.0,90.0 320.0,360.0"


def test_the_box_and_the_words_are_those_of_the_evidence() -> None:
    made = drawn(roi(), roi())
    assert made.box == (160.0, 180.0, 320.0, 180.0)
    assert made.words == "object 88 %"
    assert made.same


def test_each_side_has_its_own_anchor() -> None:
    after = roi(anchors={"object": "top_left"})
    made = drawn(roi(), after)
    assert (made.before.anchor, made.after.anchor) == ((320.0, 360.0), (160.0, 180.0))
    assert not made.same
    assert made.before.words == "anchor bottom_center"


def test_an_overlap_is_said_in_words() -> None:
    made = drawn(roi(anchors={"object": 0.3}), roi(anchors={"person": "center"}))
    assert (made.before.anchor, made.before.words) == (None, "30 % of the box must lie in it")
    assert (made.after.anchor, made.after.words) == (None, "object is not among its alert_classes")


def test_a_polygon_in_pixels_needs_the_size_of_the_cameras_picture() -> None:
    in_pixels = roi(points=((480, 270), (1440, 270), (960, 1080)), units="pixels")
    made = drawn(in_pixels, structs.replace(in_pixels, reference_size=(1920, 1080)), source=None)
    assert made.before.points == ""
    assert "not known" in made.before.words
    assert made.after.points == "160.0,90.0 480.0,90.0 320.0,360.0"


def test_a_side_without_the_roi_says_so() -> None:
    document = rules(roi("zone"), camera="cam_1")
    assert roi_of(document, "zone", "cam_1") == document.rois[0]
    assert roi_of(document, "other", "cam_1") == "the document has no ROI other"
    assert roi_of(None, "zone", "cam_1") == "no document of cam_1 is known"
    assert drawn("the document has no ROI other", roi()).before.words == "the document has no ROI other"


@given(documents(), st.sampled_from((None, SOURCE)))
def test_anything_that_can_be_judged_can_be_drawn(document: CameraRules, source: PictureSize | None) -> None:
    for each in document.rois:
        made = drawn(each, each, source)
        assert made.before.points or "not known" in made.before.words
