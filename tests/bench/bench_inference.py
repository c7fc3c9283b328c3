"""What one picture costs inference on the CPU, from the JPEG on the topic to its detections.

First the way to the detector's input, beside the plain one (`cv2.imdecode`, scaled afterwards); then whole pictures
through the shipped model; then the stage itself: frames a second from topic to topic on a real broker, with a detector
that takes no time, so that what is measured is everything around it. Times are CPU milliseconds, the median of rounds
in turns, one thread for the model.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from inference.boxes import letterbox
from inference.detectors import open_detector
from inference.pictures import Limits, Picture, decode
from runtime.broker import LocalBroker
from runtime.kafka import admin
from runtime.provision import apply_topics
from runtime.settings import KafkaSettings
from schemas.documents.services import InferenceSettings
from tests.support.inference_stage import Frames, inference_settings, jpeg, read_events, running_stage, write_script

ROUNDS = 15
FRAMES = 3000
CAMERAS = ("yard_a", "yard_b", "gate", "dock")
MODEL = Path(__file__).resolve().parents[2] / "models" / "yard" / "yard-2.onnx"
LIMITS = Limits(max_bytes=10_000_000)


def street(width: int, height: int) -> bytes:
    """A JPEG with texture at all scales."""
    dice = np.random.default_rng(3)
    ground = np.zeros((height, width, 3), np.float32)
    for scale in (4, 16, 64):
        coarse = dice.normal(size=(height // scale + 2, width // scale + 2, 3)).astype(np.float32)
        ground += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * scale**0.6
    picture = np.clip(128 + ground * 8 + dice.normal(0, 3, ground.shape), 0, 255).astype(np.uint8)
    content: bytes = simplejpeg.encode_jpeg(picture, quality=85)
    return content


def plain(content: bytes, size: tuple[int, int]) -> Picture:
    """Decoded whole, then scaled."""
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    place = letterbox((picture.shape[1], picture.shape[0]), size)
    scaled: Picture = cv2.resize(picture, (place.width, place.height))[:, :, ::-1]
    return scaled


def ours(content: bytes, size: tuple[int, int]) -> Picture:
    """Decoded at a half or less where that is enough, then scaled."""
    picture = decode(content, LIMITS, ("jpeg",), size)
    place = letterbox((picture.shape[1], picture.shape[0]), size)
    scaled: Picture = cv2.resize(picture, (place.width, place.height))
    return scaled


def medians(ways: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """CPU milliseconds of each way, the ways taking turns."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            if number:  # the first round warms up
                spent[name].append((time.process_time() - start) * 1000)
    return {name: statistics.median(times) for name, times in spent.items()}


def pictures() -> None:
    """From JPEG to input, and whole pictures through the shipped model."""
    print("JPEG to the detector's input (CPU ms)     plain   ours   ratio")
    for width, height in ((640, 360), (1280, 720), (1920, 1080)):
        content = street(width, height)
        found = medians(
            {"plain": lambda c=content: plain(c, (640, 640)), "ours": lambda c=content: ours(c, (640, 640))}
        )
        ratio = found["plain"] / found["ours"]
        print(
            f"  {width:>4} x {height:<4} into 640 x 640 {'':12}{found['plain']:6.1f} {found['ours']:6.1f} {ratio:6.2f}"
        )
    if not MODEL.exists():
        print("the shipped model is not here: its figures are left out")
        return
    settings = InferenceSettings(model_path=str(MODEL), threads=1)
    detector = open_detector(settings, device="cpu", registry=MODEL.parents[1] / "registry.yaml")
    assert detector.input_size is not None
    content = street(1280, 720)
    picture = decode(content, LIMITS, ("jpeg",), detector.input_size)
    found = medians(
        {
            "decode": lambda: decode(content, LIMITS, ("jpeg",), detector.input_size),
            "one": lambda: detector.detect([picture]),
            "eight": lambda: detector.detect([picture] * 8),
        }
    )
    size = f"{detector.input_size[0]} x {detector.input_size[1]}"
    print(
        f"{detector.model.name} {detector.model.version}, input {size}, 1280 x 720 JPEG, one thread (CPU ms a picture)"
    )
    print(f"  decode {found['decode']:.1f}   detect {found['one']:.1f}   in batches of eight {found['eight'] / 8:.1f}")


def stage() -> None:
    """Frames a second through the stage, live (in batches) and complete (one at a time)."""
    with tempfile.TemporaryDirectory(prefix="backsight-bench-") as name:
        folder = Path(name)
        script = write_script(folder / "script.jsonl", CAMERAS, FRAMES // len(CAMERAS))
        broker = LocalBroker(folder / "kafka", port=0, bound=True)
        broker.start()
        try:
            for mode in ("live", "complete"):
                prefix = f"{mode}."
                settings = inference_settings(broker.bootstrap, prefix, script, staleness_seconds=600)
                apply_topics(admin(KafkaSettings(bootstrap_servers=broker.bootstrap)), prefix, partitions=4)
                frames = Frames(broker.bootstrap, f"{prefix}frames")
                content = jpeg(640, 360)
                for seq in range(FRAMES // len(CAMERAS)):
                    for camera_id in CAMERAS:
                        frames.send(camera_id, seq, "live" if mode == "live" else "complete", value=content)
                frames.flush()
                with running_stage(settings):
                    events = read_events(broker.bootstrap, prefix, FRAMES, seconds=120)
                sent = sorted(int(dict(record.headers())["inferred_at"]) for record, _ in events)
                print(f"  {mode:<9}{(len(sent) - 1) / (sent[-1] - sent[0]) * 1000:8.0f} frames a second")
        finally:
            broker.stop()


def main() -> int:
    """Prints the tables."""
    cv2.setNumThreads(1)
    pictures()
    print("the stage on a real broker, 640 x 360 frames, a detector that takes no time")
    stage()
    return 0


if __name__ == "__main__":
    sys.exit(main())
