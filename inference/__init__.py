"""`frames` to `detections`: what a detector sees in each frame, one event per frame."""

from pathlib import Path

import runtime.pixel_limit  # noqa: F401 - before cv2


def model_labels(path: Path) -> tuple[str, ...] | None:
    """The labels of a model file without loading it; None where it does not tell. See `inference.detectors`."""
    # Imported late: what only wants to know a constant needs no image library.
    from inference import detectors

    return detectors.model_labels(path)
