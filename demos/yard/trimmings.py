"""How those look that mean nothing: cones, signs, leaves and birds."""

from __future__ import annotations

import math

from demos.yard.layout import Thing
from demos.yard.lens import Lens
from demos.yard.strokes import Colour, Palette, Stroke, Upright, shade


def cone(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A traffic cone: orange with white bands."""
    pen, tall = Upright(thing, lens), thing.size
    orange = shade((35, 95, 245), 0.8 + 0.2 * paint.chances[0])
    pen.polygon([(-0.36 * tall, 0.0), (0.36 * tall, 0.0), (0.28 * tall, 0.12 * tall), (-0.28 * tall, 0.12 * tall)],
                shade(orange, 0.6))  # fmt: skip

    def wide(share: float) -> float:
        return (0.22 * (1 - share) + 0.03) * tall

    for low, high, colour in ((0.06, 1.0, orange), (0.35, 0.52, (230, 232, 232)), (0.68, 0.8, (225, 228, 228))):
        pen.polygon([(-wide(low), low * tall), (wide(low), low * tall), (wide(high), high * tall),
                     (-wide(high), high * tall)], colour)  # fmt: skip
    return pen.strokes


def sign(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A sign on a post."""
    pen, tall = Upright(thing, lens), thing.size
    pen.limb(0, 0, 0, tall, 0.07, (120, 122, 124))
    half = 0.36
    if paint.chances[0] < 0.5:
        pen.polygon([(-half, tall - 0.1), (half, tall - 0.1), (0, tall + 0.55)], (30, 205, 245))
        pen.polygon([(-0.05, tall + 0.05), (0.05, tall + 0.05), (0.04, tall + 0.3), (-0.04, tall + 0.3)], (25, 25, 25))
    else:
        pen.ellipse(0, tall, half, half, (40, 40, 200))
        pen.ellipse(0, tall, half * 0.74, half * 0.74, (235, 235, 235))
        pen.limb(-0.2, tall, 0.2, tall, 0.09, (30, 30, 30))
    return pen.strokes


def leaf(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A leaf that blows about."""
    pen, half = Upright(thing, lens), thing.size
    cos, sin = math.cos(thing.turn), math.sin(thing.turn)
    shape = [(-1.0, 0.0), (0.0, 0.45), (1.0, 0.0), (0.0, -0.45)]
    colours: tuple[Colour, ...] = ((30, 90, 150), (40, 130, 120), (25, 60, 140), (50, 110, 60))
    pen.polygon([(half * (a * cos - b * sin), half * (a * sin + b * cos)) for a, b in shape],
                colours[int(paint.chances[0] * len(colours))])  # fmt: skip
    return pen.strokes


def bird(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A bird that pecks."""
    pen, tall = Upright(thing, lens), thing.size
    grey = shade((105, 100, 95), 0.6 + 0.7 * paint.chances[0])
    peck = 0.35 * tall if math.sin(5 * thing.phase) > 0.4 else 0.0
    pen.limb(0, 0, 0, 0.4 * tall, 0.03, (60, 90, 140))
    pen.ellipse(0, 0.55 * tall, 0.55 * tall, 0.3 * tall, grey)
    pen.ellipse(0.45 * tall, 0.95 * tall - peck, 0.2 * tall, 0.2 * tall, shade(grey, 0.7))
    return pen.strokes


def flyer(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A bird that flies past."""
    pen, half = Upright(thing, lens), thing.size
    flap = 0.7 * math.sin(thing.phase) * half
    dark = shade((70, 66, 62), 0.6 + 0.6 * paint.chances[0])
    pen.polygon([(-half, flap), (0, 0.1 * half), (half, flap), (0, -0.16 * half)], dark)
    pen.ellipse(0.1 * half, 0, 0.3 * half, 0.13 * half, dark)
    return pen.strokes
