"""The yard itself: a camera's picture, and the truth of it, at any instant."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from demos.yard import timecode
from demos.yard.dice import dice
from demos.yard.ground import (
    Picture,
    fill,
    lamp_angle,
    light_by_day,
    light_by_night,
    paint_conveyor,
    paint_ground,
    sensor_noise,
)
from demos.yard.incidents import Incident, incident_thing, outside_things, plan_incident
from demos.yard.layout import CONVEYOR_Z, Layout, Thing, border_distance, lay_out, roi_document
from demos.yard.lens import Lens, hang_lens
from demos.yard.shapes import footprint, sketch
from demos.yard.strokes import Stroke
from demos.yard.traffic import belt_logs, drifting, ground_logs, workers

PERIOD_MS = 20_000


@dataclass(frozen=True)
class Truth:
    """What really is in a picture: a thing's class, its box and how much of it can be seen.

    `box` is (x1, y1, x2, y2) in fractions of the picture, x right and y down, cut at the picture's edge. `visible` is
    the share (0 to 1) of the thing that is in the picture and not hidden by what stands before it.
    """

    label: str
    box: tuple[float, float, float, float]
    visible: float


class Yard:
    """A sawmill's yard seen by one camera: a pure function of seed, camera name and time.

    `width` and `height` are the picture's size in pixels; the scene is the same at every size. `night` None lets the
    camera's name decide. `litter` times as many stains, leaves and birds as usual lie about, to train on.
    """

    def __init__(
        self,
        seed: int = 7,
        camera: str = "yard_gate",
        width: int = 640,
        height: int = 360,
        night: bool | None = None,
        litter: int = 1,
    ) -> None:
        self.seed, self.camera, self.width, self.height = seed, camera, width, height
        self._litter = litter
        self.lens: Lens = hang_lens(seed, camera, width, height)
        self.layout: Layout = lay_out(seed, camera, self.lens, night)
        self._ground = paint_ground(seed, camera, self.lens, self.layout, litter)
        self._conveyor, self._conveyor_mask = paint_conveyor(seed, camera, self.lens)
        covered = cv2.boundingRect(self._conveyor_mask)
        self._conveyor_at = (slice(covered[1], covered[1] + covered[3]), slice(covered[0], covered[0] + covered[2]))
        self._conveyor_small = cv2.resize(
            self._conveyor_mask, (width // 2, height // 2), interpolation=cv2.INTER_NEAREST
        )
        dark = self.layout.night
        self._light = (light_by_night if dark else light_by_day)(seed, camera, self.lens)
        draw = dice(seed, camera, "sensor")
        strength = draw.uniform(2.5, 5.5) if dark else draw.uniform(1.0, 3.0)
        self._noise = sensor_noise(seed, camera, self.lens, strength)
        self._sun = lamp_angle(seed, camera)
        self._drift = draw.uniform(4.0, 14.0) * width / 640  # pixels per second that clouds move
        self._incidents: OrderedDict[int, Incident] = OrderedDict()

    @property
    def night(self) -> bool:
        """Whether it is night in this yard."""
        return self.layout.night

    def roi_document(self) -> dict[str, Any]:
        """The camera's entry of `rois.yaml`: one forbidden polygon in fractions, and the classes."""
        return roi_document(self.camera, self.layout)

    def incident(self, number: int) -> Incident:
        """The `number`-th stay of a foreign object in the forbidden ground, from 0."""
        known = self._incidents.get(number)
        if known is None:
            known = plan_incident(self.seed, self.camera, self.lens, self.layout, number, self._veils)
            self._incidents[number] = known
            if len(self._incidents) > 64:
                self._incidents.popitem(last=False)
        return known

    def incidents(self, until_ms: int) -> list[Incident]:
        """All incidents that start before `until_ms`, in order."""
        planned = (self.incident(number) for number in range(until_ms // PERIOD_MS + 1))
        return [incident for incident in planned if incident.starts_ms < until_ms]

    def things(self, t_ms: int) -> list[Thing]:
        """Everything that stands, lies, walks, rolls or flies in the yard at `t_ms`, farthest first."""
        present = [thing for thing in self._present(t_ms) if self.depth(thing) > 2.0]
        return sorted(present, key=lambda thing: -self.depth(thing))

    def depth(self, thing: Thing) -> float:
        """How far the thing is from the camera, in metres, for who hides whom."""
        x, _, z = thing.at
        ahead = x * math.sin(self.lens.yaw) + z * math.cos(self.lens.yaw) + self.lens.distance
        # What rides on the conveyor stands before the conveyor and behind all that stands in front of it.
        return ahead - (0.05 if thing.kind == "log" and z == CONVEYOR_Z else 0.0)

    def at(self, t_ms: int) -> tuple[Picture, list[Truth]]:
        """The picture (H, W, 3, blue-green-red) at `t_ms` milliseconds of the scene's time, and what is in it."""
        return self.compose(self.things(t_ms), t_ms)

    def truths(self, t_ms: int) -> list[Truth]:
        """What is in the picture at `t_ms`, without the picture: the same as from `at`, in half the time."""
        return self._arrange(None, self.things(t_ms))

    def compose(self, things: list[Thing], t_ms: int) -> tuple[Picture, list[Truth]]:
        """The picture with these things in it, farthest first: `at` with a list of one's own, for tests."""
        picture = self._ground.copy()
        truths = self._arrange(picture, things)
        self._expose(picture, t_ms)
        timecode.draw(picture, t_ms)
        return picture, truths

    def _arrange(self, picture: Picture | None, things: list[Thing]) -> list[Truth]:
        """Draws the things, if there is a picture to draw them in, and finds out what of them stays visible."""
        owners = np.zeros((self.height // 2, self.width // 2), np.uint8)  # who is seen where, at half size
        drawn: list[tuple[Thing, NDArray[np.float64], int]] = []
        conveyor_due = True
        for number, thing in enumerate(things, start=1):
            if conveyor_due and self._before_conveyor(thing):
                self._paint_conveyor(picture, owners)
                conveyor_due = False
            strokes = sketch(thing, self.lens)
            outline = np.vstack([stroke.corners for stroke in strokes])
            box = np.concatenate([outline.min(axis=0), outline.max(axis=0)])
            if box[2] < 0 or box[3] < 0 or box[0] > self.width or box[1] > self.height:
                continue
            if picture is not None:
                self._throw_shadow(picture, thing)
                for stroke in strokes:
                    fill(picture, stroke.corners, stroke.colour)
            _claim(owners, strokes, number)
            if thing.label is not None:
                drawn.append((thing, box, _count(owners, box, number)))
                continue
        if conveyor_due:
            self._paint_conveyor(picture, owners)
        numbers = {id(thing): number for number, thing in enumerate(things, start=1)}
        truths = [self._truth(thing, box, full, owners, numbers[id(thing)]) for thing, box, full in drawn]
        return [truth for truth in truths if truth is not None]

    def _present(self, t_ms: int) -> Iterator[Thing]:
        seconds = t_ms / 1000.0
        yield from self.layout.furniture
        yield from self._traffic(seconds)
        for day in range(self._litter):
            yield from drifting(self.seed, self.camera, seconds + 86_400.0 * day)
        yield from outside_things(self.seed, self.camera, self.lens, self.layout, seconds)
        for number in {max(0, (t_ms - 6000) // PERIOD_MS), t_ms // PERIOD_MS}:
            thing = incident_thing(self.incident(number), self.seed, self.camera, self.layout, t_ms)
            if thing is not None:
                yield thing

    def _traffic(self, seconds: float) -> Iterator[Thing]:
        yield from workers(self.seed, self.camera, seconds)
        yield from belt_logs(self.seed, self.camera, self.layout, seconds)
        yield from ground_logs(self.seed, self.camera, seconds)

    def _veils(self, seconds: float) -> NDArray[np.float64]:
        rows = []
        for thing in (*self._traffic(seconds), *self.layout.furniture):
            right, down, scale = self.lens.spot(*thing.at)
            half = thing.length / 2 if thing.kind == "log" else 0.45 if thing.kind == "worker" else 0.3 * thing.size
            high = 2 * thing.size if thing.kind == "log" else thing.size
            aside, depth = half * scale, self.lens.focal / scale
            rows.append((depth, right - aside, down - high * scale, right + aside, down))
        return np.asarray(rows, dtype=np.float64).reshape(-1, 5)

    def _before_conveyor(self, thing: Thing) -> bool:
        return thing.at[2] <= CONVEYOR_Z

    def _paint_conveyor(self, picture: Picture | None, owners: Picture) -> None:
        if picture is not None:
            where = self._conveyor_at
            cv2.copyTo(self._conveyor[where], self._conveyor_mask[where], picture[where])
        owners[self._conveyor_small > 0] = 0

    def _throw_shadow(self, picture: Picture, thing: Thing) -> None:
        reach = footprint(thing)
        if reach == 0.0:
            return
        x, y, z = thing.at
        right, down, scale = self.lens.spot(x + 0.25 * math.sin(self._sun), 0.0 if y > 1.0 else y, z + 0.08)
        wide, high = max(2, round(reach * scale * 1.25)), max(2, round(max(0.16, reach * 0.5) * scale * self.lens.tilt))
        slant = 0.0
        if thing.kind == "log":
            # A turned log's shadow lies along the log.
            tip, _ = self.lens.project([(x + math.cos(thing.turn) * reach, y, z + math.sin(thing.turn) * reach)])
            slant = math.degrees(math.atan2(tip[0, 1] - down, tip[0, 0] - right))
            wide = max(2, round(1.1 * float(np.hypot(tip[0, 0] - right, tip[0, 1] - down))))
            high = max(2, round(thing.size * 1.6 * scale * self.lens.tilt))
        tall = high if slant == 0.0 else max(wide, high)
        x1, y1 = max(0, int(right) - wide), max(0, int(down) - tall)
        x2, y2 = min(self.width, int(right) + wide), min(self.height, int(down) + tall)
        if x2 <= x1 or y2 <= y1:
            return
        patch = picture[y1:y2, x1:x2]
        light = np.full(patch.shape, 255, np.uint8)
        dark = (150, 150, 150) if self.layout.night else (120, 120, 120)
        cv2.ellipse(light, (int(right) - x1, int(down) - y1), (wide, high), slant, 0, 360, dark, -1, cv2.LINE_AA)
        cv2.multiply(patch, light, patch, 1 / 255)

    def _truth(self, thing: Thing, box: NDArray[np.float64], full: int, owners: Picture, number: int) -> Truth | None:
        size = np.array([self.width, self.height, self.width, self.height], dtype=np.float64)
        cut = np.clip(box, 0.0, size)
        whole = (box[2] - box[0]) * (box[3] - box[1])
        inside = (cut[2] - cut[0]) * (cut[3] - cut[1])
        if full == 0 or inside <= 0.0:
            return None
        visible = min(1.0, _count(owners, box, number) / full) * inside / whole
        x1, y1, x2, y2 = (float(value) for value in cut / size)
        return Truth(thing.label or "", (x1, y1, x2, y2), float(visible)) if visible > 0.0 else None

    def _expose(self, picture: Picture, t_ms: int) -> None:
        light = self._light
        if not self.layout.night:
            # The clouds' map is three pictures wide and is walked to and fro.
            way = 2 * self.width
            place = (self._drift * t_ms / 1000.0) % (2 * way)
            left = int(place if place < way else 2 * way - place)
            light = light[:, left : left + self.width]
        cv2.multiply(picture, light, picture, 1 / 255)
        # Any fixed scramble of the time will do to move the noise from frame to frame.
        scrambled = (t_ms * 2654435761 + 97) & 0xFFFFFFFF
        down, right = (scrambled >> 8) % 64, (scrambled >> 20) % 64
        added, taken = (noise[down : down + self.height, right : right + self.width] for noise in self._noise)
        cv2.add(picture, added, picture)
        cv2.subtract(picture, taken, picture)


def _claim(owners: Picture, strokes: list[Stroke], number: int) -> None:
    polygons = [np.round(stroke.corners * 0.5).astype(np.int32) for stroke in strokes]
    for polygon in polygons:
        cv2.fillPoly(owners, [polygon], number)


def _count(owners: Picture, box: NDArray[np.float64], number: int) -> int:
    x1, y1 = max(0, int(box[0] / 2) - 1), max(0, int(box[1] / 2) - 1)
    region = owners[y1 : int(box[3] / 2) + 2, x1 : int(box[2] / 2) + 2]
    return int(np.count_nonzero(region == number))


def anchor_distance(yard: Yard, truth: Truth) -> float:
    """How far, in fractions of the picture, the foot of `truth` is inside the forbidden polygon (negative: outside)."""
    x1, _, x2, y2 = truth.box
    return border_distance(yard.layout.roi, ((x1 + x2) / 2, y2))
