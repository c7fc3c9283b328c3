"""Small videos for tests, made on the spot."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np


def write_clip(
    path: Path, *, size: tuple[int, int] = (320, 180), seconds: float = 4.0, fps: int = 10, moving: bool = True
) -> Path:
    """An H.264 clip of a textured ground with a square that moves and, as cameras have, a little noise.

    ``moving`` False: one picture over and over, without noise.
    """
    width, height = size
    dice = np.random.default_rng(7)
    ground = cv2.resize(dice.integers(40, 200, (9, 16, 3), dtype=np.uint8), size, interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, fps)
        stream.options = {"preset": "ultrafast", "g": str(fps), "bf": "0"}
        for number in range(round(seconds * fps)):
            picture = ground
            if moving:
                picture = cv2.add(ground, dice.integers(0, 6, ground.shape, dtype=np.uint8))
                left = (number * 7) % (width - 40)
                cv2.rectangle(picture, (left, 40), (left + 40, 80), (20, 40, 230), -1)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
