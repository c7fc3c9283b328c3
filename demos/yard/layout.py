"""What never moves in a yard: the forbidden ground, the conveyor, and the furniture that means nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from demos.yard.dice import dice
from demos.yard.lens import Lens

CONVEYOR_Z = 1.55  # metres behind the middle of the forbidden ground
CONVEYOR_HALF = 0.38  # half its width, metres
CONVEYOR_TOP = 0.62  # metres over the ground
FRONT_Z = CONVEYOR_Z - CONVEYOR_HALF  # where the free ground in front of it ends
REACH = 10.0  # metres to each side: beyond every picture's edge


@dataclass(frozen=True)
class Thing:
    """One thing in the yard at one instant.

    `label` is what a detector should say of it, None for a distractor. `at` is where it stands (x, y, z in metres,
    y the height of its underside), `size` its height (or a log's radius), `turn` its heading in radians, `phase` how
    far it has rolled or walked, `look` the seed of its colours.
    """

    kind: str
    label: str | None
    at: tuple[float, float, float]
    size: float
    look: str
    turn: float = 0.0
    phase: float = 0.0
    length: float = 0.0


@dataclass(frozen=True)
class Layout:
    """The camera's fixed surroundings; `roi` is the forbidden polygon in fractions of the picture."""

    roi: tuple[tuple[float, float], ...]
    half_width: float
    near: float
    belt_speed: float
    belt_heading: int
    night: bool
    furniture: tuple[Thing, ...]


def border_distance(polygon: tuple[tuple[float, float], ...], point: tuple[float, float]) -> float:
    """Distance from `point` to the border of `polygon`, in fractions of the picture; negative outside."""
    corners = np.asarray(polygon)
    following = np.roll(corners, -1, axis=0)
    edges = following - corners
    offsets = np.asarray(point) - corners
    along = np.clip((offsets * edges).sum(axis=1) / (edges * edges).sum(axis=1), 0.0, 1.0)
    gap = float(np.hypot(*(offsets - edges * along[:, None]).T).min())
    x, y = point
    upper, lower = corners[:, 1] > y, following[:, 1] > y
    crosses = upper != lower
    with np.errstate(divide="ignore", invalid="ignore"):
        meets = corners[:, 0] + (y - corners[:, 1]) * edges[:, 0] / edges[:, 1]
    inside = bool(np.count_nonzero(crosses & (x < meets)) % 2)
    return gap if inside else -gap


def lay_out(seed: int, camera: str, lens: Lens, night: bool | None) -> Layout:
    """Draws the camera's surroundings; `night` None lets the camera's name decide (about one in three)."""
    draw = dice(seed, camera, "layout")
    half, near = draw.uniform(2.3, 3.0), draw.uniform(-2.5, -2.0)
    far = CONVEYOR_Z + CONVEYOR_HALF + draw.uniform(1.1, 1.5)
    roi = _on_picture(lens, half, near, far)
    while any(not (0.02 <= u <= 0.98 and 0.06 <= v <= 0.96) for u, v in roi) and near < -1.2:
        half, near, far = half * 0.96, near + 0.08, far - 0.03
        roi = _on_picture(lens, half, near, far)
    dark = bool(draw.random() < 0.34) if night is None else night
    return Layout(
        roi=roi,
        half_width=half,
        near=near,
        belt_speed=draw.uniform(0.6, 1.1),
        belt_heading=1 if draw.random() < 0.5 else -1,
        night=dark,
        furniture=tuple(_furnish(seed, camera)),
    )


def _on_picture(lens: Lens, half: float, near: float, far: float) -> tuple[tuple[float, float], ...]:
    corners = ((-half, near), (half, near), (half, far), (-half, far))
    return tuple((round(u, 4), round(v, 4)) for u, v in (lens.fraction(x, 0.0, z) for x, z in corners))


def _furnish(seed: int, camera: str) -> list[Thing]:
    draw = dice(seed, camera, "furniture")
    things: list[Thing] = []
    for number in range(int(draw.integers(2, 6))):
        where = (draw.uniform(-6, 6), 0.0, draw.uniform(-4.0, 0.9))
        things.append(Thing("cone", None, where, draw.uniform(0.4, 0.7), f"{seed}/{camera}/cone{number}"))
    for number in range(int(draw.integers(0, 3))):
        where = (draw.uniform(-7, 7), 0.0, draw.uniform(2.6, 5.0))
        things.append(Thing("sign", None, where, draw.uniform(1.5, 2.1), f"{seed}/{camera}/sign{number}"))
    for number in range(int(draw.integers(0, 3))):
        # Logs that were left lying: always behind the conveyor or to the side, so that they hide no incident.
        side = -1 if draw.random() < 0.5 else 1
        if draw.random() < 0.5:
            where = (draw.uniform(-6, 6), 0.0, draw.uniform(3.2, 5.0))
        else:
            where = (side * draw.uniform(4.2, 6.0), 0.0, draw.uniform(-3.0, 0.2))
        things.append(
            Thing(
                "log",
                "pine",
                where,
                draw.uniform(0.14, 0.24),
                f"{seed}/{camera}/lying{number}",
                turn=draw.uniform(-1.2, 1.2),
                length=draw.uniform(1.5, 2.6),
            )
        )
    return things


def roi_document(camera: str, layout: Layout) -> dict[str, Any]:
    """The camera's entry of `rois.yaml`."""
    return {
        "camera_id": camera,
        "forbidden_rois": [
            {
                "name": "loading_zone",
                "points": [[x, y] for x, y in layout.roi],
                "units": "fractions",
                "min_confidence": 0.4,
                "confirm": {"hits": 3, "within_seconds": 2},
                # Shorter than in a real yard, so that a minute shows several alerts opened and resolved:
                # incidents last 5-10 s with more than 4 s between them.
                "resolve_after_seconds": 2,
                "debounce_window_seconds": 5,
                "severity": "critical",
            }
        ],
        "allowed_classes": ["pine", "worker"],
        "alert_classes": ["object"],
    }
