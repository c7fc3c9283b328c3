"""How each thing looks: polygons in pixels, back to front, in the colours of daylight."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from demos.yard.dice import dice
from demos.yard.layout import Thing
from demos.yard.lens import Floats, Lens

Colour = tuple[int, int, int]  # blue, green, red
_ANGLES = np.linspace(0.0, 2 * math.pi, 18, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


@dataclass(frozen=True)
class Stroke:
    """One filled polygon: corners in pixels (N, 2) and its colour. `bodily` strokes make up the thing's box."""

    corners: Floats
    colour: Colour
    bodily: bool = True


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
_HELMETS: tuple[Colour, ...] = ((235, 235, 235), (30, 210, 240), (170, 80, 30), (40, 40, 190), (40, 140, 240))


@lru_cache(maxsize=4096)
def _palette(look: str, kind: str) -> Palette:
    draw = dice("look", look, kind)
    mains = {"crate": _PAINTS + _WOODS, "log": _BARKS, "worker": _VESTS, "tyre": _PAINTS[5:7]}.get(kind, _PAINTS)
    seconds = {"worker": _TROUSERS, "log": _WOODS}.get(kind, _PAINTS)
    main = np.asarray(mains[int(draw.integers(len(mains)))]) * draw.uniform(0.8, 1.2) + draw.uniform(-10, 10, 3)
    second = seconds[int(draw.integers(len(seconds)))]
    return Palette(_colour(main), second, tuple(float(chance) for chance in draw.random(6)))


def _colour(values: NDArray[np.float64] | Colour) -> Colour:
    blue, green, red = (int(min(255, max(0, value))) for value in values)
    return blue, green, red


def _shade(colour: Colour, factor: float) -> Colour:
    return _colour((round(colour[0] * factor), round(colour[1] * factor), round(colour[2] * factor)))


class _Upright:
    """Draws flat shapes that stand on the ground and face the camera: metres right and up from the foot."""

    def __init__(self, thing: Thing, lens: Lens) -> None:
        self.right, self.down, self.scale = lens.spot(*thing.at)
        self.tilt = lens.tilt
        self.strokes: list[Stroke] = []

    def polygon(self, corners: list[tuple[float, float]] | Floats, colour: Colour, bodily: bool = True) -> None:
        metres = np.asarray(corners, dtype=np.float64)
        pixels = np.empty_like(metres)
        pixels[:, 0] = self.right + metres[:, 0] * self.scale
        pixels[:, 1] = self.down - metres[:, 1] * self.scale
        self.strokes.append(Stroke(pixels, colour, bodily))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, bodily: bool = True) -> None:
        self.polygon(_CIRCLE * (rx, ry) + (x, y), colour, bodily)

    def limb(self, x1: float, y1: float, x2: float, y2: float, thick: float, colour: Colour) -> None:
        length = math.hypot(x2 - x1, y2 - y1) or 1.0
        nx, ny = -(y2 - y1) / length * thick / 2, (x2 - x1) / length * thick / 2
        self.polygon([(x1 + nx, y1 + ny), (x2 + nx, y2 + ny), (x2 - nx, y2 - ny), (x1 - nx, y1 - ny)], colour)


