"""One golden history: what a detector would have said of the synthetic yard, with every habit that a record may have.

The boxes are the scene's truth, jittered; some are missed, some are false; frames are skipped, cameras are away for a
while, events come twice and late. It depends on the seed and on when it is dated, and on nothing else.
"""

import random
import time
from typing import Any

from demos.yard import Yard
from schemas.documents.rois import CameraRois, RoiDefaults, effective_rules
from schemas.effective import RoiRevision, revision_of
from schemas.messages import Box, Detection, DetectionEvent, FrameRef, Model

STEP_MS = 200
MODEL = Model("golden", "1", "0" * 64)
CAMERAS = ("yard_gate", "yard_dock", "yard_saw", "yard_hall")


def an_hour_ago(seconds: int) -> int:
    """When a history of so long begins that ended an hour ago; milliseconds UTC, a whole second."""
    return (round(time.time()) - 3600 - seconds) * 1000


def history(camera: str, seconds: int, began: int, seed: int = 7) -> list[DetectionEvent]:
    """The events of one camera, as they lie on the topic."""
    dice = random.Random(f"{camera}/{seed}")
    yard = Yard(seed, camera, width=320, height=180)
    made: list[DetectionEvent] = []
    away_until = -1
    for at in range(0, seconds * 1000, STEP_MS):
        if dice.random() < 0.0015:
            away_until = at + dice.randint(2_000, 15_000)
        if at < away_until:
            if at % 1000 == 0:
                made.append(_event(camera, began + at, len(made), (), "offline"))
            continue
        skipped = dice.random() < 0.01
        seen = () if skipped else _seen(dice, yard, at)
        made.append(_event(camera, began + at + dice.randint(0, 90), len(made), seen, "stale" if skipped else None))
        if dice.random() < 0.01:  # inference began again a little before, and says the same once more
            made += made[-dice.randint(1, 4) :]
        if dice.random() < 0.005:
            made.append(_event(camera, began + at - 700, len(made), seen, None))
    return made


def revisions(camera: str, seconds: int, began: int, seed: int = 7) -> list[RoiRevision]:
    """Two documents: the second holds from the middle of the history on and asks for more."""
    yard = Yard(seed, camera, width=320, height=180)

    def revision(effective_from: int, **changes: Any) -> RoiRevision:
        entry = yard.roi_document()
        entry["forbidden_rois"][0] |= {"debounce_window_seconds": 30, "resolve_after_seconds": 1.5, **changes}
        second = {**entry["forbidden_rois"][0], "name": "left_half", "severity": "info"}
        second["points"] = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
        entry["forbidden_rois"] = [*entry["forbidden_rois"], *([] if changes else [second])]
        rules = effective_rules(CameraRois.model_validate(entry), RoiDefaults())
        return RoiRevision(camera, revision_of(rules), effective_from, 0, "file", rules)

    return [
        revision(0),
        revision(began + seconds * 500, confirm={"hits": 4, "within_seconds": 2}, min_confidence=0.5),
    ]


def _seen(dice: random.Random, yard: Yard, at: int) -> tuple[Detection, ...]:
    seen = []
    for truth in yard.truths(at):
        if truth.visible < 0.2 or dice.random() < 0.12:
            continue
        seen.append(Detection(truth.label, round(dice.uniform(0.3, 0.95), 4), _jittered(dice, truth.box)))
    if dice.random() < 0.02:
        left, top = dice.uniform(0, 0.8), dice.uniform(0, 0.8)
        seen.append(Detection("object", round(dice.uniform(0.1, 0.6), 4), (left, top, left + 0.1, top + 0.15)))
    return tuple(seen)


def _jittered(dice: random.Random, box: tuple[float, float, float, float]) -> Box:
    x1, y1, x2, y2 = (min(1.0, max(0.0, edge + dice.uniform(-0.004, 0.004))) for edge in box)
    return (x1, y1, max(x1, x2), max(y1, y2))


def _event(camera: str, at: int, number: int, seen: tuple[Detection, ...], skipped: Any) -> DetectionEvent:
    width, height = (0, 0) if skipped == "offline" else (320, 180)
    frame = FrameRef("frames", 0, number)
    return DetectionEvent(camera, at, number, frame, width, height, 0.1, MODEL, seen, skipped)
