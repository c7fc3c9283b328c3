"""`frames` to `detections`: what a detector sees in each frame, one event per frame.

OpenCV reads its pixel limit from the environment when it is first imported, so the limit is set here, ahead of every
module of this package: without it a PNG of 109 KB (30,000 x 30,000, one bit) takes 5.3 GB and 14 s to decode.
"""

import os
from pathlib import Path

MAX_PIXELS = 40_000_000
"""The largest picture that is decoded; an 8K picture has 33 million pixels."""

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))


def model_labels(path: Path) -> tuple[str, ...] | None:
    """The labels of a model file without loading it; None where it does not tell. See `inference.detectors`."""
    # Imported late: what only wants to know a constant needs no image library.
    from inference import detectors

    return detectors.model_labels(path)
