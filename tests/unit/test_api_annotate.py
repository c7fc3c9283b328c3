"""What is drawn stays legible and within the picture, whatever the boxes are."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.annotate import AMBER, GREEN, RED, Area, Mark, annotated, as_jpeg

GREY = np.full((90, 160, 3), 90, np.uint8)
fractions = st.floats(0, 1)


def test_boxes_polygons_and_words_are_drawn_on_a_copy():
    drawn = annotated(
        GREY, [Mark((0.3, 0.4, 0.6, 0.8), "object 90%", RED)], [Area([(0, 0), (1, 0), (1, 1)], "z", AMBER)]
    )
    assert (GREY == 90).all()
    assert drawn.shape == GREY.shape
    assert (drawn[round(0.4 * 90) : round(0.8 * 90), round(0.3 * 160)] == RED).all(axis=-1).any()
    assert (drawn != 90).any()
    assert as_jpeg(drawn).startswith(b"\xff\xd8\xff")


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
