"""Every model format that Ultralytics loads, through its own package (AGPL-3.0, an extra, brings torch).

A `.pt` file is a Python pickle: loading it runs whatever code is in it, whoever wrote it. It is refused unless
`allow_pickle_models: true` says that its origin is trusted. Ultralytics is told not to install packages, not to speak
to the network, and to load no pickled code beyond its own classes.
"""

import importlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from inference import boxes
from inference.detectors.contract import BadModel, DetectorSettings, FrameName, Identity, batch_size, device_fault
from inference.device import CPU, NoDevice
from inference.onnx_file import read_names
from inference.pictures import Picture
from schemas.messages import Detection, Model

PICKLED: Final = frozenset({".pt", ".pth", ".pt2", ".ckpt", ".pkl", ".pickle"})
"""Suffixes of files that hold Python pickles."""

OPSET: Final = 17
"""Of exported ONNX models: what every ONNX Runtime of the last years loads."""

_ENVIRONMENT: Final = {
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "true",
    "YOLO_VERBOSE": "false",
    "ULTRALYTICS_SAFE_LOAD": "true",
}


def uses_cuda() -> bool:
    """Whether the torch that is installed sees a GPU."""
    if importlib.util.find_spec("torch") is None:
        return False
    return bool(importlib.import_module("torch").cuda.is_available())


def load(path: Path, identity: Identity, settings: DetectorSettings) -> "UltralyticsDetector":
    """The detector for the model at ``path``; raises `BadModel`, `NoDevice` and what the first detection raises."""
    _check_pickle(path, allowed=settings.allow_pickle_models)
    if path.suffix.lower() in (".yaml", ".yml"):
        raise BadModel(f"{path}: describes a network without weights; expected a trained model")
    yolo = _ultralytics()
    if settings.device != CPU and not uses_cuda():
        raise NoDevice(f"{settings.device} was asked for, but the torch that is installed sees no CUDA device")
    try:
        network = yolo(str(path), task="detect")
        detector = UltralyticsDetector(network, identity, settings)
        detector.warm()
    except (BadModel, NoDevice):
        raise
    except Exception as error:
        fault = device_fault(error, settings.device)
        if fault is not error:
            raise fault from None
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise BadModel(f"{path}: Ultralytics does not load this model: {lines[0][:300]}") from None
    return detector


def export(
    path: Path,
    to: str,
    target: Path,
    *,
    size: tuple[int, int] | None = None,
    half: bool = False,
    batches: bool = False,
    allow_pickle: bool = False,
) -> None:
    """Writes the model at ``path`` to ``target`` as `onnx` or as a TensorRT `engine`.

    ``size``: (width, height) of the input, else the model's own. ``half``: FP16, on a GPU. ``batches``: any number of
    pictures at once. Raises `BadModel`, `NoDevice`, `OSError`.
    """
    if target.exists():
        raise BadModel(f"{target}: is there already")
    if not path.is_file():
        raise BadModel(f"{path}: there is no such model file")
    _check_pickle(path, allowed=allow_pickle)
    yolo = _ultralytics()
    on_gpu = to == "engine" or half
    if on_gpu and not uses_cuda():
        raise NoDevice(f"{'a TensorRT engine' if to == 'engine' else 'FP16'} is exported on a GPU, and torch sees none")
    told: dict[str, Any] = {"format": to, "half": half, "dynamic": batches, "device": 0 if on_gpu else "cpu"}
    if to == "onnx":
        told |= {"opset": OPSET, "simplify": False}
    if size is not None:
        told["imgsz"] = (size[1], size[0])
    # Ultralytics writes beside what it reads, and intermediate files too.
    with tempfile.TemporaryDirectory(prefix="backsight-export-") as folder:
        copy = Path(shutil.copy(path, folder))
        try:
            made = Path(yolo(str(copy), task="detect").export(**told))
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise BadModel(f"{path}: Ultralytics does not export this model: {lines[0][:300]}") from None
        shutil.copyfile(made, target)


def _check_pickle(path: Path, *, allowed: bool) -> None:
    if path.suffix.lower() in PICKLED and not allowed:
        raise BadModel(
            f"{path}: a {path.suffix} file is a Python pickle, and loading it runs the code that is in it. Export the "
            "model to ONNX where you made it, or, if you trust where the file comes from, set "
            "inference.allow_pickle_models: true in services.yaml"
        )


def _ultralytics() -> Any:
    """The class `YOLO`, imported with the network and self-installation turned off."""
    os.environ.update(_ENVIRONMENT)
    # It writes a settings file at import; a home folder may not be writable, and is none of its business.
    os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="backsight-ultralytics-"))
    try:
        return importlib.import_module("ultralytics").YOLO
    except ImportError as error:
        raise BadModel(
            f"the detector ultralytics was asked for, but the package does not import ({error}); install it with the "
            "extra `ultralytics` (AGPL-3.0), or use an ONNX model, which needs none of it"
        ) from None


class UltralyticsDetector:
    """One Ultralytics model, asked through `predict`, which scales, suppresses and maps back by itself."""

    def __init__(self, network: Any, identity: Identity, settings: DetectorSettings) -> None:
        self.model: Model = identity.model
        self.device = settings.device
        self.input_size: tuple[int, int] | None = None
        self.batch_size = batch_size(settings)
        self._network = network
        self._settings = settings
        labels = read_names(repr(network.names))
        if labels is None:
            raise BadModel("the model holds no class names")
        self.labels: tuple[str, ...] = labels

    def warm(self) -> None:
        """Runs the model once."""
        self.detect([np.full((360, 640, 3), 114, dtype=np.uint8)])

    def detect(
        self, pictures: Sequence[Picture], names: Sequence[FrameName] | None = None
    ) -> list[tuple[Detection, ...]]:
        """What the model sees in each picture."""
        del names
        if not pictures:
            return []
        settings = self._settings
        try:
            results = self._network.predict(
                # Ultralytics takes arrays in OpenCV's order, blue first.
                [np.ascontiguousarray(picture[:, :, ::-1]) for picture in pictures],
                conf=settings.floor,
                iou=settings.iou,
                device=settings.device,
                half=settings.fp16 and settings.device != CPU,
                max_det=boxes.MAX_DETECTIONS,
                batch=len(pictures),
                verbose=False,
                save=False,
            )
        except Exception as error:
            raise device_fault(error, self.device) from error
        return [self._read(result.boxes) for result in results]

    def _read(self, found: Any) -> tuple[Detection, ...]:
        if found is None:
            raise BadModel("the model gives no boxes; is it a detection model?")
        return boxes.detections(
            boxes.Found(
                found.xyxyn.cpu().numpy().astype(np.float64),
                found.conf.cpu().numpy().astype(np.float64),
                found.cls.cpu().numpy().astype(np.intp),
            ),
            self.labels,
            self._settings.floor,
        )
