"""Measures the yard's model on cameras that it was not trained on.

Run from the repository's root in the project's own environment; the model runs in the project's own detector:

    python models/yard/evaluate.py boxes    # average precision on single pictures
    python models/yard/evaluate.py alerts   # alerts after the rules: false ones per camera-hour, incidents caught
    python models/yard/evaluate.py speed    # milliseconds per picture, one thread

Pictures go the way they go at run time: painted, through H.264, through JPEG at quality 85, decoded, detected.
"""

# ruff: noqa: E402, T201 - the paths come first; a script prints

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, repeat
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from pictures import LABELS, SMALLEST, VISIBLE, WIDTH, through_h264, through_jpeg

from demos.yard import Truth, Yard, anchor_distance
from demos.yard.dice import dice
from inference.detectors import onnx as detector
from inference.detectors.contract import DetectorSettings
from inference.model_registry import Identity
from rules.document import compile_rules
from rules.engine import step
from rules.state import CameraState
from schemas.documents.rois import CameraRois, RoiDefaults, effective_rules
from schemas.effective import revision_of
from schemas.messages import Alert, Detection, DetectionEvent, FrameRef, Model

UNSEEN = 900_001  # the training drew its cameras from seeds near 1001
FPS = 5
NAMELESS = Model("yard", "1", "0" * 64)
Floats = NDArray[np.float64]


def open_model(path: Path, floor: float) -> detector.OnnxDetector:
    """The model in the project's own detector, on one thread."""
    settings = DetectorSettings(device="cpu", floor=floor, iou=0.6, batch_size=1, fp16=False, threads=1)
    return detector.load(path, Identity(NAMELESS, None), settings)


def rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Red first, as the project's detectors take pictures."""
    return np.ascontiguousarray(picture[:, :, ::-1])


# --- boxes -----------------------------------------------------------------------------------------------------------


def overlap(box: Floats, others: Floats) -> Floats:
    """Intersection over union of one box with many."""
    wide = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    high = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    shared = np.clip(wide, 0, None) * np.clip(high, 0, None)
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return shared / ((box[2] - box[0]) * (box[3] - box[1]) + areas - shared)


def asked_for(truth: Truth) -> bool:
    """Whether missing this one counts: enough of it is to be seen, and it is no sliver at the edge."""
    x1, y1, x2, y2 = truth.box
    return truth.visible >= VISIBLE and min((x2 - x1) * WIDTH, (y2 - y1) * WIDTH * 9 / 16) >= SMALLEST


def average_precision(seen: list[tuple[list[Truth], tuple[Detection, ...]]], label: str, iou: float) -> float:
    """COCO's 101-point average precision of one class; things not asked for are neither wanted nor held against."""
    scored: list[tuple[float, bool]] = []
    wanted = 0
    for truths, found in seen:
        ours = [truth for truth in truths if truth.label == label]
        boxes = np.array([truth.box for truth in ours], np.float64).reshape(-1, 4)
        must = [asked_for(truth) for truth in ours]
        wanted += sum(must)
        taken = [False] * len(ours)
        for detection in sorted((d for d in found if d.label == label), key=lambda d: -d.confidence):
            shares = overlap(np.asarray(detection.box, np.float64), boxes) if len(ours) else np.zeros(0)
            free = [(share, place) for place, share in enumerate(shares) if share >= iou and not taken[place]]
            # A thing that was asked for goes before one that was not, as in COCO.
            best = max(free, key=lambda pair: (must[pair[1]], pair[0]), default=None)
            if best is None:
                scored.append((detection.confidence, False))
                continue
            taken[best[1]] = True
            if must[best[1]]:
                scored.append((detection.confidence, True))
    scored.sort(key=lambda pair: -pair[0])
    right = np.cumsum([good for _, good in scored])
    precision = right / np.arange(1, len(scored) + 1)
    recall = right / max(1, wanted)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.mean([precision[place] if place < len(precision) else 0.0 for place in places]))