def _worker(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    pen, tall = _Upright(thing, lens), thing.size
    stride, lean = math.sin(thing.phase) * 0.22 * tall, 0.02 * tall * thing.turn
    hip, neck = 0.47 * tall, 0.82 * tall
    skin = _shade((110, 150, 205), 0.5 + 0.5 * paint.chances[0])
    boots = (30, 30, 34)
    for foot, dark in ((-stride, 0.75), (stride, 1.0)):
        knee = foot * 0.45 + 0.05 * thing.turn
        lift = 0.04 * tall * max(0.0, math.cos(thing.phase) * (1 if dark == 1.0 else -1))
        pen.limb(0.0, hip, knee, 0.25 * tall, 0.11 * tall, _shade(paint.second, dark))
        pen.limb(knee, 0.26 * tall, foot, 0.03 * tall + lift, 0.09 * tall, _shade(paint.second, dark * 0.95))
        pen.polygon([(foot - 0.05, lift), (foot + 0.12 * (thing.turn or 1), lift), (foot, lift + 0.09)], boots)
    pen.limb(lean, neck - 0.02, lean + stride * 0.9, 0.5 * tall, 0.075 * tall, _shade(paint.main, 0.7))
    width = 0.125 * tall
    torso = [(-width * 0.8, hip - 0.04), (width * 0.8, hip - 0.04), (lean + width, neck), (lean - width, neck)]
    pen.polygon(torso, paint.main)
    for low in (0.57 * tall, 0.68 * tall):  # reflecting bands
        pen.polygon([(-width, low), (width, low), (width, low + 0.045), (-width, low + 0.045)], (215, 225, 225))
    pen.limb(lean, neck - 0.03, lean - stride * 0.9, 0.48 * tall, 0.075 * tall, _shade(paint.main, 0.85))
    pen.ellipse(lean * 1.5, 0.9 * tall, 0.058 * tall, 0.075 * tall, skin)
    helmet = _HELMETS[int(paint.chances[1] * len(_HELMETS))]
    pen.polygon(np.maximum(_CIRCLE, (-1.0, -0.1)) * (0.078 * tall, 0.075 * tall) + (lean * 1.5, 0.925 * tall), helmet)
    return pen.strokes


def _log(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
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
        rim = _CIRCLE * scale
        corners = pixels[end] + np.outer(rim[:, 0] * thick[end] * open_share, axis)
        corners = corners + np.outer(rim[:, 1] * thick[end] + turn, across)
        strokes.append(Stroke(corners, colour))

    def strip(low: float, high: float, colour: Colour) -> None:
        strokes.append(Stroke(np.array([
            pixels[0] + across * low * thick[0], pixels[1] + across * low * thick[1],
            pixels[1] + across * high * thick[1], pixels[0] + across * high * thick[0]]), colour))  # fmt: skip

    seen = int(np.argmin(depths))
    face(1 - seen, 1.0, _shade(paint.main, 0.8))
    # `across` points down when the axis points right; light comes from above.
    sign = 1.0 if across[1] > 0 else -1.0
    strip(-1.0, 1.0, paint.main)
    strip(sign * 0.35, sign * 1.0, _shade(paint.main, 0.66))
    strip(-sign * 0.8, -sign * 0.35, _shade(paint.main, 1.25))
    for number in range(3):  # bark, turning with the log
        angle = math.sin(thing.phase + 2.1 * number + 6 * paint.chances[number])
        if math.cos(thing.phase + 2.1 * number + 6 * paint.chances[number]) > 0:
            strip(0.85 * angle - 0.06, 0.85 * angle + 0.06, _shade(paint.main, 0.5))
    wood = _shade((150, 195, 228), 0.75 + 0.3 * paint.chances[4])
    face(seen, 1.0, _shade(paint.main, 0.6))
    face(seen, 0.84, wood)
    face(seen, 0.5, _shade(wood, 0.85))
    face(seen, 0.32, _shade(wood, 0.98))
    return strokes


def _box3d(thing: Thing, lens: Lens, size: tuple[float, float, float], colour: Colour) -> tuple[list[Stroke], Floats]:
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
        strokes.append(Stroke(quad, _shade(colour, 0.72 if side % 2 else 0.92)))
    strokes.append(Stroke(corners[4:], _shade(colour, 1.15)))
    return strokes, corners


def _crate(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    wide = thing.size * (0.95 + 0.5 * paint.chances[0])
    deep = thing.size * (0.8 + 0.4 * paint.chances[1])
    strokes, _ = _box3d(thing, lens, (wide, thing.size, deep), paint.main)
    sides = [stroke.corners for stroke in strokes[:2]]
    for quad in sides:  # slats
        for share in (0.25, 0.6):
            low = quad[:2] * (1 - share) + quad[[3, 2]] * share
            high = quad[:2] * (0.9 - share) + quad[[3, 2]] * (share + 0.1)
            strokes.append(Stroke(np.vstack([low, high[::-1]]), _shade(paint.main, 0.5)))
    return strokes


def _toolbox(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    body = thing.size * 0.74
    strokes, corners = _box3d(thing, lens, (thing.size * 1.7, body, thing.size * 0.75), paint.main)
    middle = corners[4:].mean(axis=0)
    pen = _Upright(thing, lens)
    pen.right, pen.down = float(middle[0]), float(middle[1])
    high, reach = thing.size * 0.26, thing.size * 0.45
    dark = (40, 40, 42)
    pen.limb(-reach, 0.0, -reach * 0.8, high, 0.06, dark)
    pen.limb(reach, 0.0, reach * 0.8, high, 0.06, dark)
    pen.limb(-reach * 0.85, high, reach * 0.85, high, 0.07, dark)
    front = strokes[1].corners
    band = np.vstack([front[:2] * 0.3 + front[[3, 2]] * 0.7, front[[2, 3]] * 0.82 + front[[1, 0]] * 0.18])
    return [*strokes, Stroke(band, _shade(paint.main, 0.45)), *pen.strokes]


def _barrel(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    pen, tall = _Upright(thing, lens), thing.size
    wide = tall * (0.3 + 0.06 * paint.chances[0])
    flat = wide * pen.tilt
    pen.ellipse(0, flat, wide, flat, _shade(paint.main, 0.7))
    pen.polygon([(-wide, flat), (wide, flat), (wide, tall), (-wide, tall)], paint.main)
    pen.polygon([(wide * 0.45, flat * 0.2), (wide, flat), (wide, tall), (wide * 0.45, tall)], _shade(paint.main, 0.68))
    pen.polygon([(-wide * 0.7, flat * 0.4), (-wide * 0.4, flat * 0.2), (-wide * 0.4, tall), (-wide * 0.7, tall)],
                _shade(paint.main, 1.25))  # fmt: skip
    band = paint.second if paint.chances[1] < 0.4 else _shade(paint.main, 0.5)
    for low in (0.36, 0.68):
        pen.polygon([(-wide, low * tall + flat * 0.3), (0, low * tall), (wide, low * tall + flat * 0.3),
                     (wide, low * tall + flat * 0.3 + 0.05), (0, low * tall + 0.05),
                     (-wide, low * tall + flat * 0.3 + 0.05)], band)  # fmt: skip
    pen.ellipse(0, tall, wide, flat, _shade(paint.main, 1.12))
    pen.ellipse(0, tall, wide * 0.8, flat * 0.8, _shade(paint.main, 0.85))
    return pen.strokes


def _tyre(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    pen, radius = _Upright(thing, lens), thing.size / 2
    face = math.cos(thing.turn * 0.8)
    rubber, tread = _shade(paint.main, 0.7), _shade(paint.main, 0.45)
    pen.ellipse(0.10 * radius + (1 - face) * 0.3, radius * 1.04, radius * face, radius, tread)
    pen.ellipse(0, radius, radius * face, radius, rubber)
    pen.ellipse(0, radius, radius * 0.82 * face, radius * 0.82, _shade(paint.main, 0.95))
    rim = (165, 165, 168) if paint.chances[0] < 0.5 else (92, 98, 100)
    pen.ellipse(0, radius, radius * 0.56 * face, radius * 0.56, rim)
    for number in range(3):
        angle = -thing.phase + number * 2 * math.pi / 3
        cos, sin = math.cos(angle) * face, math.sin(angle)
        pen.limb(0, radius, 0.5 * radius * cos, radius + 0.5 * radius * sin, 0.16 * radius, _shade(rim, 0.5))
    return pen.strokes


def _bucket(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    pen, tall = _Upright(thing, lens), thing.size * 0.8
    top, low = tall * 0.55, tall * 0.4
    flat = top * pen.tilt
    pen.ellipse(0, low * pen.tilt, low, low * pen.tilt, _shade(paint.main, 0.7))
    pen.polygon([(-low, low * pen.tilt), (low, low * pen.tilt), (top, tall), (-top, tall)], paint.main)
    pen.polygon([(low * 0.4, 0.02), (low, low * pen.tilt), (top, tall), (top * 0.4, tall)], _shade(paint.main, 0.72))
    pen.ellipse(0, tall, top, flat, _shade(paint.main, 1.2))
    pen.ellipse(0, tall - 0.01, top * 0.86, flat * 0.82, _shade(paint.main, 0.35))
    grip = thing.size - tall
    for left, right in ((-1.0, -0.6), (-0.6, 0.0), (0.0, 0.6), (0.6, 1.0)):
        pen.limb(left * top, tall + grip * (1 - left * left), right * top, tall + grip * (1 - right * right), 0.03,
                 (70, 70, 72))  # fmt: skip
    return pen.strokes


def _jerrycan(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    body = thing.size * 0.86
    strokes, corners = _box3d(thing, lens, (thing.size * 0.78, body, thing.size * 0.4), paint.main)
    front = strokes[1].corners
    for first, second in ((0, 2), (1, 3)):  # the pressed cross
        a, b = front[first] * 0.8 + front[second] * 0.2, front[first] * 0.2 + front[second] * 0.8
        side = np.array([0.0, max(1.0, 0.05 * thing.size * lens.focal / lens.distance)])
        strokes.append(Stroke(np.array([a, b, b + side, a + side]), _shade(paint.main, 0.6)))
    pen = _Upright(thing, lens)
    middle = corners[4:].mean(axis=0)
    pen.right, pen.down = float(middle[0]), float(middle[1])
    wide = thing.size * 0.3
    pen.limb(-wide, 0.0, wide * 0.3, thing.size * 0.13, 0.07, _shade(paint.main, 0.7))
    pen.limb(wide * 0.55, -0.02, wide * 0.9, thing.size * 0.14, 0.11, (45, 45, 48))
    return [*strokes, *pen.strokes]


def _bottle(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    pen, tall = _Upright(thing, lens), thing.size
    wide = tall * 0.17
    flat = wide * pen.tilt
    pen.ellipse(0, flat, wide, flat, _shade(paint.main, 0.7))
    pen.polygon([(-wide, flat), (wide, flat), (wide, tall * 0.72), (-wide, tall * 0.72)], paint.main)
    pen.ellipse(0, tall * 0.72, wide, tall * 0.14, paint.second if paint.chances[0] < 0.5 else paint.main)
    pen.polygon([(wide * 0.4, flat * 0.2), (wide, flat), (wide, tall * 0.72), (wide * 0.4, tall * 0.8)],
                _shade(paint.main, 0.7))  # fmt: skip
    pen.limb(0, tall * 0.84, 0, tall * 0.95, wide * 0.5, (70, 110, 130))
    pen.limb(-wide * 0.5, tall * 0.97, wide * 0.5, tall * 0.97, tall * 0.05, (60, 60, 64))
    return pen.strokes


def _sack(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    pen, tall = _Upright(thing, lens), thing.size
    bulge = 0.62 + 0.15 * paint.chances[0]
    cloth = _shade((175, 190, 200), 0.7 + 0.4 * paint.chances[1]) if paint.chances[2] < 0.5 else paint.main
    lobes = [(-0.5, 0.06), (-0.3, 0.0), (0.3, 0.0), (0.52, 0.08), (0.56, 0.3), (0.4, 0.62), (0.14, 0.78), (0.2, 0.98),
             (0.0, 0.9), (-0.18, 1.0), (-0.12, 0.78), (-0.42, 0.6), (-0.56, 0.3)]  # fmt: skip
    pen.polygon([(a * tall * 2 * bulge * 0.75, b * tall) for a, b in lobes], cloth)
    pen.polygon([(a * tall * 1.5 * bulge, b * tall) for a, b in [(0.1, 0.02), (0.3, 0.0), (0.52, 0.08), (0.56, 0.3),
                 (0.4, 0.62), (0.14, 0.76), (0.3, 0.4)]], _shade(cloth, 0.72))  # fmt: skip
    pen.limb(-0.13 * tall, 0.78 * tall, 0.15 * tall, 0.78 * tall, 0.05 * tall, _shade(cloth, 0.4))
    return pen.strokes


def _cone(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    pen, tall = _Upright(thing, lens), thing.size
    orange = _shade((35, 95, 245), 0.8 + 0.2 * paint.chances[0])
    pen.polygon([(-0.36 * tall, 0.0), (0.36 * tall, 0.0), (0.28 * tall, 0.12 * tall), (-0.28 * tall, 0.12 * tall)],
                _shade(orange, 0.6))  # fmt: skip

    def wide(share: float) -> float:
        return (0.22 * (1 - share) + 0.03) * tall

    for low, high, colour in ((0.06, 1.0, orange), (0.35, 0.52, (230, 232, 232)), (0.68, 0.8, (225, 228, 228))):
        pen.polygon([(-wide(low), low * tall), (wide(low), low * tall), (wide(high), high * tall),
                     (-wide(high), high * tall)], colour)  # fmt: skip
    return pen.strokes


def _sign(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    pen, tall = _Upright(thing, lens), thing.size
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


def _leaf(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    pen, half = _Upright(thing, lens), thing.size
    cos, sin = math.cos(thing.turn), math.sin(thing.turn)
    shape = [(-1.0, 0.0), (0.0, 0.45), (1.0, 0.0), (0.0, -0.45)]
    colours: tuple[Colour, ...] = ((30, 90, 150), (40, 130, 120), (25, 60, 140), (50, 110, 60))
    pen.polygon([(half * (a * cos - b * sin), half * (a * sin + b * cos)) for a, b in shape],
                colours[int(paint.chances[0] * len(colours))])  # fmt: skip
    return pen.strokes


def _bird(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    pen, tall = _Upright(thing, lens), thing.size
    grey = _shade((105, 100, 95), 0.6 + 0.7 * paint.chances[0])
    peck = 0.35 * tall if math.sin(5 * thing.phase) > 0.4 else 0.0
    pen.limb(0, 0, 0, 0.4 * tall, 0.03, (60, 90, 140))
    pen.ellipse(0, 0.55 * tall, 0.55 * tall, 0.3 * tall, grey)
    pen.ellipse(0.45 * tall, 0.95 * tall - peck, 0.2 * tall, 0.2 * tall, _shade(grey, 0.7))
    return pen.strokes


def _flyer(thing: Thing, lens: Lens, paint: Palette) -> list[Stroke]:
    pen, half = _Upright(thing, lens), thing.size
    flap = 0.7 * math.sin(thing.phase) * half
    dark = _shade((70, 66, 62), 0.6 + 0.6 * paint.chances[0])
    pen.polygon([(-half, flap), (0, 0.1 * half), (half, flap), (0, -0.16 * half)], dark)
    pen.ellipse(0.1 * half, 0, 0.3 * half, 0.13 * half, dark)
    return pen.strokes


_SKETCHES: dict[str, Callable[[Thing, Lens, Palette], list[Stroke]]] = {
    "worker": _worker, "log": _log, "crate": _crate, "toolbox": _toolbox, "barrel": _barrel, "tyre": _tyre,
    "bucket": _bucket, "jerrycan": _jerrycan, "bottle": _bottle, "sack": _sack, "cone": _cone, "sign": _sign,
    "leaf": _leaf, "bird": _bird, "flyer": _flyer,
}  # fmt: skip


def sketch(thing: Thing, lens: Lens) -> list[Stroke]:
    """The thing as polygons, back to front."""
    return _SKETCHES[thing.kind](thing, lens, _palette(thing.look, thing.kind))


def footprint(thing: Thing) -> float:
    """Half the width in metres of the shadow that the thing throws on the ground; 0 for what throws none."""
    if thing.kind == "log":
        return thing.length / 2
    return {"worker": 0.34, "leaf": 0.0, "flyer": 0.0, "sign": 0.2}.get(thing.kind, thing.size * 0.55)
