"""The GPU: is it there, may this process use it, and can the detector."""

import importlib

from cli.checks.finding import Finding, fault, ok, warning
from cli.checks.readings import Readings
from inference.detectors import DETECTORS, detector_name
from inference.device import NoDevice, choose
from schemas.documents.services import InferenceSettings

_GIB = 1024**3


def device(settings: InferenceSettings, readings: Readings) -> Finding:
    """Where inference would run."""
    asked = settings.device
    try:
        numbers = choose(asked, readings.cuda)
    except NoDevice as error:
        return fault("gpu", str(error), _why(readings))
    if not numbers:
        if asked == "auto" and (readings.gpus or readings.gpu_nodes):
            return warning(
                "gpu", "there is one, but no CUDA device that this process may use: the CPU it is", _why(readings)
            )
        return ok("gpu", "none is asked for: inference runs on the CPU" if asked == "cpu" else "none: the CPU it is")
    name = detector_name(settings)
    try:
        usable = importlib.import_module(DETECTORS[name]).uses_cuda()
    except ImportError as error:
        return fault("gpu", f"the detector {name} does not import ({error})", "install the extra `ultralytics`")
    if not usable:
        do = {"onnx": "install onnxruntime-gpu in place of onnxruntime"}.get(name, "install a torch with CUDA")
        said = f"{len(readings.cuda)} here, but the detector {name} was installed for the CPU only"
        return warning("gpu", said, do) if asked == "auto" else fault("gpu", said, f"{do}, or INFERENCE_DEVICE=cpu")
    cards = "; ".join(
        f"{card.name}, {card.free / _GIB:.1f} of {card.total / _GIB:.1f} GB free" for card in readings.gpus
    )
    return ok("gpu", f"{len(numbers)} for INFERENCE_DEVICE={asked}; driver {readings.driver or 'unknown'}; {cards}")


def _why(readings: Readings) -> str:
    """The usual reasons, told apart by what the driver shows."""
    if readings.cuda:
        return "name one of those, or `auto`"
    if readings.gpus:
        return "is CUDA_VISIBLE_DEVICES empty? does the container ask for the GPU's compute capability?"
    if readings.gpu_nodes:
        return "device files are here, the driver does not answer: `nvidia-smi` says why (reboot after an update)"
    return (
        "`nvidia-smi` on the host must list it; in a container: NVIDIA Container Toolkit and "
        "COMPOSE_FILE=docker-compose.yml:docker-compose.gpu.yml"
    )
