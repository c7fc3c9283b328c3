"""What things are drawn with: filled polygons, their colours, and a pen that works in metres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from demos.yard.dice import dice
from demos.yard.layout import Thing
from demos.yard.lens import Floats, Lens

Colour = tuple[int, int, int]  # blue, green, red
_ANGLES = np.linspace(0.0, 2 * math.pi, 18, endpoint=False)
CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


@dataclass(frozen=True)
class Stroke:
    """One filled polygon: corners in pixels (N, 2) and its colour."""

    corners: Floats
    colour: Colour


@dataclass(frozen=True)
class Palette:
    """The colours of one thing: a main colour, a second one, and a few numbers between 0 and 1."""

    main: Colour
    second: Colour
    chances: tuple[float, ...]


# Blue, green, red. Cones own orange-with-white and workers own the high-visibility colours, by shape as well.
_PAINTS: tuple[Colour, ...] = (
    (150, 70, 30), (40, 40, 170), (60, 130, 50), (30, 170, 210), (200, 200, 205), (45, 45, 48), (120, 120, 125),
    (160, 120, 30), (90, 40, 120), (60, 90, 140), (185, 150, 60), (30, 90, 190),
)  # fmt: skip
_WOODS: tuple[Colour, ...] = ((80, 130, 175), (70, 110, 150), (95, 150, 195), (60, 95, 130))
_BARKS: tuple[Colour, ...] = ((48, 72, 105), (40, 60, 88), (58, 84, 120), (62, 78, 98))
_VESTS: tuple[Colour, ...] = ((20, 130, 250), (40, 235, 225), (60, 220, 160), (30, 90, 240))
_TROUSERS: tuple[Colour, ...] = ((70, 45, 35), (50, 50, 55), (90, 70, 50), (35, 35, 60))


@lru_cache(maxsize=4096)
def palette(look: str, kind: str) -> Palette:
    """The colours of the thing of that look, always the same."""
    draw = dice("look", look, kind)
    mains = {"crate": _PAINTS + _WOODS, "log": _BARKS, "worker": _VESTS, "tyre": _PAINTS[5:7]}.get(kind, _PAINTS)
    seconds = {"worker": _TROUSERS, "log": _WOODS}.get(kind, _PAINTS)
    main = np.asarray(mains[int(draw.integers(len(mains)))]) * draw.uniform(0.8, 1.2) + draw.uniform(-10, 10, 3)
    second = seconds[int(draw.integers(len(seconds)))]
    return Palette(_colour(main), second, tuple(float(chance) for chance in draw.random(6)))


def _colour(values: NDArray[np.float64] | Colour) -> Colour:
    blue, green, red = (int(min(255, max(0, value))) for value in values)
    return blue, green, red


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (below 1) or lighter."""
    return _colour((round(colour[0] * factor), round(colour[1] * factor), round(colour[2] * factor)))


class Upright:
    """Draws flat shapes that stand on the ground and face the camera: metres right and up from the foot."""

    def __init__(self, thing: Thing, lens: Lens) -> None:
        self.right, self.down, self.scale = lens.spot(*thing.at)
        self.tilt = lens.tilt
        self.strokes: list[Stroke] = []

    def polygon(self, corners: list[tuple[float, float]] | Floats, colour: Colour) -> None:
        """A polygon with corners (right, up) in metres."""
        metres = np.asarray(corners, dtype=np.float64)
        pixels = np.empty_like(metres)
        pixels[:, 0] = self.right + metres[:, 0] * self.scale
        pixels[:, 1] = self.down - metres[:, 1] * self.scale
        self.strokes.append(Stroke(pixels, colour))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """An ellipse around (x, y)."""
        self.polygon(CIRCLE * (rx, ry) + (x, y), colour)

    def limb(self, x1: float, y1: float, x2: float, y2: float, thick: float, colour: Colour) -> None:
        """A straight bar from (x1, y1) to (x2, y2)."""
        length = math.hypot(x2 - x1, y2 - y1) or 1.0
        nx, ny = -(y2 - y1) / length * thick / 2, (x2 - x1) / length * thick / 2
        self.polygon([(x1 + nx, y1 + ny), (x2 + nx, y2 + ny), (x2 - nx, y2 - ny), (x1 - nx, y1 - ny)], colour)
