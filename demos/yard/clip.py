"""The yard as a file: an H.264 clip as a camera would record it, with the truth of every frame beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from demos.yard.paint import Truth, Yard

BIT_RATE = 1_300_000  # what a camera's sub-stream at 640x360 is commonly set to


@dataclass(frozen=True)
class TruthLine:
    """One line of `truth.jsonl`: the scene's time in milliseconds and what is in the frame of that time."""

    t_ms: int
    truths: tuple[Truth, ...]


def write_clip(
    path: Path, yard: Yard, seconds: float, fps: int = 25, start_ms: int = 0, bit_rate: int = BIT_RATE
) -> Path:
    """Writes `seconds` of `yard` from `start_ms` on to an MP4 at `path`, and its truth to `truth_path(path)`.

    One key frame a second and no B frames, as cameras send; the frame at index n shows the scene at
    start_ms + n * 1000 / fps (rounded to whole milliseconds) and carries exactly n / fps as its time. Gives the path of
    the truth.
    """
    beside = truth_path(path)
    with av.open(str(path), "w") as clip, beside.open("w", encoding="utf-8") as lines:
        stream = clip.add_stream(
            "libx264",
            rate=fps,
            options={
                "preset": "veryfast",
                "threads": "1",
                "x264-params": f"keyint={fps}:min-keyint={fps}:scenecut=0:bframes=0",
            },
        )
        stream.width, stream.height, stream.pix_fmt = yard.width, yard.height, "yuv420p"
        stream.bit_rate = bit_rate * yard.width * yard.height // (640 * 360)
        stream.time_base = Fraction(1, fps)
        for number in range(round(seconds * fps)):
            t_ms = start_ms + round(number * 1000 / fps)
            picture, truths = yard.at(t_ms)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            clip.mux(stream.encode(frame))
            lines.write(_line(t_ms, truths))
        clip.mux(stream.encode())
    return beside


def truth_path(clip: Path) -> Path:
    """Where the truth of a clip lies: `gate.mp4` has `gate.truth.jsonl` beside it, `clip.mp4` has `truth.jsonl`."""
    return clip.with_name("truth.jsonl" if clip.stem == "clip" else f"{clip.stem}.truth.jsonl")


def read_truth(path: Path) -> Iterator[TruthLine]:
    """The lines of a truth file, in the order of time."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            truths = tuple(Truth(truth["label"], tuple(truth["box"]), truth["visible"]) for truth in entry["truths"])
            yield TruthLine(entry["t_ms"], truths)


def _line(t_ms: int, truths: list[Truth]) -> str:
    entries = [{"label": truth.label, "box": truth.box, "visible": truth.visible} for truth in truths]
    return json.dumps({"t_ms": t_ms, "truths": entries}, separators=(",", ":")) + "\n"
