"""How foreign objects look: eight kinds, each in many colours."""

from __future__ import annotations

import math

import numpy as np

from demos.yard.layout import Thing
from demos.yard.lens import Floats, Lens
from demos.yard.strokes import Colour, Palette, Stroke, Upright, shade


def _box(thing: Thing, lens: Lens, size: tuple[float, float, float], colour: Colour) -> tuple[list[Stroke], Floats]:
    """A box of (width, height, depth) metres; gives the strokes and the eight corners' pixels (bottom, then top)."""
    x, y, z = thing.at
    wide, tall, deep = size[0] / 2, size[1], size[2] / 2
    cos, sin = math.cos(thing.turn), math.sin(thing.turn)
    foot = [(-wide, -deep), (wide, -deep), (wide, deep), (-wide, deep)]
    ground = [(x + a * cos - b * sin, z + a * sin + b * cos) for a, b in foot]
    corners, depths = lens.project([(a, y, b) for a, b in ground] + [(a, y + tall, b) for a, b in ground])
    strokes: list[Stroke] = []
    sides = sorted(range(4), key=lambda side: -(depths[side] + depths[(side + 1) % 4]))
    for side in sides[2:]:  # the two nearest sides are those that show
        following = (side + 1) % 4
        quad = corners[[side, following, following + 4, side + 4]]
        strokes.append(Stroke(quad, shade(colour, 0.72 if side % 2 else 0.92)))
    strokes.append(Stroke(corners[4:], shade(colour, 1.15)))
    return strokes, corners


