"""Foreign objects: those that come into the forbidden ground, and those that stay clearly outside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from demos.yard.dice import dice
from demos.yard.layout import CONVEYOR_HALF, CONVEYOR_Z, FRONT_Z, Layout, Thing, border_distance
from demos.yard.lens import Lens

PERIOD_S = 20.0  # one incident in each
SITE_S = 45.0  # objects outside change place this often
CLEAR = 0.055  # fractions of the picture between an object's foot and the border; 0.04 is promised
SIZES = {
    "crate": (0.48, 0.75),
    "toolbox": (0.46, 0.6),
    "barrel": (0.7, 0.95),
    "tyre": (0.55, 0.85),
    "bucket": (0.46, 0.6),
    "jerrycan": (0.48, 0.62),
    "bottle": (0.75, 1.05),
    "sack": (0.46, 0.65),
}


@dataclass(frozen=True)
class Incident:
    """One stay of a foreign object in the forbidden ground, with its foot inside from `starts_ms` to `ends_ms`."""

    number: int
    kind: str
    arrives: str
    leaves: str
    starts_ms: int
    ends_ms: int
    x: float
    z: float
    size: float
    side: int


Veils = Callable[[float], NDArray[np.float64]]


def _sized(draw: np.random.Generator, lens: Lens, x: float, z: float, kind: str) -> float:
    low, high = SIZES[kind]
    _, _, per_metre = lens.spot(x, 0.0, z)
    # At least 20 pixels high at 640 wide, so that a detector has something to see.
    return max(draw.uniform(low, high), 20.0 / per_metre * lens.width / 640.0)


def plan_incident(seed: int, camera: str, lens: Lens, layout: Layout, number: int, veils: Veils) -> Incident:
    """The `number`-th incident.

    `veils(seconds)` gives what traffic may hide things then: rows of depth in metres and a box in pixels. Of the places
    that stay clear of the border, the one that traffic covers least is taken: an incident that nobody could see would
    make truth and detector disagree.
    """
    draw = dice(seed, camera, "incident", number)
    kind = str(draw.choice(sorted(SIZES)))
    starts = number * PERIOD_S + draw.uniform(4.5, 9.3)
    ends = starts + draw.uniform(5.2, 9.8)
    arrives, leaves = (
        "roll" if kind == "tyre" and draw.random() < 0.6 else str(draw.choice(["drop", "slide"])) for _ in range(2)
    )
    side = 1 if draw.random() < 0.5 else -1
    traffic = [veils(float(instant)) for instant in np.arange(starts, ends, 0.2)]
    best: tuple[float, float, float, float] | None = None
    for _ in range(80):
        x, z = draw.uniform(-layout.half_width, layout.half_width), draw.uniform(layout.near, FRONT_Z - 0.35)
        size = _sized(draw, lens, x, z, kind)
        if min(border_distance(layout.roi, point) for point in _feet(lens, x, z, size)) < CLEAR:
            continue
        covered = _covered(lens, x, z, size, traffic)
        cost = _longest(covered) + 0.1 * sum(covered)
        if best is None or cost < best[0]:
            best = (cost, x, z, size)
        if cost == 0.0:
            break
    if best is None:
        raise ValueError(f"no place in the forbidden ground of {camera} is clear of its border")
    _, x, z, size = best
    return Incident(number, kind, arrives, leaves, round(starts * 1000), round(ends * 1000), x, z, size, side)


def _feet(lens: Lens, x: float, z: float, size: float) -> list[tuple[float, float]]:
    """Where the bottom centre of the thing's box may lie: a turned crate reaches nearer than its middle."""
    aside = 0.2 * size
    return [lens.fraction(x + right, 0.0, z - ahead) for right in (-aside, aside) for ahead in (0.0, 0.6 * size)]


def _covered(lens: Lens, x: float, z: float, size: float, traffic: list[NDArray[np.float64]]) -> list[bool]:
    """For every instant, whether nearer traffic may hide a good part of a thing at (x, z)."""
    pixels, depths = lens.project([(x, 0.0, z)])
    scale = lens.focal / float(depths[0])
    left, right = pixels[0, 0] - size * scale / 2, pixels[0, 0] + size * scale / 2
    top, bottom = pixels[0, 1] - size * scale, pixels[0, 1]
    flags: list[bool] = []
    for veil in traffic:
        nearer = veil[veil[:, 0] < float(depths[0])]
        wide = np.minimum(nearer[:, 3], right) - np.maximum(nearer[:, 1], left)
        tall = np.minimum(nearer[:, 4], bottom) - np.maximum(nearer[:, 2], top)
        hidden = float((np.clip(wide, 0, None) * np.clip(tall, 0, None)).sum())
        flags.append(hidden > 0.35 * (right - left) * (bottom - top))
    return flags


