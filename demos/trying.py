"""What the demos without Kafka share: a source of pictures, a detector, the rules, and what is drawn.

The parts are the pipeline's own (`ingest.sources`, `inference.detectors`, `rules.engine`), called one after the other
in one process.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

import av
import click
import numpy as np

from demos.yard import Yard
from demos.yard.clip import write_clip
from inference.annotate import AMBER, GREEN, RED, Area, Mark, annotated
from inference.detectors import device_for, open_detector
from inference.detectors.contract import Detector, DeviceLost, OutOfMemory
from inference.device import NoDevice, pick
from inference.model_registry import BadModel
from inference.pictures import Picture
from ingest.sources import Source, SourceFault, open_source
from rules.engine import Document, RoiHit, compile_rules, roi_hits, step
from rules.geometry import to_fractions
from rules.state import CameraState
from runtime.configs import ResolvedCamera, read_rois
from runtime.redact import redact
from runtime.settings import CHECKOUT, environment, load_settings
from schemas.documents.cameras import Camera, check_url, source_kind
from schemas.documents.reading import read_document
from schemas.documents.rois import CameraRois, RoiDefaults, Rois, effective_rules
from schemas.documents.services import InferenceSettings
from schemas.effective import revision_of
from schemas.messages import Alert, Detection, DetectionEvent, FrameRef
from schemas.problems import BadDocument

SCENE: Final = Yard(seed=7, camera="yard_gate")
"""What is watched where no source is given: a foreign object comes after 3 s and stays for 9."""
SCENE_FROM_MS: Final = 5_000
SCENE_SECONDS: Final = 20
SCENE_FPS: Final = 8
MODEL: Final = InferenceSettings().model_path

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


class Shot(NamedTuple):
    """A picture (RGB) as it came. ``at`` is its capture time in milliseconds UTC; a file's begins now."""

    picture: Picture
    at: int


class Look(NamedTuple):
    """What came of one picture."""

    shot: Shot
    detections: tuple[Detection, ...]
    hits: tuple[RoiHit, ...]
    alerts: tuple[Alert, ...]


