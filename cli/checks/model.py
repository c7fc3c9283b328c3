"""The model: the file that the registry means, and it loads."""

import time
from collections.abc import Sequence
from pathlib import Path

from cli.checks.finding import Finding, fault, ok, warning
from inference.detectors import detector_name, open_detector
from inference.device import CPU, NoDevice
from inference.model_registry import REGISTRY, UNREGISTERED, BadModel
from schemas.documents.services import InferenceSettings
from schemas.problems import BadDocument


def model(settings: InferenceSettings, alert_classes: Sequence[str], registry: Path = REGISTRY) -> Finding:
    """Loads the model on the CPU (a GPU may be in use) and looks whether it knows the labels that are to alert."""
    began = time.monotonic()
    try:
        detector = open_detector(settings.model_copy(update={"tensorrt": False}), device=CPU, registry=registry)
    except (BadModel, NoDevice) as error:
        return fault("model", str(error), "`backsight models verify` looks at all of them; docs/models.md")
    except BadDocument as error:
        return fault("model", str(error), f"mend {registry}")
    except ImportError as error:
        return fault("model", f"{error}", f"install the extra of the detector {detector_name(settings)}")
    seconds = time.monotonic() - began
    found = detector.model
    said = f"{found.name} {found.version}, sha256 {found.sha256[:12]}…, loads on the CPU in {seconds:.1f} s"
    if found.version == UNREGISTERED:
        return warning(
            "model", f"{said}; not in {registry.name}", "`backsight models register`, so that a changed file is noticed"
        )
    unknown = sorted(set(alert_classes) - set(detector.labels)) if detector.labels else []
    if unknown:
        words = (
            f"{said}; it does not know {', '.join(unknown)} of alert_classes (it knows {', '.join(detector.labels)})"
        )
        return fault("model", words, "correct rois.yaml, or name another model: those labels can never alert")
    return ok("model", f"{said}; labels {', '.join(detector.labels) or 'not told'}")
