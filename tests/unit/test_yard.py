"""The synthetic yard: one truth per instant, and a story that a detector can be held to."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.yard import Truth, Yard, anchor_distance
from demos.yard.incidents import outside_things
from demos.yard.layout import border_distance

CLEAR = 0.04  # fractions of the picture that an object's foot keeps from the border
STEP_MS = 80
SMALL = {"width": 320, "height": 180}


@lru_cache(maxsize=8)
def minute(seed: int, camera: str) -> tuple[Yard, list[tuple[int, list[Truth]]]]:
    yard = Yard(seed, camera, **SMALL)
    return yard, [(t_ms, yard.truths(t_ms)) for t_ms in range(0, 60_000, STEP_MS)]


STORIES = [(7, "yard_gate"), (11, "yard_saw"), (3, "yard_dock")]


@pytest.mark.parametrize("night", [True, False])
def test_the_same_instant_is_the_same_picture_whatever_was_asked_before(night: bool) -> None:
    asked, fresh = (Yard(7, "yard_gate", night=night, **SMALL) for _ in range(2))
    for t_ms in (50_000, 400, 33_333):
        asked.at(t_ms)
    picture, truths = asked.at(12_345)
    again, same = fresh.at(12_345)
    assert picture.tobytes() == again.tobytes()
    assert truths == same == fresh.truths(12_345)
    assert picture.shape == (180, 320, 3)
    assert picture.dtype == np.uint8


def test_cameras_seeds_and_instants_differ() -> None:
    pictures = [
        Yard(7, "yard_gate", **SMALL).at(9_000)[0],
        Yard(7, "yard_saw", **SMALL).at(9_000)[0],
        Yard(8, "yard_gate", **SMALL).at(9_000)[0],
        Yard(7, "yard_gate", **SMALL).at(9_040)[0],
    ]
    assert len({picture.tobytes() for picture in pictures}) == 4


def test_night_is_darker_than_day() -> None:
    night, day = (Yard(7, "yard_gate", night=dark, **SMALL).at(9_000)[0].mean() for dark in (True, False))
    assert night < 0.7 * day


def test_the_scene_does_not_depend_on_the_size_of_the_picture() -> None:
    small, large = Yard(7, "yard_gate", **SMALL), Yard(7, "yard_gate", width=640, height=360)
    assert small.incidents(60_000) == large.incidents(60_000)
    for few, many in zip(small.at(9_000)[1], large.at(9_000)[1], strict=True):
        assert few.label == many.label
        assert few.box == pytest.approx(many.box, abs=0.01)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), t_ms=st.integers(0, 7_200_000))
def test_boxes_lie_in_the_picture_and_labels_are_known(seed: int, t_ms: int) -> None:
    _, truths = Yard(seed, "yard_gate", **SMALL).at(t_ms)
    for truth in truths:
        x1, y1, x2, y2 = truth.box
        assert 0.0 <= x1 < x2 <= 1.0
        assert 0.0 <= y1 < y2 <= 1.0
        assert 0.0 < truth.visible <= 1.0
        assert truth.label in {"object", "pine", "worker"}


@pytest.mark.parametrize(("seed", "camera"), STORIES)
def test_a_box_holds_what_was_painted(seed: int, camera: str) -> None:
    """The picture with a thing differs from the picture without it inside the thing's box, and little elsewhere."""
    yard = Yard(seed, camera, night=False, width=640, height=360)
    t_ms = yard.incident(0).starts_ms + 3_000
    things = yard.things(t_ms)
    for left_out, thing in enumerate(things):
        if thing.label is None:
            continue
        alone, truths = yard.compose([thing], t_ms)
        if not truths or truths[0].visible < 0.9:
            continue
        empty, _ = yard.compose([], t_ms)
        changed = np.abs(alone.astype(int) - empty.astype(int)).max(axis=2) > 12
        x1, y1, x2, y2 = (round(edge * size) for edge, size in zip(truths[0].box, (640, 360, 640, 360), strict=True))
        assert changed[y1:y2, x1:x2].mean() > 0.2, things[left_out]
        # Outside the box only the shadow: it lies at the thing's foot, never over its head.
        assert changed[: max(0, y1 - 2)].mean() < 0.002