def options(command: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
    """The options of every demo."""
    for option in (
        click.option("--duration", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Stop then."),
        click.option("--device", help="auto, cpu, cuda or cuda:N. [default: INFERENCE_DEVICE, else auto]"),
        click.option("--camera", metavar="ID", help="Which entry of the ROIs; needed where there are several."),
        click.option("--rois", type=click.Path(path_type=Path), help="A rois.yaml. [default: the synthetic yard's]"),
        click.option("--model", default=MODEL, show_default=True, help="ONNX, or any that Ultralytics loads."),
        click.option(
            "--source",
            metavar="SOURCE",
            help="rtsp://…, a video file, a folder of images, /dev/videoN, or N for short. [default: a synthetic yard]",
        ),
    ):
        command = option(command)
    return command


@contextmanager
def clear_errors() -> Iterator[None]:
    """What can go wrong is one line on stderr, without credentials; Ctrl-C is an end like any other."""
    try:
        yield
    except KeyboardInterrupt:
        return
    except BadDocument as bad:
        raise click.ClickException("\n".join(redact(str(problem)) for problem in bad.problems)) from None
    except (BadModel, NoDevice, OutOfMemory, DeviceLost, SourceFault) as error:
        raise click.ClickException(redact(str(error))) from None
    except BrokenPipeError:
        # Whoever read us has seen enough; the interpreter's own flush at the end must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class Watching:
    """A source, once opened. ``live`` sources give their newest picture, files every one of them.

    ``realtime``: a file is played at its own speed, and begun again at its end where ``loop`` says so. ``seconds``:
    for so long, by the capture times of a file, by the clock where it is live or played in real time.
    """

    def __init__(
        self, source: str | None, *, realtime: bool = False, loop: bool = False, seconds: float | None = None
    ) -> None:
        url = scene_clip() if source is None else f"/dev/video{source}" if source.isdigit() else source
        wrong = check_url(url)
        if wrong is not None:
            raise click.BadParameter(wrong, param_hint="--source")
        self.kind = source_kind(url)
        self._url = url
        self.live = self.kind in ("rtsp", "device")
        self._newest = self.live or realtime
        self._seconds = seconds
        self._began = 0  # ms UTC
        self._stopping = threading.Event()
        told: dict[str, Any] = {"id": "demo", "url": url, "loop": loop and not self.live, "realtime": self._newest}
        if not self._newest:
            told["start_at"] = datetime.now(UTC)  # asked for; `shots` gives the times
        camera = read_document(Camera, told, "--source")
        self._source: Source = open_source(ResolvedCamera(camera, url), self._stopping.wait)

    @property
    def pictures(self) -> int | None:
        """How many pictures are to come; None where nobody can tell."""
        if self._newest or self.kind != "file":
            return None
        with av.open(f"file:{self._url}", options={"protocol_whitelist": "file"}) as clip:
            video = clip.streams.video[0]
            count, rate = video.frames, float(video.average_rate or 0)
        within = count if self._seconds is None or not rate else min(count, round(self._seconds * rate))
        return within or None

    def shots(self) -> Iterator[Shot]:
        """The pictures, until the source ends or the time is over. Raises `SourceFault`."""
        self._began = round(time.time() * 1000)
        try:
            for shot in self._latest() if self._newest else self._every():
                if self._seconds is not None and shot.at - self._began >= self._seconds * 1000:
                    return
                yield shot
        finally:
            self._stopping.set()
            if not self._newest:
                self._source.close()

    def _every(self) -> Iterator[Shot]:
        for picture in self._source.pictures():
            at = time.time() * 1000 if self._newest else self._began + (picture.at_ms or 0.0)
            yield Shot(_upright(picture.frame), round(at))

    def _latest(self) -> Iterator[Shot]:
        """Always the newest: a detector that is slower than the camera is late by one picture, not by a queue."""
        changed = threading.Condition()
        newest: list[Shot | Exception | None] = []

        def read() -> None:
            end: Exception | None = None
            try:
                for shot in self._every():
                    with changed:
                        newest[:] = [shot]
                        changed.notify()
                    if self._stopping.is_set():
                        break
            except Exception as error:
                end = error
            finally:
                self._source.close()
            with changed:
                # The last picture is looked at before the end is heard.
                changed.wait_for(lambda: not newest or self._stopping.is_set(), timeout=10)
                newest[:] = [end]
                changed.notify()

        threading.Thread(target=read, name="source", daemon=True).start()
        while True:
            with changed:
                changed.wait_for(lambda: bool(newest))
                found = newest.pop()
                changed.notify()
            if found is None:
                return
            if isinstance(found, Exception):
                raise found
            yield found


class Trial:
    """A detector, and the rules of one camera where there are any."""

    def __init__(self, model: str, device: str | None, rois: Path | None, camera: str | None, *, scene: bool) -> None:
        environ = {**environment(), "INFERENCE_MODEL_PATH": model, **({"INFERENCE_DEVICE": device} if device else {})}
        # For the rest of how it detects (allow_pickle_models, fp16, …) the settings of this folder hold.
        settings = load_settings(Path("configs"), environ)
        self.document = _document(rois, camera, settings.roi_defaults, scene=scene)
        told, self._floor = settings.services.inference, settings.floor
        self.detector: Detector = open_detector(told, device=pick(device_for(told)), floor=self._floor)
        self._state = CameraState()
        self._seq = 0
        self.least = settings.services.rules.min_confidence
        """What is less confident is not shown; what a ROI takes is."""
        if self.document is not None and self.document.rois:
            self.least = self.document.lowest_confidence

    def look(self, shot: Shot) -> Look:
        """What is seen in the picture, which ROIs it lies in, and what the rules make of it."""
        height, width = shot.picture.shape[:2]
        (found,) = self.detector.detect([shot.picture])
        hits: tuple[RoiHit, ...] = ()
        alerts: tuple[Alert, ...] = ()
        if self.document is not None:
            hits = roi_hits(self.document, found, width, height, shot.at)
            event = DetectionEvent(
                camera_id=self.document.camera_id,
                captured_at=shot.at,
                seq=self._seq,
                frame=FrameRef("demo", 0, self._seq),
                width=width,
                height=height,
                floor=self._floor,
                model=self.detector.model,
                detections=found,
                skipped=None,
            )
            judged = step(self.document, self._state, event)
            self._state, alerts = judged.state, judged.alerts
        self._seq += 1
        return Look(shot, found, hits, alerts)

    def drawn(self, look: Look) -> Picture:
        """The picture with what was seen: hits and their ROIs red, the rest green, empty ROIs amber."""
        height, width = look.shot.picture.shape[:2]
        hits = [hit for hit in look.hits if hit.active and hit.confident]
        at_fault, full = {hit.detection for hit in hits}, {hit.roi for hit in hits}
        marks = [
            Mark(each.box, f"{each.label} {each.confidence:.0%}", RED if number in at_fault else GREEN)
            for number, each in enumerate(look.detections)
            if each.confidence >= self.least
        ]
        areas = [
            Area(
                roi.points
                if roi.units == "fractions"
                else to_fractions(roi.points, *(roi.reference_size or (width, height))),
                roi.name,
                RED if roi.name in full else AMBER,
            )
            for roi in (self.document.rois if self.document else ())
        ]
        return annotated(look.shot.picture, marks, areas)


def _document(rois: Path | None, camera: str | None, defaults: RoiDefaults, *, scene: bool) -> Document | None:
    if rois is not None:
        entries = read_rois(rois, needed=True).cameras
        chosen = [each for each in entries if camera in (None, each.camera_id)]
        if len(chosen) != 1:
            there = ", ".join(each.camera_id for each in entries) or "none"
            raise click.BadParameter(f"name one camera of {rois} ({there})", param_hint="--camera")
        return _compiled(chosen[0], defaults)
    if scene:
        return _compiled(
            read_document(Rois, {"cameras": [SCENE.roi_document()]}, "the yard's ROIs").cameras[0], defaults
        )
    return None


def _compiled(entry: CameraRois, defaults: RoiDefaults) -> Document:
    rules = effective_rules(entry, defaults)
    return compile_rules(rules, revision_of(rules), 0)


def _upright(frame: Any) -> Picture:
    picture: Picture = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def scene_clip() -> str:
    """The synthetic clip; made once and kept in `var/`, or for this run where that cannot be written."""
    folder = CHECKOUT / "var" / "demos"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder))
    except OSError:
        folder = made = Path(tempfile.mkdtemp(prefix="backsight-demo-"))
    name = f"{SCENE.camera}-{SCENE.seed}-{SCENE_FROM_MS}-{SCENE_SECONDS}-{SCENE_FPS}.mp4"
    clip = folder / name
    if not clip.exists():
        click.echo(f"filming {SCENE_SECONDS} s of a synthetic yard …", err=True)
        write_clip(made / name, SCENE, SCENE_SECONDS, fps=SCENE_FPS, start_ms=SCENE_FROM_MS)
        (made / name).replace(clip)
    if made != folder:
        for left in made.iterdir():
            left.unlink()
        made.rmdir()
    return str(clip)