def _longest(flags: list[bool]) -> int:
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def incident_thing(incident: Incident, seed: int, camera: str, layout: Layout, t_ms: float) -> Thing | None:
    """The incident's object at `t_ms`, or None when it is not there."""
    x, y, z, rolled = incident.x, 0.0, incident.z, 0.0
    before, after = (incident.starts_ms - t_ms) / 1000, (t_ms - incident.ends_ms) / 1000
    # From the border inwards it takes this many metres; starts_ms is when the foot crosses the border.
    if before > 0 or (t_ms - incident.starts_ms) < 2000:
        offset = _offset(incident, layout, incident.arrives, -before)
        if offset is None:
            return None
        x, y, rolled = x + offset[0], y + offset[1], rolled + offset[0]
    if after > 0 or (incident.ends_ms - t_ms) < 2000:
        offset = _offset(incident, layout, incident.leaves, -after)
        if offset is None:
            return None
        x, y, rolled = x + offset[0], y + offset[1], rolled + offset[0]
    phase = rolled / (incident.size / 2) if incident.kind == "tyre" else 0.0
    look = f"{seed}/{camera}/incident{incident.number}"
    turn = incident.side * 0.5 if "roll" not in (incident.arrives, incident.leaves) else 0.0
    return Thing(incident.kind, "object", (x, y, z), incident.size, look, turn=turn, phase=phase)


def _offset(incident: Incident, layout: Layout, way: str, inside_s: float) -> tuple[float, float] | None:
    """Right and up from the resting place, `inside_s` seconds after the foot crossed the border (or before it will)."""
    if way == "drop":
        # Falls, or is lifted away, within 150 ms.
        if inside_s < 0.0:
            return None
        return 0.0, 1.5 * max(0.0, 1.0 - inside_s / 0.15) ** 2
    # In from beyond the picture's edge, slowing evenly to rest: distance to go is far * (1 - share)^2.
    far, takes = 8.0, 1.3
    to_border = abs(incident.side * layout.half_width - incident.x)
    crossed = takes * (1.0 - math.sqrt(to_border / far))
    share = (inside_s + crossed) / takes
    if share < 0.0:
        return None
    return incident.side * far * max(0.0, 1.0 - share) ** 2, 0.0


@lru_cache(maxsize=512)
def _sites(seed: int, camera: str, lens: Lens, layout: Layout, slot: int) -> tuple[Thing, ...]:
    draw = dice(seed, camera, "outside", slot)
    things: list[Thing] = []
    for number in range(int(draw.integers(1, 4))):
        kind = str(draw.choice(sorted(SIZES)))
        for _ in range(40):
            x, z = draw.uniform(-7, 7), draw.uniform(-4.0, 5.0)
            if abs(z - CONVEYOR_Z) < CONVEYOR_HALF + 0.3:
                continue
            size = _sized(draw, lens, x, z, kind)
            foot, middle = lens.fraction(x, 0.0, z), lens.fraction(x, size / 2, z)
            points = (middle, *_feet(lens, x, z, size))
            in_picture = 0.02 < foot[0] < 0.98 and 0.22 < foot[1] < 0.97
            # A worker who hides the lower half lifts the foot of what a detector sees: even that stays outside.
            clear = all(border_distance(layout.roi, point) < -CLEAR for point in points)
            if in_picture and clear:
                look = f"{seed}/{camera}/outside{slot}/{number}"
                things.append(Thing(kind, "object", (x, 0.0, z), size, look, turn=draw.uniform(-0.9, 0.9)))
                break
    return tuple(things)


def outside_things(seed: int, camera: str, lens: Lens, layout: Layout, seconds: float) -> Iterator[Thing]:
    """The foreign objects that stand outside the forbidden ground at `seconds`, one to three."""
    yield from _sites(seed, camera, lens, layout, math.floor(seconds / SITE_S))
