"""The yard without its things: ground, buildings, sky, conveyor, and the maps of light that lie over them."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from demos.yard.dice import dice
from demos.yard.layout import CONVEYOR_HALF, CONVEYOR_TOP, CONVEYOR_Z, REACH, Layout
from demos.yard.lens import Floats, Lens

Picture = NDArray[np.uint8]
_SHIFT = 4  # fillPoly takes sixteenths of a pixel


def fill(picture: Picture, corners: Floats, colour: tuple[int, ...] | int) -> None:
    """Fills one polygon (N, 2) in pixels, with smooth edges."""
    points = np.round(corners * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(picture, [points], colour, cv2.LINE_AA, _SHIFT)


def clouds(draw: np.random.Generator, height: int, width: int, coarse: int) -> NDArray[np.float32]:
    """Smooth random shades between -1 and 1, in patches of about `coarse` pixels."""
    total = np.zeros((height, width), np.float32)
    for octave, share in ((1, 0.6), (3, 0.3), (9, 0.15)):
        cells = (max(2, octave * height // coarse + 2), max(2, octave * width // coarse + 2))
        cell = draw.standard_normal(cells).astype(np.float32)
        total += share * cv2.resize(cell, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(total, -1.0, 1.0)


def paint_ground(seed: int, camera: str, lens: Lens, layout: Layout, litter: int = 1) -> Picture:
    """The still background (H, W, 3): what the camera sees when nothing is there; `litter` times as many stains."""
    draw = dice(seed, camera, "ground")
    width, height = lens.width, lens.height_px
    # The ground's texture is drawn on a square of 24 m seen from above and then laid out in perspective.
    side, metres = 768, 24.0
    per_metre = side / metres
    tint = np.array([1.0, 1.0, 1.0]) + draw.uniform(-0.07, 0.07, 3)
    tone = draw.uniform(100, 175)
    grain = draw.standard_normal((side, side)).astype(np.float32)
    shade = 1.0 + 0.13 * clouds(draw, side, side, 260) + draw.uniform(0.02, 0.07) * cv2.GaussianBlur(grain, (3, 3), 0)
    above = np.clip(tone * shade[:, :, None] * tint.astype(np.float32), 0, 255).astype(np.uint8)

    worn, seam = (tuple(int(tone * factor * channel) for channel in tint) for factor in (0.86, 0.8))

    def seen_from_above(x: float, z: float) -> tuple[float, float]:
        return (x + metres / 2) * per_metre, (metres / 2 + 4 - z) * per_metre

    for _ in range(int(draw.integers(2, 6))):  # tyre tracks
        x, slope = draw.uniform(-10, 10), draw.uniform(-1.2, 1.2)
        for offset in (0.0, 1.5):
            ends = np.array([seen_from_above(x + offset, -8), seen_from_above(x + offset + 16 * slope, 8)], np.int32)
            cv2.line(above, ends[0].tolist(), ends[1].tolist(), worn, int(draw.integers(4, 9)), cv2.LINE_AA)
    for _ in range(litter * int(draw.integers(1, 5))):  # puddles and oil
        u, v = seen_from_above(draw.uniform(-7, 7), draw.uniform(-4, 5))
        axes = (int(draw.uniform(8, 34)), int(draw.uniform(6, 22)))
        colour = (150, 138, 122) if draw.random() < 0.6 else (46, 44, 44)
        cv2.ellipse(above, (int(u), int(v)), axes, draw.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    if draw.random() < 0.7:  # slabs
        gap = int(draw.uniform(2.0, 4.0) * per_metre)
        for place in range(0, side, gap):
            cv2.line(above, (place, 0), (place, side), seam, 1, cv2.LINE_AA)
            cv2.line(above, (0, place), (side, place), seam, 1, cv2.LINE_AA)
    # The border of the forbidden ground, painted in yellow as far as it lies in front of the conveyor.
    half, near = layout.half_width, layout.near
    for a, b in (((-half, near), (half, near)), ((-half, near), (-half, 0.9)), ((half, near), (half, 0.9))):
        start, end = seen_from_above(*a), seen_from_above(*b)
        cv2.line(above, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), (40, 175, 205), 4, cv2.LINE_AA)

    corners = [(-5.0, -4.0), (5.0, -4.0), (5.0, 6.0), (-5.0, 6.0)]
    source = np.array([seen_from_above(*corner) for corner in corners], np.float32)
    target, _ = lens.project([(x, 0.0, z) for x, z in corners])
    warp = cv2.getPerspectiveTransform(source, target.astype(np.float32))
    picture = cv2.warpPerspective(above, warp, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    _paint_backdrop(picture, draw, lens)
    return np.ascontiguousarray(picture, dtype=np.uint8)


def _paint_backdrop(picture: Picture, draw: np.random.Generator, lens: Lens) -> None:
    """A wall, a fence or a row of trees along the far side of the yard, and the sky over it."""
    far = draw.uniform(6.0, 8.5)
    high = draw.uniform(2.0, 4.5)
    left, right = -22.0, 22.0
    wall, _ = lens.project([(left, 0.0, far), (right, 0.0, far), (right, high, far), (left, high, far)])
    above = np.vstack([wall[3], wall[2], [picture.shape[1] * 3, -2000], [-picture.shape[1] * 3, -2000]])
    sky = (215, 205, 190) if draw.random() < 0.6 else (225, 190, 150)
    fill(picture, above, sky)
    kind = draw.random()
    if kind < 0.55:  # corrugated sheets, with doors
        colour = np.array([(120, 112, 100), (95, 110, 92), (88, 92, 120), (150, 150, 148)][int(draw.integers(4))])
        fill(picture, wall, tuple(int(c) for c in colour))
        for x in np.arange(-15, 15, draw.uniform(0.4, 0.9)):
            ends, _ = lens.project([(x, 0.0, far), (x, high, far), (x + 0.12, high, far), (x + 0.12, 0.0, far)])
            fill(picture, ends, tuple(int(c * 0.85) for c in colour))
        for _ in range(2):
            x = draw.uniform(-9, 8)
            door, _ = lens.project([(x, 0.0, far), (x + 2.2, 0.0, far), (x + 2.2, 1.9, far), (x, 1.9, far)])
            fill(picture, door, tuple(int(c) for c in draw.uniform(40, 190, 3)))
    elif kind < 0.8:  # trees
        fill(picture, wall, (52, 70, 50))
        for _ in range(60):
            x, y, size = draw.uniform(-14, 14), draw.uniform(0.1, high + 0.6), draw.uniform(0.3, 0.8)
            right_px, down_px, scale = lens.spot(x, y, far)
            green = tuple(int(c) for c in np.array((50, 80, 52)) * draw.uniform(0.6, 1.3))
            cv2.circle(picture, (int(right_px), int(down_px)), max(1, int(size * scale)), green, -1, cv2.LINE_AA)
    else:  # fence before a field
        fill(picture, wall, (92, 128, 118))
        for x in np.arange(-15, 15, 1.2):
            post, _ = lens.project([(x, 0.0, far), (x + 0.1, 0.0, far), (x + 0.1, 2.0, far), (x, 2.0, far)])
            fill(picture, post, (96, 98, 100))
        for y in np.arange(0.3, 2.0, 0.3):
            wire, _ = lens.project([(-16, y, far), (16, y, far), (16, y + 0.03, far), (-16, y + 0.03, far)])
            fill(picture, wire, (120, 122, 124))


def paint_conveyor(seed: int, camera: str, lens: Lens) -> tuple[Picture, Picture]:
    """The conveyor alone: a picture (H, W, 3) and a mask (H, W), 255 where the conveyor covers what is behind it."""
    draw = dice(seed, camera, "conveyor")
    picture = np.zeros((lens.height_px, lens.width, 3), np.uint8)
    mask = np.zeros((lens.height_px, lens.width), np.uint8)
    frame = np.array([(95, 100, 105), (60, 110, 160), (110, 75, 45), (70, 95, 70)][int(draw.integers(4))])
    near, far, top = CONVEYOR_Z - CONVEYOR_HALF, CONVEYOR_Z + CONVEYOR_HALF, CONVEYOR_TOP

    def panel(corners: list[tuple[float, float, float]], colour: tuple[int, ...]) -> None:
        pixels, _ = lens.project(corners)
        fill(picture, pixels, colour)
        fill(mask, pixels, 255)

    for x in np.arange(-REACH - 1, REACH + 1, 1.6):  # legs
        for z in (far, near):
            panel([(x, 0.0, z), (x + 0.12, 0.0, z), (x + 0.12, top, z), (x, top, z)], _scaled(frame, 0.6))
    panel([(-12, top, near), (12, top, near), (12, top, far), (-12, top, far)], (62, 62, 64))
    for x in np.arange(-12, 12, 0.35):  # rollers
        panel([(x, top, near), (x + 0.1, top, near), (x + 0.1, top, far), (x, top, far)], (86, 87, 90))
    panel([(-12, top - 0.2, near), (12, top - 0.2, near), (12, top, near), (-12, top, near)], _scaled(frame, 0.95))
    panel([(-12, top - 0.03, near), (12, top - 0.03, near), (12, top, near), (-12, top, near)], _scaled(frame, 1.3))
    return picture, mask


def _scaled(colour: NDArray[np.int_], factor: float) -> tuple[int, ...]:
    return tuple(int(min(255, channel * factor)) for channel in colour)


def light_by_day(seed: int, camera: str, lens: Lens) -> Picture:
    """Light that drifts over the yard with the clouds (H, 3 W, 3): 255 is full light."""
    draw = dice(seed, camera, "day")
    shade = clouds(draw, lens.height_px // 4, lens.width * 3 // 4, 110)
    depth = draw.uniform(0.0, 0.28)
    light = np.clip((1.0 - depth * np.clip(shade + 0.2, 0.0, 1.0)) * draw.uniform(0.85, 1.0), 0.0, 1.0)
    large = cv2.resize(light, (lens.width * 3, lens.height_px), interpolation=cv2.INTER_LINEAR)
    return np.repeat((255 * large).astype(np.uint8)[:, :, None], 3, axis=2)


def light_by_night(seed: int, camera: str, lens: Lens) -> Picture:
    """Lamps over a dark yard (H, W, 3): the forbidden ground is always lit, its surroundings fade."""
    draw = dice(seed, camera, "night")
    rows, columns = np.mgrid[0 : lens.height_px, 0 : lens.width].astype(np.float32)
    light = np.full((lens.height_px, lens.width), draw.uniform(0.20, 0.30), np.float32)
    lamps = [(0.0, 0.0)] + [(draw.uniform(-6, 6), draw.uniform(-2, 5)) for _ in range(int(draw.integers(1, 4)))]
    for x, z in lamps:
        right, down, scale = lens.spot(x, 0.0, z)
        spread = draw.uniform(3.0, 5.0) * scale
        light += draw.uniform(0.28, 0.48) * np.exp(
            -(((columns - right) / spread) ** 2 + ((rows - down) / (spread * 0.75)) ** 2)
        )
    cast = np.array([[0.82, 0.95, 1.0], [1.0, 0.97, 0.9]][int(draw.integers(2))], np.float32)
    return np.asarray(np.clip(255 * np.minimum(light, 0.85)[:, :, None] * cast, 0, 255), dtype=np.uint8)


def sensor_noise(seed: int, camera: str, lens: Lens, strength: float) -> tuple[Picture, Picture]:
    """What the sensor adds and what it takes away, larger than the picture so that it can be moved every frame."""
    draw = dice(seed, camera, "noise")
    shape = (lens.height_px + 64, lens.width + 64)
    grey = draw.standard_normal(shape).astype(np.float32)[:, :, None]
    colour = draw.standard_normal((*shape, 3)).astype(np.float32)
    noise = strength * (0.8 * grey + 0.5 * colour)
    return np.clip(noise, 0, 255).astype(np.uint8), np.clip(-noise, 0, 255).astype(np.uint8)


def lamp_angle(seed: int, camera: str) -> float:
    """Where the light comes from, in radians: shadows fall to the other side."""
    return dice(seed, camera, "sun").uniform(-0.9, 0.9) * math.pi / 2
