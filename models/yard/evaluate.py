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
from dataclasses import dataclass
from itertools import chain
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
from demos.yard.incidents import Incident
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


def frames(yard: Yard, start_ms: int, seconds: int) -> Iterator[tuple[int, NDArray[np.uint8], list[Truth]]]:
    """A minute or so at 5 pictures a second as it comes out of a camera's H.264 and ingest's JPEG."""
    file = io.BytesIO()
    instants = [start_ms + round(number * 1000 / FPS) for number in range(seconds * FPS)]
    with av.open(file, "w", format="mp4") as clip:
        stream = clip.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "threads": "1", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = yard.width, yard.height, "yuv420p"
        # As many bits per picture as 1.3 Mbit/s gives at 25 a second, though five times as much moves between two.
        stream.bit_rate, stream.gop_size = 1_300_000 * FPS // 25, FPS
        known = []
        for t_ms in instants:
            picture, truths = yard.at(t_ms)
            known.append(truths)
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        clip.mux(stream.encode())
    file.seek(0)
    with av.open(file) as clip:
        for t_ms, frame, truths in zip(instants, clip.decode(video=0), known, strict=True):
            yield t_ms, through_jpeg(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8), 85), truths


def watch_camera(task: tuple[str, int, str, int, int, tuple[float, ...]]) -> list[Score]:
    """One unseen camera for some minutes: what the rules made of the detector's boxes, held against the truth.

    The same boxes are judged once per confidence that the polygon may ask for.
    """
    path, seed, camera, start_ms, minutes, confidences = task
    cv2.setNumThreads(1)
    model = open_model(Path(path), 0.1)
    yard = Yard(seed, camera)
    events: list[DetectionEvent] = []
    inside: dict[int, bool] = {}
    for minute in range(minutes):
        for t_ms, picture, truths in frames(yard, start_ms + 60_000 * minute, 60):
            (found,) = model.detect([rgb(picture)])
            frame = FrameRef("frames", 0, len(events))
            events.append(
                DetectionEvent(camera, t_ms, frame.offset, frame, yard.width, yard.height, 0.1, NAMELESS, found)
            )
            inside[t_ms] = any(t.label == "object" and anchor_distance(yard, t) >= 0 for t in truths)
    end_ms = start_ms + 60_000 * minutes
    # An incident that has hardly begun when the watch ends cannot have been alerted yet.
    incidents = [incident for incident in yard.incidents(end_ms) if start_ms <= incident.starts_ms < end_ms - 3_000]
    return [_score(yard, minutes, confidence, incidents, _alerts(yard, confidence, events), inside)
            for confidence in confidences]  # fmt: skip


def _alerts(yard: Yard, confidence: float, events: list[DetectionEvent]) -> list[Alert]:
    """The alerts that the rules' own engine opens, with the scene's own polygon at that confidence."""
    entry = yard.roi_document()
    entry["forbidden_rois"][0]["min_confidence"] = confidence
    rules = effective_rules(CameraRois.model_validate(entry), RoiDefaults())
    document, state = compile_rules(rules, revision_of(rules), 0), CameraState()
    opened: list[Alert] = []
    for event in events:
        judged = step(document, state, event)
        state = judged.state
        opened += [alert for alert in judged.alerts if alert.phase == "opened"]
    return opened


@dataclass(frozen=True)
class Score:
    """How one camera was judged at one confidence; `again` counts further alerts of an incident already alerted."""

    camera: str
    night: bool
    confidence: float
    minutes: int
    incidents: int
    caught: int
    again: int
    false: tuple[str, ...]
    missed: tuple[str, ...]
    delays_ms: tuple[int, ...]


def _score(
    yard: Yard, minutes: int, confidence: float, incidents: list[Incident], alerts: list[Alert], inside: dict[int, bool]
) -> Score:
    times = {
        incident: [a.opened_at for a in alerts if incident.starts_ms <= a.opened_at <= incident.ends_ms + 500]
        for incident in incidents
    }
    return Score(
        camera=yard.camera,
        night=yard.night,
        confidence=confidence,
        minutes=minutes,
        incidents=len(incidents),
        caught=sum(bool(opened) for opened in times.values()),
        again=sum(max(0, len(opened) - 1) for opened in times.values()),
        false=tuple(
            f"{alert.opened_at} ms at {alert.evidence.confidence:.2f}"
            for alert in alerts
            if not _deserved(alert, inside)
        ),
        missed=tuple(f"{incident.kind} {incident.starts_ms} ms" for incident, opened in times.items() if not opened),
        delays_ms=tuple(opened[0] - incident.starts_ms for incident, opened in times.items() if opened),
    )


def _deserved(alert: Alert, inside: dict[int, bool]) -> bool:
    """Whether an object's foot was in the forbidden polygon at one of the instants that confirmed the alert."""
    return any(there for t_ms, there in inside.items() if alert.opened_at - 2_000 <= t_ms <= alert.opened_at)


def measure_alerts(options: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    """Prints what went wrong camera by camera as it comes, and the sums so far for each confidence."""
    started = time.monotonic()
    confidences = tuple(options.confidence)
    sums: dict[float, list[Score]] = {confidence: [] for confidence in confidences}
    numbers = range(options.first, options.first + options.cameras)
    # Named cameras are watched from their beginning, as the demo shows them; the others in five different hours.
    watched = [(name, 0) for name in options.names] or [(f"watched-{n}", 3_600_000 * (n % 5)) for n in numbers]
    tasks = [(str(options.model), options.seed, *camera, options.minutes, confidences) for camera in watched]
    for scores in pool.map(watch_camera, tasks):
        print(f"{scores[0].camera}, {'night' if scores[0].night else 'day'}, {time.monotonic() - started:.0f} s")
        for score in scores:
            sums[score.confidence].append(score)
            if score.false or score.missed:
                print(f"  {score.confidence}: false {list(score.false)}, missed {list(score.missed)}")
            print(f"  {score.confidence}: so far {_summed(sums[score.confidence])}", flush=True)


def _summed(scores: list[Score]) -> str:
    minutes, false = sum(score.minutes for score in scores), sum(len(score.false) for score in scores)
    delays = [delay for score in scores for delay in score.delays_ms]
    return (
        f"{minutes / 60:.2f} camera-hours, {sum(score.caught for score in scores)} of "
        f"{sum(score.incidents for score in scores)} incidents caught, {sum(score.again for score in scores)} alerted "
        f"again, {false} false alerts ({60 * false / minutes:.2f} per camera-hour), "
        f"opened {np.median(delays or [0]):.0f} ms after the start (median)"
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
    parser.add_argument("--model", type=Path, default=HERE / "yard-2.onnx")
    parser.add_argument("--cameras", type=int, default=60)
    parser.add_argument("--seed", type=int, default=UNSEEN, help="of the yards (alerts)")
    parser.add_argument("--names", nargs="*", default=[], help="these cameras instead (alerts)")
    parser.add_argument("--first", type=int, default=0, help="number of the first camera (alerts)")
    parser.add_argument("--minutes", type=int, default=2, help="per camera (alerts)")
    parser.add_argument("--confidence", type=float, nargs="+", default=[0.6], help="to judge with (alerts)")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    measure = {"boxes": measure_boxes, "alerts": measure_alerts, "speed": measure_speed}[options.what]
    with ProcessPoolExecutor(options.processes) as pool:
        measure(options, pool)


if __name__ == "__main__":
    main()
