"""ONNX models through ONNX Runtime: the CPU, a GPU through CUDA, or through TensorRT. The default detector.

Two kinds of output are understood, told apart by their shape:

- dense, YOLOv8 and YOLO11 style, (pictures, 4 + classes, anchors): suppression is done here;
- NMS-free, YOLO26 and YOLOv10 style, (pictures, boxes, 6).

Class names are those in the file's metadata (`names`), else those of the registry. The input is (pictures, 3, height,
width), RGB from 0 to 1, float32 or float16; a size that the model leaves open is that of the metadata (`imgsz`), else
640 x 640. A model with a fixed number of pictures gets exactly so many, the last ones blank.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference import boxes
from inference.detectors.contract import BadModel, DetectorSettings, FrameName, Identity, batch_size, device_fault
from inference.device import CPU, NoDevice
from inference.onnx_file import OnnxHead, read_onnx_head
from inference.pictures import Picture
from runtime.logs import get_logger
from schemas.messages import Detection, Model

DEFAULT_SIDE: Final = 640
GREY: Final = 114
"""The letterbox's bars, as Ultralytics trains with them."""

_INPUTS: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_QUIET: Final = 3  # ONNX Runtime's log level: errors only

log = get_logger(__name__)


def uses_cuda() -> bool:
    """Whether the ONNX Runtime that is installed was built for GPUs."""
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def load(path: Path, identity: Identity, settings: DetectorSettings) -> "OnnxDetector":
    """The detector for the model at ``path``; raises `BadModel`, `NoDevice` and what the first detection raises."""
    head = read_onnx_head(path)
    session = _session(path, head, settings)
    if settings.device != CPU and settings.fp16 and not settings.tensorrt and "float16" not in _input_type(session):
        # CUDA runs a model as it was exported; only TensorRT makes one smaller by itself.
        log.info("fp16_needs_a_half_precision_model", path=str(path), runs_as="float32")
    detector = OnnxDetector(path, session, head, identity, settings)
    detector.warm()
    return detector


def _session(path: Path, head: OnnxHead, settings: DetectorSettings) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.log_severity_level = _QUIET
    # Threads that wait for work by spinning take the cores from the other stages.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = _providers(settings, path)
    if settings.device != CPU:
        # The CUDA libraries that came as Python packages are on no path on which the loader looks.
        onnxruntime.preload_dlls()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        fault = device_fault(error, settings.device)
        if fault is not error:
            raise fault from None
        raise BadModel(
            f"{path}: ONNX Runtime {onnxruntime.__version__} does not load this model (IR version {head.ir_version}, "
            f"opset {head.opset}): {str(error).strip().splitlines()[0][:300]}"
        ) from None
    # ONNX Runtime goes on on the CPU by itself when a provider does not start, e.g. for want of a library.
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if session.get_providers()[0] != wanted:
        raise NoDevice(
            f"{settings.device} was asked for, but ONNX Runtime could not start its {wanted} "
            f"(it offers {', '.join(session.get_providers())}); do the CUDA and cuDNN libraries fit this build?"
        )
    session.disable_fallback()
    return session


def _providers(settings: DetectorSettings, path: Path) -> list[Any]:
    if settings.device == CPU:
        return ["CPUExecutionProvider"]
    available = onnxruntime.get_available_providers()
    number = int(settings.device.removeprefix("cuda:"))
    cuda = ("CUDAExecutionProvider", {"device_id": number})
    if "CUDAExecutionProvider" not in available:
        raise NoDevice(
            f"{settings.device} was asked for, but the ONNX Runtime that is installed has no CUDA provider "
            f"(it offers {', '.join(available)}); install the package onnxruntime-gpu in place of onnxruntime"
        )
    if not settings.tensorrt:
        return [cuda, "CPUExecutionProvider"]
    if "TensorrtExecutionProvider" not in available:
        raise NoDevice(f"inference.tensorrt is true, but ONNX Runtime has no such provider ({', '.join(available)})")
    engines = {
        "device_id": number,
        "trt_fp16_enable": settings.fp16,
        # Building an engine takes minutes; it is kept beside the model and belongs to this kind of GPU.
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(path.parent / ".tensorrt"),
    }
    return [("TensorrtExecutionProvider", engines), cuda, "CPUExecutionProvider"]


def _input_type(session: Any) -> str:
    return str(session.get_inputs()[0].type)


