"""Letterbox, suppression and what is recorded of a box."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import boxes
from inference.boxes import Found, Letterbox, letterbox
from schemas.messages import Detection

sides = st.integers(1, 5000)
fractions = st.floats(0, 1, allow_nan=False)


@given(st.tuples(sides, sides), st.tuples(sides, sides))
def test_a_picture_fits_its_input_and_touches_two_edges(picture: tuple[int, int], size: tuple[int, int]) -> None:
    place = letterbox(picture, size)
    assert place.left >= 0
    assert place.top >= 0
    assert place.left + place.width <= size[0]
    assert place.top + place.height <= size[1]
    assert place.width == size[0] or place.height == size[1]


@given(st.tuples(sides, sides), st.tuples(sides, sides))
def test_the_aspect_ratio_is_kept_to_a_pixel(picture: tuple[int, int], size: tuple[int, int]) -> None:
    place = letterbox(picture, size)
    scale = min(size[0] / picture[0], size[1] / picture[1])
    assert abs(place.width - max(1, picture[0] * scale)) <= 0.5
    assert abs(place.height - max(1, picture[1] * scale)) <= 0.5


@pytest.mark.parametrize(
    ("picture", "size", "place"),
    [
        ((1280, 720), (640, 640), Letterbox(0, 140, 640, 360)),
        ((720, 1280), (640, 640), Letterbox(140, 0, 360, 640)),
        ((640, 384), (640, 384), Letterbox(0, 0, 640, 384)),
        ((320, 180), (640, 384), Letterbox(0, 12, 640, 360)),  # made larger
        ((768, 432), (640, 640), Letterbox(0, 140, 640, 360)),
        ((1000, 1), (640, 640), Letterbox(0, 319, 640, 1)),  # never less than a pixel
    ],
)
def test_letterboxes_seen_before(picture: tuple[int, int], size: tuple[int, int], place: Letterbox) -> None:
    assert letterbox(picture, size) == place


@given(st.tuples(sides, sides), st.tuples(sides, sides), st.tuples(fractions, fractions, fractions, fractions))
def test_fractions_come_back_through_the_letterbox(
    picture: tuple[int, int], size: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    place = letterbox(picture, size)
    there = boxes.to_input(np.array([box]), place)
    assert boxes.to_fractions(there, place)[0].tolist() == pytest.approx(box, abs=1e-9)


def test_what_lies_on_the_bars_is_clipped_to_the_picture() -> None:
    place = letterbox((1280, 720), (640, 640))
    assert boxes.to_fractions(np.array([[-5.0, 0.0, 700.0, 640.0]]), place)[0].tolist() == [0.0, 0.0, 1.0, 1.0]


coordinates = st.integers(0, 20)


@st.composite
def founds(draw: st.DrawFn) -> Found:
    """Boxes on a coarse grid, so that equal confidences, equal boxes and boxes without area do occur."""
    rows = draw(
        st.lists(
            st.tuples(coordinates, coordinates, coordinates, coordinates, st.integers(0, 10), st.integers(0, 2)),
            max_size=25,
        )
    )
    corners = np.array([[x, y, x + w, y + h] for x, y, w, h, _, _ in rows], dtype=np.float64).reshape(-1, 4)
    return Found(
        corners,
        np.array([confidence / 10 for *_, confidence, _ in rows]),
        np.array([number for *_, number in rows], dtype=np.intp),
    )


def plain_iou(one: list[float], other: list[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared
    return shared / union if union > 0 else 0.0


def plain_suppression(found: Found, iou: float) -> list[int]:
    """The definition, one pair at a time: best first, and a box stays unless a kept one of its class covers it."""
    kept: list[int] = []
    for number in sorted(range(len(found.corners)), key=lambda each: (-found.confidences[each], each)):
        if all(
            found.classes[number] != found.classes[other]
            or plain_iou(found.corners[number].tolist(), found.corners[other].tolist()) <= iou
            for other in kept
        ):
            kept.append(number)
    return sorted(kept)


@given(founds(), st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]))
def test_suppression_is_that_of_the_definition(found: Found, iou: float) -> None:
    expected = plain_suppression(found, iou)
    kept = boxes.suppress(found, iou)
    assert kept.corners.tolist() == found.corners[expected].tolist()
    assert kept.confidences.tolist() == found.confidences[expected].tolist()
    assert kept.classes.tolist() == found.classes[expected].tolist()


@given(founds())
def test_suppressing_twice_changes_nothing(found: Found) -> None:
    once = boxes.suppress(found, 0.5)
    assert boxes.suppress(once, 0.5).corners.tolist() == once.corners.tolist()


def test_a_dense_output_speaks_for_its_best_class_above_the_floor() -> None:
    output = np.zeros((6, 3), dtype=np.float32)  # 4 + 2 classes, 3 anchors
    output[:, 0] = [100, 50, 20, 10, 0.2, 0.8]
    output[:, 1] = [10, 10, 4, 4, 0.3, 0.1]
    output[:, 2] = [10, 10, 4, 4, 0.05, 0.09]
    found = boxes.read_dense(output, 0.1)
    assert found.corners.tolist() == [[90, 45, 110, 55], [8, 8, 12, 12]]
    assert found.classes.tolist() == [1, 0]
    assert found.confidences.tolist() == pytest.approx([0.8, 0.3])


def test_of_very_many_candidates_the_most_confident_are_looked_at() -> None:
    count = boxes.MAX_CANDIDATES + 500
    output = np.zeros((5, count), dtype=np.float32)
    output[4] = np.linspace(0.2, 0.9, count)
    found = boxes.read_dense(output, 0.1)
    assert len(found.confidences) == boxes.MAX_CANDIDATES
    assert found.confidences.min() == pytest.approx(output[4, 500])


def test_a_sparse_output_is_read_as_it_stands() -> None:
    output = np.array([[1, 2, 3, 4, 0.5, 1], [0, 0, 9, 9, 0.05, 0], [0, 0, 0, 0, 0, 0]], dtype=np.float32)
    found = boxes.read_sparse(output, 0.1)
    assert found.corners.tolist() == [[1, 2, 3, 4]]
    assert (found.confidences.tolist(), found.classes.tolist()) == ([0.5], [1])


def test_detections_are_sorted_rounded_and_sound() -> None:
    rows = [
        (0.1, 0.1, 0.2, 0.2, 0.5, 1),
        (0.3, 0.1, 0.4, 0.2, 0.5, 0),
        (0.12345678, 0.0, 0.9, 1.0, 0.98765432, 0),
        (0.5, 0.5, 0.5, 0.9, 0.9, 0),  # no area
        (0.1, 0.1, 0.2, 0.2, 0.04, 0),  # below the floor
        (math.nan, 0.1, 0.2, 0.2, 0.9, 0),
        (0.1, 0.1, 0.2, 0.2, math.nan, 0),
        (0.1, 0.1, 0.2, 0.2, 0.9, 7),  # a class without a label
        (-3.0, -math.inf, math.inf, 5.0, 1.5, 1),
    ]
    found = Found(
        np.array([row[:4] for row in rows]),
        np.array([row[4] for row in rows]),
        np.array([row[5] for row in rows], dtype=np.intp),
    )
    assert boxes.detections(found, ("pine", "worker"), 0.1) == (
        Detection("worker", 1.0, (0.0, 0.0, 1.0, 1.0)),
        Detection("pine", 0.987654, (0.123457, 0.0, 0.9, 1.0)),
        Detection("pine", 0.5, (0.3, 0.1, 0.4, 0.2)),
        Detection("worker", 0.5, (0.1, 0.1, 0.2, 0.2)),
    )


@given(st.lists(st.tuples(fractions, fractions, fractions, fractions, fractions), max_size=20), fractions)
def test_every_recorded_detection_keeps_the_promises_of_its_event(
    rows: list[tuple[float, float, float, float, float]], floor: float
) -> None:
    found = Found(
        np.array([row[:4] for row in rows]).reshape(-1, 4),
        np.array([row[4] for row in rows]),
        np.zeros(len(rows), dtype=np.intp),
    )
    kept = boxes.detections(found, ("pine",), floor)
    assert [each.confidence for each in kept] == sorted((each.confidence for each in kept), reverse=True)
    for each in kept:
        x1, y1, x2, y2 = each.box
        assert 0 <= x1 < x2 <= 1
        assert 0 <= y1 < y2 <= 1
        assert floor <= each.confidence <= 1
