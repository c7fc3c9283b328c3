"""The detectors by name, and the way to open one. One file per detector; see `contract` for what each owes.

A detector's module is imported when it is asked for, since `ultralytics` brings torch. One that is asked for and does
not import stops the start with the reason; one that nobody asked for is never looked at.
"""

import importlib
from pathlib import Path
from typing import Final

from inference.detectors.contract import Detector, DetectorSettings
from inference.device import CPU, choose, cuda_devices
from inference.model_registry import REGISTRY, BadModel, identify
from inference.onnx_file import read_onnx_head
from runtime.logs import get_logger
from schemas.documents.services import InferenceSettings
from schemas.problems import BadDocument

__all__ = ["DETECTORS", "detector_name", "device_for", "file_labels", "model_labels", "open_detector"]

DETECTORS: Final = {
    "onnx": "inference.detectors.onnx",
    "ultralytics": "inference.detectors.ultralytics",
    "scripted": "inference.detectors.scripted",
}
"""Every detector's module; each has `uses_cuda() -> bool` and `load(path, identity, settings) -> Detector`."""

log = get_logger(__name__)


def detector_name(settings: InferenceSettings) -> str:
    """Which detector loads the model; `auto` goes by the file's suffix."""
    if settings.detector != "auto":
        return settings.detector
    suffix = Path(settings.model_path).suffix.lower()
    return {".onnx": "onnx", ".jsonl": "scripted"}.get(suffix, "ultralytics")


def device_for(settings: InferenceSettings) -> str:
    """The device to ask `inference.device` for.

    `auto` is the CPU where the detector as installed cannot use the GPU that is there, and the log says so.
    """
    name = detector_name(settings)
    if settings.device != "auto" or not cuda_devices() or importlib.import_module(DETECTORS[name]).uses_cuda():
        return settings.device
    log.warning("gpu_unused", detector=name, reason="a GPU is there, but this detector was installed for the CPU only")
    return CPU


def open_detector(
    settings: InferenceSettings, *, device: str, floor: float | None = None, registry: Path = REGISTRY
) -> Detector:
    """A detector that is loaded, checked against the registry, and warm.

    ``device`` is `cpu` or `cuda:N` (see `inference.device.claim` and `pick`). ``floor`` wins over the settings' own;
    it is `Settings.floor` in every process. Raises `BadModel`, `BadDocument` (the registry), `NoDevice`.
    """
    choose(device, cuda_devices() if device != CPU else ())
    path = Path(settings.model_path)
    identity = identify(path, registry)
    module = importlib.import_module(DETECTORS[detector_name(settings)])
    told = DetectorSettings(
        device=device,
        floor=settings.floor if floor is None else floor,
        iou=settings.iou,
        batch_size=settings.batch_size,
        fp16=settings.fp16,
        threads=settings.threads,
        tensorrt=settings.tensorrt,
        allow_pickle_models=settings.allow_pickle_models,
    )
    detector: Detector = module.load(path, identity, told)
    if identity.entry and identity.entry.labels and detector.labels and detector.labels != identity.entry.labels:
        raise BadModel(
            f"{path}: {registry} says its labels are {', '.join(identity.entry.labels)}, "
            f"but the model's own are {', '.join(detector.labels)}"
        )
    return detector


def file_labels(path: Path) -> tuple[str, ...] | None:
    """The labels that stand in a model file, without loading it: those of an ONNX file; None where there are none.

    Raises `BadModel` where an ONNX file is none.
    """
    return read_onnx_head(path).labels if path.suffix.lower() == ".onnx" else None


def model_labels(path: Path, registry: Path = REGISTRY) -> tuple[str, ...] | None:
    """The labels of a model file without loading it: those in the file, else those of the registry, else None.

    Never raises: a check of the configuration asks for them in passing, and `open_detector` says what is wrong.
    """
    try:
        labels = file_labels(path)
        if labels:
            return labels
        found = identify(path, registry)
    except (BadModel, BadDocument, OSError):
        return None
    return found.entry.labels or None if found.entry else None
