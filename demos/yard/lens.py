"""The camera over the yard: metres on the ground to pixels in the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demos.yard.dice import dice

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lens:
    """A pinhole camera that looks down on the yard.

    The world is in metres: x right, y up, z away from the camera, the origin in the middle of the forbidden ground.
    `focal` and `centre` are in pixels; `pitch` (downwards) and `yaw` are in radians; `height` and `distance` say in
    metres where the camera hangs.
    """

    width: int
    height_px: int
    focal: float
    centre: tuple[float, float]
    height: float
    distance: float
    pitch: float
    yaw: float

    def project(self, points: Any) -> tuple[Floats, Floats]:
        """Pixels (N, 2) and depths in metres (N,) of world points (N, 3)."""
        world = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        x, y, z = world[:, 0], world[:, 1] - self.height, world[:, 2]
        sin_yaw, cos_yaw = math.sin(self.yaw), math.cos(self.yaw)
        sin_pitch, cos_pitch = math.sin(self.pitch), math.cos(self.pitch)
        right = x * cos_yaw - z * sin_yaw
        ahead = x * sin_yaw + z * cos_yaw + self.distance
        # Half a metre in front of the glass is as near as anything gets: dividing by less turns pictures inside out.
        depth = np.maximum(ahead * cos_pitch - y * sin_pitch, 0.5)
        up = y * cos_pitch + ahead * sin_pitch
        pixels = np.stack(
            [self.centre[0] + self.focal * right / depth, self.centre[1] - self.focal * up / depth], axis=1
        )
        return pixels, depth

    def spot(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """Where one world point falls: pixel right, pixel down, pixels per metre there."""
        pixels, depth = self.project([(x, y, z)])
        return float(pixels[0, 0]), float(pixels[0, 1]), self.focal / float(depth[0])

    def fraction(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Where one world point falls, as fractions of the picture."""
        right, down, _ = self.spot(x, y, z)
        return right / self.width, down / self.height_px

    @property
    def tilt(self) -> float:
        """How round a circle lying on the ground looks: 0 a line, 1 a circle."""
        return math.sin(math.atan2(self.height, self.distance))


def hang_lens(seed: int, camera: str, width: int, height: int) -> Lens:
    """The camera's place, drawn from its name: no two cameras see the yard from the same corner."""
    draw = dice(seed, camera, "lens")
    distance = draw.uniform(9.5, 14.0)
    lift = distance * math.tan(draw.uniform(0.50, 0.72))
    # 46-64 pixels per metre at 640 wide: a worker of 1.75 m is 80-112 pixels high, a bucket of 0.45 m over 20.
    per_metre = draw.uniform(46.0, 64.0) * width / 640.0
    slant = math.hypot(distance, lift)
    # The forbidden ground sits a little under the middle and off it to a side.
    down = draw.uniform(0.02, 0.10) * height / (per_metre * slant)
    return Lens(
        width=width,
        height_px=height,
        focal=per_metre * slant,
        centre=(width * draw.uniform(0.44, 0.56), height * 0.5),
        height=lift,
        distance=distance,
        pitch=math.atan2(lift, distance) - math.atan(down),
        yaw=draw.uniform(-0.38, 0.38),
    )
