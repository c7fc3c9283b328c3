"""Pictures of the synthetic yard for training and evaluation, as the detector will see them at run time.

At run time the detector sees JPEG of decoded H.264 from cameras of different widths, letterboxed into its input. The
same happens here, with the codecs' quality drawn per picture.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from demos.yard import Truth, Yard
from demos.yard.dice import dice

WIDTH, HEIGHT = 384, 224  # the network's input: 16:9 letterboxed to multiples of 32
LABELS = ("object", "pine", "worker")
VISIBLE = 0.3  # less of a thing than this is neither asked for nor taught
SMALLEST = 3.0  # pixels in the network's input, both ways: what is cut to a sliver at the edge is no example


@dataclass(frozen=True)
class Shot:
    """A letterboxed picture (HEIGHT, WIDTH, 3) and its boxes (N, 5): class, x1, y1, x2, y2 in its pixels."""

    picture: NDArray[np.uint8]
    boxes: NDArray[np.float32]


def letterbox(picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float, float, float]:
    """The picture fitted into the network's input on grey; and the scale and the offsets right and down."""
    height, width = picture.shape[:2]
    scale = min(WIDTH / width, HEIGHT / height)
    wide, high = round(width * scale), round(height * scale)
    fitted = np.full((HEIGHT, WIDTH, 3), 114, np.uint8)
    left, top = (WIDTH - wide) // 2, (HEIGHT - high) // 2
    fitted[top : top + high, left : left + wide] = cv2.resize(picture, (wide, high), interpolation=cv2.INTER_LINEAR)
    return fitted, scale, left, top


def frame(picture: NDArray[np.uint8], truths: list[Truth]) -> Shot:
    """A picture and its truth as the network sees them."""
    height, width = picture.shape[:2]
    fitted, scale, left, top = letterbox(picture)
    rows = []
    for truth in truths:
        x1, y1, x2, y2 = truth.box
        wide, high = width * scale, height * scale
        box = (x1 * wide + left, y1 * high + top, x2 * wide + left, y2 * high + top)
        if truth.visible >= VISIBLE and min(box[2] - box[0], box[3] - box[1]) >= SMALLEST:
            rows.append((LABELS.index(truth.label), *box))
    return Shot(fitted, np.asarray(rows, np.float32).reshape(-1, 5))


def through_h264(picture: NDArray[np.uint8], crf: int) -> NDArray[np.uint8]:
    """The picture as one H.264 key frame of that quality gives it back."""
    height, width = picture.shape[:2]
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as clip:
        stream = clip.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")):
            clip.mux(packet)
        for packet in stream.encode():
            clip.mux(packet)
    file.seek(0)
    with av.open(file) as clip:
        return np.asarray(next(clip.decode(video=0)).to_ndarray(format="bgr24"), np.uint8)


def through_jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The picture as JPEG of that quality gives it back."""
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def shoot(task: tuple[int, str, int]) -> list[Shot]:
    """`count` pictures from one camera: (seed, camera, count). Half of them pass through H.264, all through JPEG."""
    seed, camera, count = task
    cv2.setNumThreads(1)
    draw = dice(seed, camera, "shots")
    width = int(draw.choice([480, 640, 640, 640, 640, 640, 800, 960, 1280]))
    # What a detector takes for foreign objects is rare in one yard; several times as many make a lesson of it.
    yard = Yard(seed, camera, width=width, height=width * 9 // 16, litter=int(draw.choice([1, 3, 5])))
    shots = []
    for _ in range(count):
        t_ms = int(draw.integers(0, 6 * 3600 * 1000))
        if draw.random() < 0.5:  # oftener than chance an instant with an incident
            incident = yard.incident(t_ms // 20_000)
            t_ms = int(draw.integers(incident.starts_ms, incident.ends_ms))
        picture, truths = yard.at(t_ms)
        if draw.random() < 0.5:
            picture = through_h264(picture, int(draw.integers(22, 34)))
        shots.append(frame(through_jpeg(picture, int(draw.integers(78, 95))), truths))
    return shots
