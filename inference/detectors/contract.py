"""What every detector owes. A detector is one file of this folder, and `tests/unit/test_detectors.py` holds it to this.

- `load` gives a detector that is ready: the first `detect` is as fast as the others.
- `detect` answers one tuple for each picture, in their order, and is the same for the same pictures whenever asked.
- Boxes are fractions of the picture, confidences at least the floor, sorted as `inference.boxes.detections` sorts.
- What goes wrong is one of the errors below; a detector never goes on on another device than it was given.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from inference.model_registry import BadModel, Identity
from inference.pictures import Picture
from schemas.messages import Detection, Model

__all__ = [
    "BadModel",
    "Detector",
    "DetectorSettings",
    "DeviceLost",
    "FrameName",
    "Identity",
    "OutOfMemory",
    "batch_size",
    "device_fault",
]


class OutOfMemory(RuntimeError):
    """The device's memory does not hold this many pictures at once; fewer may fit."""


class DeviceLost(RuntimeError):
    """The device is in a state that only a new process leaves. Nothing that was not detected may be committed."""


class FrameName(NamedTuple):
    """Which frame a picture is, for a detector that plays a script."""

    camera_id: str
    captured_at: int


class DetectorSettings(NamedTuple):
    """What a detector is told, with everything resolved: ``device`` is `cpu` or `cuda:N`."""

    device: str
    floor: float
    iou: float
    batch_size: int
    fp16: bool = True
    threads: int = 0
    tensorrt: bool = False
    allow_pickle_models: bool = False


class Detector(Protocol):
    """Pictures in, detections out. Used from one thread at a time."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label it can give; empty where it cannot tell."""

    @property
    def model(self) -> Model:
        """The model's identity, as it stands on every event."""

    @property
    def device(self) -> str:
        """Where it runs: `cpu` or `cuda:N`."""

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(width, height) into which pictures are scaled: none need be decoded larger. None: give them whole."""

    @property
    def batch_size(self) -> int:
        """How many pictures it is best asked for at once, at most."""

    def detect(
        self, pictures: Sequence[Picture], names: Sequence[FrameName] | None = None
    ) -> list[tuple[Detection, ...]]:
        """What is seen in each picture (uint8, height x width x 3, RGB).

        ``names`` are those of the frames where there are any (an uploaded picture has none). Raises `OutOfMemory`,
        `DeviceLost`.
        """


def batch_size(settings: DetectorSettings, fixed: int | None = None) -> int:
    """How many pictures go to the detector at once: as many as the model is fixed to, else what the settings say.

    On a CPU one: pictures together take as long there as one after the other (112 ms for one, 119 ms each for four,
    YOLOv8n at 640 x 640, one thread), so a batch would only make all of them late.
    """
    return fixed or (settings.batch_size if settings.device != "cpu" else 1)


_OUT_OF_MEMORY = ("out of memory", "failed to allocate memory", "cuda failure 2:", "alloc_failed", "cudaerrormemoryall")
_DEVICE = ("cuda", "cudnn", "cublas", "tensorrt")


def device_fault(error: Exception, device: str) -> Exception:
    """A runtime's error as one of ours, by its words; itself where it says nothing of memory or a device.

    ONNX Runtime and torch tell a lack of memory from a broken context only in the text. After any CUDA error but a
    lack of memory, every further call of the process fails (illegal address, launch failure, ECC), so it is lost.
    """
    words = f"{type(error).__name__} {error}".lower()
    if isinstance(error, MemoryError) or any(phrase in words for phrase in _OUT_OF_MEMORY):
        return OutOfMemory(_first_line(error))
    if device != "cpu" and any(phrase in words for phrase in _DEVICE):
        return DeviceLost(f"{device}: {_first_line(error)}")
    return error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
