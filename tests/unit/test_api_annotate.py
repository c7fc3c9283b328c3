"""What is drawn stays legible and within the picture, whatever the boxes are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.annotate import AMBER, GREEN, RED, Area, Mark, annotated, as_jpeg, fits

GREY = np.full((90, 160, 3), 90, np.uint8)
fractions = st.floats(0, 1)


def test_boxes_polygons_and_words_are_drawn_on_a_copy():
    drawn = annotated(
        GREY, [Mark((0.3, 0.4, 0.6, 0.8), "object 90%", RED)], [Area([(0, 0), (1, 0), (1, 1)], "z", AMBER)]
    )
    assert (GREY == 90).all()
    assert drawn.shape == GREY.shape
    assert (drawn[40:70, 44:48] == RED).all(axis=-1).any(axis=1).all(), "a line along the box's left side, which is 48"
    assert (drawn != 90).any()
    assert as_jpeg(drawn).startswith(b"\xff\xd8\xff")


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(axis=-1)


def test_of_a_small_object_far_away_nothing_is_hidden():
    """Neither by its frame, nor by its own words, nor by the ROI's name."""
    picture = np.full((432, 768, 3), 90, np.uint8)
    box = (384, 216, 396, 230)
    fractions = (box[0] / 768, box[1] / 432, box[2] / 768, box[3] / 432)
    area = Area([(0.49, 0.53), (0.53, 0.53), (0.53, 0.6), (0.49, 0.6)], "loading_zone", AMBER)
    drawn = annotated(picture, [Mark(fractions, "object 87%", RED)], [area])
    assert (abs(drawn[box[1] + 2 : box[3] - 8, box[0] + 2 : box[2] - 2].astype(int) - 90) < 40).all()


@pytest.mark.parametrize("ground", [(5, 5, 5), (250, 250, 250), AMBER, RED])
def test_lines_show_on_every_ground(ground):
    """Those of the same colour as the ground by their dark edges."""
    picture = np.full((360, 640, 3), ground, np.uint8)
    corners = [(0.1, 0.2), (0.9, 0.2), (0.9, 0.9), (0.1, 0.9)]
    drawn = annotated(picture, [Mark((0.3, 0.3, 0.5, 0.8), "", RED)], [Area(corners, "", AMBER)]).astype(int)
    for name, x in (("the polygon", 64), ("the box", 192)):
        across = drawn[220, x - 8 : x + 8]
        assert (abs(across - ground).max(axis=-1) > 100).sum() >= 2, name


@pytest.mark.parametrize("box", [(0.3, 0.3, 0.5, 0.8), (0, 0, 0.1, 0.1), (0.9, 0.9, 1, 1), (0, 0, 1, 1)])
def test_the_words_of_a_box_and_the_name_of_its_roi_do_not_hide_one_another(box):
    corners = [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])]
    picture = np.full((360, 640, 3), 90, np.uint8)
    alone = [
        annotated(picture, [Mark(box, words, RED)], [Area(corners, name, AMBER)])
        for words, name in (("", "loading_zone"), ("object 87%", ""), ("object 87%", "loading_zone"))
    ]
    amber, red, both = (has(each, AMBER).sum() + has(each, RED).sum() for each in alone)
    plain = annotated(picture, [Mark(box, "", RED)], [Area(corners, "", AMBER)])
    lines = has(plain, AMBER).sum() + has(plain, RED).sum()
    assert both - lines > 0.8 * ((amber - lines) + (red - lines))


def test_a_name_that_is_wider_than_the_picture_ends_in_dots():
    assert fits("loading_zone", 11, 1000) == len("loading_zone")
    count = fits("W" * 100, 11, 160)
    assert 5 < count < 20
    assert fits("W" * 100, 11, 0) == 0


def test_nothing_seen_is_the_picture_itself():
    assert (annotated(GREY, []) == GREY).all()


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    box=st.tuples(fractions, fractions, fractions, fractions),
    points=st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)), min_size=3, max_size=6),
    words=st.text(max_size=30),
)
def test_no_box_polygon_or_word_breaks_it(width, height, box, points, words):
    picture = np.zeros((height, width, 3), np.uint8)
    drawn = annotated(picture, [Mark(box, words, GREEN)], [Area(points, words, AMBER)])
    assert drawn.shape == (height, width, 3)
