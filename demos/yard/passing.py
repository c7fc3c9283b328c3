"""How those look that may pass: workers and pine logs."""

from __future__ import annotations

import math

import numpy as np

from demos.yard.layout import Thing
from demos.yard.lens import Lens
from demos.yard.strokes import CIRCLE, Colour, Palette, Stroke, Upright, shade

_HELMETS: tuple[Colour, ...] = ((235, 235, 235), (30, 210, 240), (170, 80, 30), (40, 40, 190), (40, 140, 240))


def worker(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A worker on foot in high-visibility vest and helmet; `phase` swings arms and legs."""
    pen, tall = Upright(thing, lens), thing.size
    stride, lean = math.sin(thing.phase) * 0.22 * tall, 0.02 * tall * thing.turn
    hip, neck = 0.47 * tall, 0.82 * tall
    skin = shade((110, 150, 205), 0.5 + 0.5 * paint.chances[0])
    boots = (30, 30, 34)
    for foot, dark in ((-stride, 0.75), (stride, 1.0)):
        knee = foot * 0.45 + 0.05 * thing.turn
        lift = 0.04 * tall * max(0.0, math.cos(thing.phase) * (1 if dark == 1.0 else -1))
        pen.limb(0.0, hip, knee, 0.25 * tall, 0.11 * tall, shade(paint.second, dark))
        pen.limb(knee, 0.26 * tall, foot, 0.03 * tall + lift, 0.09 * tall, shade(paint.second, dark * 0.95))
        pen.polygon([(foot - 0.05, lift), (foot + 0.12 * (thing.turn or 1), lift), (foot, lift + 0.09)], boots)
    pen.limb(lean, neck - 0.02, lean + stride * 0.9, 0.5 * tall, 0.075 * tall, shade(paint.main, 0.7))
    width = 0.125 * tall
    torso = [(-width * 0.8, hip - 0.04), (width * 0.8, hip - 0.04), (lean + width, neck), (lean - width, neck)]
    pen.polygon(torso, paint.main)
    for low in (0.57 * tall, 0.68 * tall):  # reflecting bands
        pen.polygon([(-width, low), (width, low), (width, low + 0.045), (-width, low + 0.045)], (215, 225, 225))
    pen.limb(lean, neck - 0.03, lean - stride * 0.9, 0.48 * tall, 0.075 * tall, shade(paint.main, 0.85))
    pen.ellipse(lean * 1.5, 0.9 * tall, 0.058 * tall, 0.075 * tall, skin)
    helmet = _HELMETS[int(paint.chances[1] * len(_HELMETS))]
    pen.polygon(np.maximum(CIRCLE, (-1.0, -0.1)) * (0.078 * tall, 0.075 * tall) + (lean * 1.5, 0.925 * tall), helmet)
    return pen.strokes


def log(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    """A pine log lying on its side: bark, and the pale end that faces the camera."""
    x, y, z = thing.at
    radius, half = thing.size, thing.length / 2
    along_x, along_z = math.cos(thing.turn) * half, math.sin(thing.turn) * half
    pixels, depths = lens.project([
        (x - along_x, y + radius, z - along_z), (x + along_x, y + radius, z + along_z)])  # fmt: skip
    thick = radius * lens.focal / depths
    axis = pixels[1] - pixels[0]
    length = float(np.hypot(*axis)) or 1.0
    axis = axis / length
    across = np.array([-axis[1], axis[0]])
    # An end face is seen as wide as the log's axis is foreshortened.
    seen_share = length / (thing.length * lens.focal / float(depths.mean()))
    open_share = min(1.0, max(0.18, math.sqrt(max(0.0, 1.0 - seen_share**2))))
    strokes: list[Stroke] = []

    def face(end: int, scale: float, colour: Colour, turn: float = 0.0) -> None:
        rim = CIRCLE * scale
        corners = pixels[end] + np.outer(rim[:, 0] * thick[end] * open_share, axis)
        corners = corners + np.outer(rim[:, 1] * thick[end] + turn, across)
        strokes.append(Stroke(corners, colour))

    def strip(low: float, high: float, colour: Colour) -> None:
        strokes.append(Stroke(np.array([
            pixels[0] + across * low * thick[0], pixels[1] + across * low * thick[1],
            pixels[1] + across * high * thick[1], pixels[0] + across * high * thick[0]]), colour))  # fmt: skip

    seen = int(np.argmin(depths))
    face(1 - seen, 1.0, shade(paint.main, 0.8))
    # `across` points down when the axis points right; light comes from above.
    sign = 1.0 if across[1] > 0 else -1.0
    strip(-1.0, 1.0, paint.main)
    strip(sign * 0.35, sign * 1.0, shade(paint.main, 0.66))
    strip(-sign * 0.8, -sign * 0.35, shade(paint.main, 1.25))
    for number in range(3):  # bark, turning with the log
        angle = math.sin(thing.phase + 2.1 * number + 6 * paint.chances[number])
        if math.cos(thing.phase + 2.1 * number + 6 * paint.chances[number]) > 0:
            strip(0.85 * angle - 0.06, 0.85 * angle + 0.06, shade(paint.main, 0.5))
    wood = shade((150, 195, 228), 0.75 + 0.3 * paint.chances[4])
    face(seen, 1.0, shade(paint.main, 0.6))
    face(seen, 0.84, wood)
    face(seen, 0.5, shade(wood, 0.85))
    face(seen, 0.32, shade(wood, 0.98))
    return strokes