class OnnxDetector:
    """One ONNX Runtime session and what is known of its input and output."""

    def __init__(
        self, path: Path, session: Any, head: OnnxHead, identity: Identity, settings: DetectorSettings
    ) -> None:
        self.model: Model = identity.model
        self.device = settings.device
        self._path = path
        self._session = session
        self._settings = settings
        inputs = session.get_inputs()
        if (
            len(inputs) != 1
            or len(inputs[0].shape) != 4
            or inputs[0].shape[1] not in (3, None)
            or (inputs[0].type not in _INPUTS)
        ):
            found = "; ".join(f"{each.name} {each.shape} {each.type}" for each in inputs)
            raise BadModel(
                f"{path}: expected one input (pictures, 3, height, width) of float32 or float16; found {found}"
            )
        self._input = inputs[0].name
        self._type = _INPUTS[inputs[0].type]
        pictures, _channels, height, width = inputs[0].shape
        self._fixed_batch = pictures if isinstance(pictures, int) and pictures > 0 else None
        self.batch_size = batch_size(settings, self._fixed_batch)
        exported = head.input_size or (DEFAULT_SIDE, DEFAULT_SIDE)
        self._size = (
            width if isinstance(width, int) else exported[0],
            height if isinstance(height, int) else exported[1],
        )
        self._output = session.get_outputs()[0].name
        registered = identity.entry.labels if identity.entry else ()
        self._known_labels = head.labels or registered or None
        self.labels: tuple[str, ...] = self._known_labels or ()
        self._dense = True

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of the model's input."""
        return self._size

    def warm(self) -> None:
        """Runs the model once, and learns from the shape of its output what kind it is and how many classes it has."""
        output = self._run(self._tensor([_blank(self._size)])[0])
        shape = tuple(output.shape)
        if output.ndim == 3 and shape[2] == 6:
            self._dense = False
            classes = None
        elif output.ndim == 3 and shape[1] > 4 and shape[2] > shape[1]:
            classes = shape[1] - 4
        else:
            raise BadModel(
                f"{self._path}: expected an output of (pictures, 4 + classes, anchors) or (pictures, boxes, 6), "
                f"found {shape}; is it a detection model?"
            )
        if self._known_labels is None:
            if classes is None:
                raise BadModel(f"{self._path}: holds no class names (metadata key names); give labels in the registry")
            self.labels = tuple(f"class_{number}" for number in range(classes))
            log.warning("model_without_names", path=str(self._path), labels=len(self.labels))
        elif classes is not None and classes != len(self._known_labels):
            raise BadModel(
                f"{self._path}: its output has {classes} classes, but there are {len(self._known_labels)} names"
            )

    def detect(
        self, pictures: Sequence[Picture], names: Sequence[FrameName] | None = None
    ) -> list[tuple[Detection, ...]]:
        """What the model sees in each picture."""
        del names
        group = self._fixed_batch or len(pictures) or 1
        found: list[tuple[Detection, ...]] = []
        for start in range(0, len(pictures), group):
            part = pictures[start : start + group]
            tensor, places = self._tensor(part)
            outputs = self._run(tensor)
            found += [self._read(output, place) for output, place in zip(outputs, places, strict=False)]
        return found

    def _tensor(self, pictures: Sequence[Picture]) -> tuple[NDArray[Any], list[boxes.Letterbox]]:
        count = self._fixed_batch or len(pictures)
        width, height = self._size
        canvas = np.full((count, height, width, 3), GREY, dtype=np.uint8)
        places = []
        for number, picture in enumerate(pictures):
            place = boxes.letterbox((picture.shape[1], picture.shape[0]), self._size)
            scaled = _scaled(picture, (place.width, place.height))
            canvas[number, place.top : place.top + place.height, place.left : place.left + place.width] = scaled
            places.append(place)
        # One pass: channels first, and 0 to 1.
        tensor = np.multiply(canvas.transpose(0, 3, 1, 2), np.float32(1 / 255), dtype=np.float32, order="C")
        return tensor.astype(self._type, copy=False), places

    def _run(self, tensor: NDArray[Any]) -> NDArray[Any]:
        try:
            output: NDArray[Any] = self._session.run([self._output], {self._input: tensor})[0]
        except Exception as error:
            raise device_fault(error, self.device) from error
        return output

    def _read(self, output: NDArray[Any], place: boxes.Letterbox) -> tuple[Detection, ...]:
        floor = self._settings.floor
        if self._dense:
            found = boxes.suppress(boxes.read_dense(output, floor), self._settings.iou)
        else:
            found = boxes.read_sparse(output, floor)
        inside = found._replace(corners=boxes.to_fractions(found.corners, place))
        return boxes.detections(inside, self.labels, floor)


def _blank(size: tuple[int, int]) -> Picture:
    return np.full((size[1], size[0], 3), GREY, dtype=np.uint8)


def _scaled(picture: Picture, size: tuple[int, int]) -> Picture:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    # Linear is what the models were trained with, down to a half; below that it would skip pixels, so areas are meant.
    shrunk = picture.shape[1] > 2 * size[0] or picture.shape[0] > 2 * size[1]
    scaled: Picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrunk else cv2.INTER_LINEAR)
    return scaled