def crate(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A crate of wood or plastic with slats."""
    wide = thing.size * (0.95 + 0.5 * paint.chances[0])
    deep = thing.size * (0.8 + 0.4 * paint.chances[1])
    strokes, _ = _box(thing, lens, (wide, thing.size, deep), paint.main)
    sides = [stroke.corners for stroke in strokes[:2]]
    for quad in sides:  # slats
        for share in (0.25, 0.6):
            low = quad[:2] * (1 - share) + quad[[3, 2]] * share
            high = quad[:2] * (0.9 - share) + quad[[3, 2]] * (share + 0.1)
            strokes.append(Stroke(np.vstack([low, high[::-1]]), shade(paint.main, 0.5)))
    return strokes


def toolbox(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A toolbox with a lid and a grip."""
    body = thing.size * 0.74
    strokes, corners = _box(thing, lens, (thing.size * 1.7, body, thing.size * 0.75), paint.main)
    middle = corners[4:].mean(axis=0)
    pen = Upright(thing, lens)
    pen.right, pen.down = float(middle[0]), float(middle[1])
    high, reach = thing.size * 0.26, thing.size * 0.45
    dark = (40, 40, 42)
    pen.limb(-reach, 0.0, -reach * 0.8, high, 0.06, dark)
    pen.limb(reach, 0.0, reach * 0.8, high, 0.06, dark)
    pen.limb(-reach * 0.85, high, reach * 0.85, high, 0.07, dark)
    front = strokes[1].corners
    band = np.vstack([front[:2] * 0.3 + front[[3, 2]] * 0.7, front[[2, 3]] * 0.82 + front[[1, 0]] * 0.18])
    return [*strokes, Stroke(band, shade(paint.main, 0.45)), *pen.strokes]


def barrel(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A barrel with two hoops."""
    pen, tall = Upright(thing, lens), thing.size
    wide = tall * (0.3 + 0.06 * paint.chances[0])
    flat = wide * pen.tilt
    pen.ellipse(0, flat, wide, flat, shade(paint.main, 0.7))
    pen.polygon([(-wide, flat), (wide, flat), (wide, tall), (-wide, tall)], paint.main)
    pen.polygon([(wide * 0.45, flat * 0.2), (wide, flat), (wide, tall), (wide * 0.45, tall)], shade(paint.main, 0.68))
    pen.polygon([(-wide * 0.7, flat * 0.4), (-wide * 0.4, flat * 0.2), (-wide * 0.4, tall), (-wide * 0.7, tall)],
                shade(paint.main, 1.25))  # fmt: skip
    band = paint.second if paint.chances[1] < 0.4 else shade(paint.main, 0.5)
    for low in (0.36, 0.68):
        pen.polygon([(-wide, low * tall + flat * 0.3), (0, low * tall), (wide, low * tall + flat * 0.3),
                     (wide, low * tall + flat * 0.3 + 0.05), (0, low * tall + 0.05),
                     (-wide, low * tall + flat * 0.3 + 0.05)], band)  # fmt: skip
    pen.ellipse(0, tall, wide, flat, shade(paint.main, 1.12))
    pen.ellipse(0, tall, wide * 0.8, flat * 0.8, shade(paint.main, 0.85))
    return pen.strokes


def tyre(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A tyre on its edge; `phase` turns its spokes."""
    pen, radius = Upright(thing, lens), thing.size / 2
    face = math.cos(thing.turn * 0.8)
    rubber, tread = shade(paint.main, 0.7), shade(paint.main, 0.45)
    pen.ellipse(0.10 * radius + (1 - face) * 0.3, radius * 1.04, radius * face, radius, tread)
    pen.ellipse(0, radius, radius * face, radius, rubber)
    pen.ellipse(0, radius, radius * 0.82 * face, radius * 0.82, shade(paint.main, 0.95))
    rim = (165, 165, 168) if paint.chances[0] < 0.5 else (92, 98, 100)
    pen.ellipse(0, radius, radius * 0.56 * face, radius * 0.56, rim)
    for number in range(3):
        angle = -thing.phase + number * 2 * math.pi / 3
        cos, sin = math.cos(angle) * face, math.sin(angle)
        pen.limb(0, radius, 0.5 * radius * cos, radius + 0.5 * radius * sin, 0.16 * radius, shade(rim, 0.5))
    return pen.strokes


def bucket(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A bucket with its grip up."""
    pen, tall = Upright(thing, lens), thing.size * 0.8
    top, low = tall * 0.55, tall * 0.4
    flat = top * pen.tilt
    pen.ellipse(0, low * pen.tilt, low, low * pen.tilt, shade(paint.main, 0.7))
    pen.polygon([(-low, low * pen.tilt), (low, low * pen.tilt), (top, tall), (-top, tall)], paint.main)
    pen.polygon([(low * 0.4, 0.02), (low, low * pen.tilt), (top, tall), (top * 0.4, tall)], shade(paint.main, 0.72))
    pen.ellipse(0, tall, top, flat, shade(paint.main, 1.2))
    pen.ellipse(0, tall - 0.01, top * 0.86, flat * 0.82, shade(paint.main, 0.35))
    grip = thing.size - tall
    for left, right in ((-1.0, -0.6), (-0.6, 0.0), (0.0, 0.6), (0.6, 1.0)):
        pen.limb(left * top, tall + grip * (1 - left * left), right * top, tall + grip * (1 - right * right), 0.03,
                 (70, 70, 72))  # fmt: skip
    return pen.strokes


def jerrycan(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A jerrycan with its pressed cross."""
    body = thing.size * 0.86
    strokes, corners = _box(thing, lens, (thing.size * 0.78, body, thing.size * 0.4), paint.main)
    front = strokes[1].corners
    for first, second in ((0, 2), (1, 3)):  # the pressed cross
        a, b = front[first] * 0.8 + front[second] * 0.2, front[first] * 0.2 + front[second] * 0.8
        side = np.array([0.0, max(1.0, 0.05 * thing.size * lens.focal / lens.distance)])
        strokes.append(Stroke(np.array([a, b, b + side, a + side]), shade(paint.main, 0.6)))
    pen = Upright(thing, lens)
    middle = corners[4:].mean(axis=0)
    pen.right, pen.down = float(middle[0]), float(middle[1])
    wide = thing.size * 0.3
    pen.limb(-wide, 0.0, wide * 0.3, thing.size * 0.13, 0.07, shade(paint.main, 0.7))
    pen.limb(wide * 0.55, -0.02, wide * 0.9, thing.size * 0.14, 0.11, (45, 45, 48))
    return [*strokes, *pen.strokes]


def bottle(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A gas bottle with its valve."""
    pen, tall = Upright(thing, lens), thing.size
    wide = tall * 0.17
    flat = wide * pen.tilt
    pen.ellipse(0, flat, wide, flat, shade(paint.main, 0.7))
    pen.polygon([(-wide, flat), (wide, flat), (wide, tall * 0.72), (-wide, tall * 0.72)], paint.main)
    pen.ellipse(0, tall * 0.72, wide, tall * 0.14, paint.second if paint.chances[0] < 0.5 else paint.main)
    pen.polygon([(wide * 0.4, flat * 0.2), (wide, flat), (wide, tall * 0.72), (wide * 0.4, tall * 0.8)],
                shade(paint.main, 0.7))  # fmt: skip
    pen.limb(0, tall * 0.84, 0, tall * 0.95, wide * 0.5, (70, 110, 130))
    pen.limb(-wide * 0.5, tall * 0.97, wide * 0.5, tall * 0.97, tall * 0.05, (60, 60, 64))
    return pen.strokes


def sack(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A sack tied at its neck."""
    pen, tall = Upright(thing, lens), thing.size
    bulge = 0.62 + 0.15 * paint.chances[0]
    cloth = shade((175, 190, 200), 0.7 + 0.4 * paint.chances[1]) if paint.chances[2] < 0.5 else paint.main
    lobes = [(-0.5, 0.06), (-0.3, 0.0), (0.3, 0.0), (0.52, 0.08), (0.56, 0.3), (0.4, 0.62), (0.14, 0.78), (0.2, 0.98),
             (0.0, 0.9), (-0.18, 1.0), (-0.12, 0.78), (-0.42, 0.6), (-0.56, 0.3)]  # fmt: skip
    pen.polygon([(a * tall * 2 * bulge * 0.75, b * tall) for a, b in lobes], cloth)
    pen.polygon([(a * tall * 1.5 * bulge, b * tall) for a, b in [(0.1, 0.02), (0.3, 0.0), (0.52, 0.08), (0.56, 0.3),
                 (0.4, 0.62), (0.14, 0.76), (0.3, 0.4)]], shade(cloth, 0.72))  # fmt: skip
    pen.limb(-0.13 * tall, 0.78 * tall, 0.15 * tall, 0.78 * tall, 0.05 * tall, shade(cloth, 0.4))
    return pen.strokes