def see_camera(task: tuple[str, int, int]) -> list[tuple[bool, list[Truth], tuple[Detection, ...]]]:
    """Truths and detections of some pictures of one camera: (model, number of the camera, pictures)."""
    path, number, count = task
    cv2.setNumThreads(1)
    model = open_model(Path(path), 0.01)
    camera = f"unseen-{number}"
    draw = dice(UNSEEN, camera, "evaluate")
    width = int(draw.choice([640, 640, 640, 1280]))
    yard = Yard(UNSEEN, camera, width=width, height=width * 9 // 16)
    seen = []
    for _ in range(count):
        picture, truths = yard.at(int(draw.integers(0, 6 * 3600 * 1000)))
        picture = through_jpeg(through_h264(picture, int(draw.integers(24, 31))), 85)
        (found,) = model.detect([rgb(picture)])
        seen.append((yard.night, truths, found))
    return seen


def measure_boxes(options: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """Prints average precision per class, by day, by night and together."""
    tasks = [(str(options.model), number, 8) for number in range(options.cameras)]
    seen = list(chain.from_iterable(pool.map(see_camera, tasks)))
    print(f"{len(seen)} pictures from {options.cameras} unseen cameras, {sum(night for night, _, _ in seen)} by night")
    for name, chosen in (("all", (True, False)), ("day", (False,)), ("night", (True,))):
        part = [(truths, found) for night, truths, found in seen if night in chosen]
        if not part:
            continue
        halves = {label: average_precision(part, label, 0.5) for label in LABELS}
        strict = [average_precision(part, label, iou) for label in LABELS for iou in np.arange(0.5, 0.96, 0.05)]
        each = ", ".join(f"{label} {value:.3f}" for label, value in halves.items())
        print(f"{name}: mAP50 {np.mean(list(halves.values())):.3f} ({each}), mAP50-95 {np.mean(strict):.3f}")


# --- alerts ----------------------------------------------------------------------------------------------------------


def frames(yard: Yard, start_ms: int, seconds: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """A minute or so at 5 pictures a second as it comes out of a camera's H.264 and ingest's JPEG."""
    file = io.BytesIO()
    instants = [start_ms + round(number * 1000 / FPS) for number in range(seconds * FPS)]
    with av.open(file, "w", format="mp4") as clip:
        stream = clip.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "threads": "1", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = yard.width, yard.height, "yuv420p"
        # As many bits per picture as 1.3 Mbit/s gives at 25 a second, though five times as much moves between two.
        stream.bit_rate, stream.gop_size = 1_300_000 * FPS // 25, FPS
        for t_ms in instants:
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(yard.at(t_ms)[0], format="bgr24")))
        clip.mux(stream.encode())
    file.seek(0)
    with av.open(file) as clip:
        for t_ms, frame in zip(instants, clip.decode(video=0), strict=True):
            yield t_ms, through_jpeg(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8), 85)