@pytest.mark.parametrize(("seed", "camera"), STORIES)
def test_incidents_are_what_the_truth_shows(seed: int, camera: str) -> None:
    """A foreign object's foot is in the forbidden polygon exactly while an incident lasts."""
    yard, story = minute(seed, camera)
    incidents = yard.incidents(60_000)
    wrong = 0
    for t_ms, truths in story:
        inside = any(truth.label == "object" and anchor_distance(yard, truth) >= 0 for truth in truths)
        wrong += inside != any(incident.starts_ms <= t_ms < incident.ends_ms for incident in incidents)
    # Rounding at a border that is crossed at full speed may cost a frame per crossing, never more.
    assert wrong <= 2 * len(incidents)


@pytest.mark.parametrize(("seed", "camera"), STORIES)
def test_objects_cross_the_border_quickly_and_keep_away_from_it_otherwise(seed: int, camera: str) -> None:
    yard, story = minute(seed, camera)
    near_for = longest = 0
    for _, truths in story:
        feet = [anchor_distance(yard, truth) for truth in truths if truth.label == "object"]
        near_for = near_for + STEP_MS if any(abs(foot) < CLEAR for foot in feet) else 0
        longest = max(longest, near_for)
    assert longest <= 400


@pytest.mark.parametrize(("seed", "camera"), STORIES)
def test_an_object_in_the_forbidden_ground_can_be_seen(seed: int, camera: str) -> None:
    yard, story = minute(seed, camera)
    hidden_for = 0
    for _, truths in story:
        inside = [truth for truth in truths if truth.label == "object" and anchor_distance(yard, truth) >= 0]
        for truth in inside:
            if truth.visible > 0.95:
                assert (truth.box[3] - truth.box[1]) * 360 >= 18
        hidden_for = hidden_for + STEP_MS if any(truth.visible < 0.5 for truth in inside) else 0
        assert hidden_for <= 480


@pytest.mark.parametrize(("seed", "camera"), STORIES)
def test_pines_and_workers_pass_through_the_forbidden_ground_all_the_time(seed: int, camera: str) -> None:
    yard, story = minute(seed, camera)
    for label in ("pine", "worker"):
        inside = [any(t.label == label and anchor_distance(yard, t) >= 0 for t in truths) for _, truths in story]
        assert sum(inside) * STEP_MS >= 5_000, label


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), camera=st.sampled_from(["yard_gate", "yard_saw", "a", "camera 17"]))
def test_incidents_keep_their_distance_in_time(seed: int, camera: str) -> None:
    yard = Yard(seed, camera, width=160, height=90)
    incidents = yard.incidents(120_000)
    assert 4_000 <= incidents[0].starts_ms <= 10_000
    for incident in incidents:
        assert 5_000 <= incident.ends_ms - incident.starts_ms <= 10_000
    for earlier, later in pairwise(incidents):
        assert 15_000 <= later.starts_ms - earlier.starts_ms <= 25_000
        assert later.starts_ms - earlier.ends_ms >= 4_000


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), minutes=st.integers(0, 600))
def test_what_stands_outside_stays_clearly_outside(seed: int, minutes: int) -> None:
    yard = Yard(seed, "yard_gate", width=160, height=90)
    for thing in outside_things(seed, "yard_gate", yard.lens, yard.layout, minutes * 60.0):
        assert border_distance(yard.layout.roi, yard.lens.fraction(*thing.at)) < -CLEAR


def test_the_polygon_lies_in_the_picture_and_off_the_clock() -> None:
    for seed in range(40):
        document = Yard(seed, "yard_gate", width=160, height=90).roi_document()
        (roi,) = document["forbidden_rois"]
        assert document["camera_id"] == "yard_gate"
        assert set(document["alert_classes"]).isdisjoint(document["allowed_classes"])
        for x, y in roi["points"]:
            assert 0.0 <= x <= 1.0
            assert 0.05 <= y <= 1.0
