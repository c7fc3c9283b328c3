"""The twin: it looks at nothing and plays boxes from a file, so that everything around a detector can be tried.

The file has one JSON object a line. A line with ``labels`` (and ``seconds``, how long one picture takes; 0 by
default) may come first. Every other line says what is seen in one frame::

    {"labels": ["pine", "object"], "seconds": 0.01}
    {"camera_id": "yard", "captured_at": 1700000000000, "detections": [
        {"label": "object", "confidence": 0.9, "box": [0.1, 0.1, 0.2, 0.3]}]}
    {"picture": "0f3a…", "detections": []}

``picture`` is `picture_key` of the decoded picture; it serves where a picture has no frame. In a frame that the file
does not name nothing is seen.
"""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from inference.boxes import DIGITS
from inference.detectors.contract import BadModel, DetectorSettings, FrameName, Identity
from inference.pictures import Picture
from schemas.messages import Detection, Model


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    labels: tuple[str, ...] = ()
    seconds: float = 0.0
    camera_id: str | None = None
    captured_at: int | None = None
    picture: str | None = None
    detections: tuple[Detection, ...] | None = None


def picture_key(picture: Picture) -> str:
    """A decoded picture's name in a script: the first 16 hex digits of the SHA-256 of its shape and pixels."""
    return hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()[:16]


def uses_cuda() -> bool:
    """It needs no GPU and minds none."""
    return True


def load(path: Path, identity: Identity, settings: DetectorSettings) -> "ScriptedDetector":
    """The detector that plays the file at ``path``; raises `BadModel` with the line that does not check."""
    by_frame: dict[tuple[str, int], tuple[Detection, ...]] = {}
    by_picture: dict[str, tuple[Detection, ...]] = {}
    labels: tuple[str, ...] = ()
    seconds = 0.0
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        if not text.strip():
            continue
        try:
            line = msgspec.json.decode(text, type=_Line)
        except msgspec.DecodeError as error:
            raise BadModel(f"{path}:{number}: {error}") from None
        if line.detections is None:
            labels, seconds = line.labels, line.seconds
        elif line.camera_id is not None and line.captured_at is not None:
            by_frame[line.camera_id, line.captured_at] = line.detections
        elif line.picture is not None:
            by_picture[line.picture] = line.detections
        else:
            raise BadModel(f"{path}:{number}: expected camera_id and captured_at, or picture, beside detections")
    seen = {each.label for found in (*by_frame.values(), *by_picture.values()) for each in found}
    if labels and not seen <= set(labels):
        raise BadModel(f"{path}: {', '.join(sorted(seen - set(labels)))} is not in the script's labels")
    return ScriptedDetector(identity.model, labels or tuple(sorted(seen)), by_frame, by_picture, seconds, settings)


class ScriptedDetector:
    """Plays boxes; see the module's text for the script."""

    def __init__(
        self,
        model: Model,
        labels: tuple[str, ...],
        by_frame: dict[tuple[str, int], tuple[Detection, ...]],
        by_picture: dict[str, tuple[Detection, ...]],
        seconds: float,
        settings: DetectorSettings,
    ) -> None:
        self.model = model
        self.labels = labels
        self.device = settings.device
        self.input_size: tuple[int, int] | None = None
        self.batch_size = settings.batch_size
        self._by_frame = by_frame
        self._by_picture = by_picture
        self._seconds = seconds
        self._floor = settings.floor

    def detect(
        self, pictures: Sequence[Picture], names: Sequence[FrameName] | None = None
    ) -> list[tuple[Detection, ...]]:
        """What the script says of each frame or picture."""
        if self._seconds:
            time.sleep(self._seconds * len(pictures))
        return [self._play(picture, names[place] if names else None) for place, picture in enumerate(pictures)]

    def _play(self, picture: Picture, name: FrameName | None) -> tuple[Detection, ...]:
        found = self._by_frame.get((name.camera_id, name.captured_at)) if name else None
        if found is None and self._by_picture:
            found = self._by_picture.get(picture_key(picture))
        seen = [_rounded(each) for each in found or () if each.confidence >= self._floor]
        return tuple(sorted(seen, key=lambda each: (-each.confidence, each.label, each.box)))


def _rounded(detection: Detection) -> Detection:
    corners: Any = tuple(round(value, DIGITS) for value in detection.box)
    return Detection(detection.label, round(detection.confidence, DIGITS), corners, detection.track_id)