def watch_camera(task: tuple[str, int, int]) -> dict[str, object]:
    """One unseen camera for some minutes: what the rules made of the detector's boxes, held against the truth."""
    path, number, minutes = task
    cv2.setNumThreads(1)
    model = open_model(Path(path), 0.1)
    camera = f"watched-{number}"
    yard = Yard(UNSEEN, camera)
    entry = CameraRois.model_validate(yard.roi_document())
    rules = effective_rules(entry, RoiDefaults())
    document = compile_rules(rules, revision_of(rules), 0)
    start_ms = 3_600_000 * (number % 5)
    state, alerts, seq = CameraState(), [], 0
    inside: dict[int, bool] = {}
    for minute in range(minutes):
        for t_ms, picture in frames(yard, start_ms + 60_000 * minute, 60):
            (found,) = model.detect([rgb(picture)])
            event = DetectionEvent(
                camera, t_ms, seq, FrameRef("frames", 0, seq), yard.width, yard.height, 0.1, NAMELESS, found
            )
            judged = step(document, state, event)
            state = judged.state
            alerts += [alert for alert in judged.alerts if alert.phase == "opened"]
            inside[t_ms] = any(t.label == "object" and anchor_distance(yard, t) >= 0 for t in yard.truths(t_ms))
            seq += 1
    end_ms = start_ms + 60_000 * minutes
    incidents = [incident for incident in yard.incidents(end_ms) if start_ms <= incident.starts_ms < end_ms - 3_000]
    false = [alert for alert in alerts if not _deserved(alert, inside)]
    caught = [
        sum(incident.starts_ms <= alert.opened_at <= incident.ends_ms + 500 for alert in alerts)
        for incident in incidents
    ]
    delays = [
        min(alert.opened_at - incident.starts_ms for alert in alerts if alert.opened_at >= incident.starts_ms)
        for incident, times in zip(incidents, caught, strict=True)
        if times
    ]
    missed = [incident for incident, times in zip(incidents, caught, strict=True) if not times]
    return {
        "camera": camera,
        "night": yard.night,
        "minutes": minutes,
        "incidents": len(incidents),
        "caught": sum(times > 0 for times in caught),
        "again": sum(max(0, times - 1) for times in caught),
        "false": [(alert.opened_at, alert.evidence.box, alert.evidence.confidence) for alert in false],
        "missed": [(incident.kind, incident.starts_ms) for incident in missed],
        "delays": delays,
    }


def _deserved(alert: Alert, inside: dict[int, bool]) -> bool:
    """Whether an object's foot was in the forbidden polygon at one of the instants that confirmed the alert."""
    return any(there for t_ms, there in inside.items() if alert.opened_at - 2_000 <= t_ms <= alert.opened_at)


def measure_alerts(options: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """Prints every camera's score as it comes, and the sums."""
    started = time.monotonic()
    minutes = incidents = caught = again = false = 0
    delays: list[int] = []
    tasks = zip(repeat(str(options.model)), range(options.first, options.first + options.cameras),
                repeat(options.minutes), strict=False)  # fmt: skip
    for score in pool.map(watch_camera, tasks):
        minutes += score["minutes"]
        incidents += score["incidents"]
        caught += score["caught"]
        again += score["again"]
        false += len(score["false"])
        delays += score["delays"]
        print({key: value for key, value in score.items() if key != "delays"}, flush=True)
        print(
            f"  so far {minutes / 60:.2f} camera-hours, "
            f"{caught} of {incidents} incidents caught, {again} alerted again, "
            f"{false} false alerts = {60 * false / minutes:.2f} per camera-hour, "
            f"opened {np.median(delays or [0]):.0f} ms after the start (median), {time.monotonic() - started:.0f} s",
            flush=True,
        )


# --- speed -----------------------------------------------------------------------------------------------------------


def measure_speed(options: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """Prints milliseconds per picture of 640x360 on one thread, letterboxing and suppression included."""
    pool.shutdown()
    cv2.setNumThreads(1)
    model = open_model(options.model, 0.1)
    picture = rgb(Yard(UNSEEN, "speed").at(9_000)[0])
    times = []
    for _ in range(200):
        begun = time.perf_counter()
        model.detect([picture])
        times.append(1000 * (time.perf_counter() - begun))
    print(f"one picture, one thread: fastest {min(times):.1f} ms, median {np.median(times):.1f} ms of {len(times)}")


def main() -> None:
    """Reads the options and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["boxes", "alerts", "speed"])
    parser.add_argument("--model", type=Path, default=HERE / "yard-1.onnx")
    parser.add_argument("--cameras", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="number of the first camera (alerts)")
    parser.add_argument("--minutes", type=int, default=2, help="per camera (alerts)")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    measure = {"boxes": measure_boxes, "alerts": measure_alerts, "speed": measure_speed}[options.what]
    with ProcessPoolExecutor(options.processes) as pool:
        measure(options, pool)


if __name__ == "__main__":
    main()
