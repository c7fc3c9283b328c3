"""A camera's ROIs with every default filled in: what the engine judges by, and what a revision is the name of.

Durations are integer milliseconds here, and labels keep the order in which the document lists `alert_classes`,
because alerts of one event come in that order.
"""

import hashlib
from typing import Any, Literal

import msgspec
from msgspec import Struct

from schemas.messages import Origin, Severity

Point = tuple[float, float]
AnchorPoint = Literal[
    "top_left", "top_center", "top_right",
    "center_left", "center", "center_right",
    "bottom_left", "bottom_center", "bottom_right",
]  # fmt: skip
Anchor = AnchorPoint | float
"""Which point of a box must lie in the polygon, or the fraction (0 to 1] of the box's area that must."""


class ActiveRange(Struct, frozen=True):
    """Wall-clock times of a zone in which a ROI is judged.

    ``days`` counts from Monday = 0. Minutes count from midnight, 0 to 1440. ``end_minute <= start_minute`` passes
    midnight and belongs to the day it begins on.
    """

    days: tuple[int, ...]
    start_minute: int
    end_minute: int
    timezone: str


class RoiRules(Struct, frozen=True):
    """One forbidden ROI. ``active`` None: always. ``anchors`` has one entry per label of `alert_classes`."""

    name: str
    points: tuple[Point, ...]
    units: Literal["pixels", "fractions"]
    reference_size: tuple[int, int] | None
    anchors: dict[str, Anchor]
    min_confidence: float
    confirm_hits: int
    confirm_within_ms: int
    resolve_after_ms: int
    debounce_window_ms: int
    severity: Severity
    active: tuple[ActiveRange, ...] | None


class CameraRules(Struct, frozen=True):
    """The effective document of one camera. No ROIs: the camera was taken away, nothing is judged."""

    camera_id: str
    rois: tuple[RoiRules, ...] = ()
    allowed_classes: tuple[str, ...] = ()
    alert_classes: tuple[str, ...] = ()


class RoiRevision(Struct, frozen=True):
    """A record of `roi-revisions`: from ``effective_from`` (capture time, milliseconds) on, ``document`` holds.

    ``written`` is the camera's entry as the person wrote it, for showing and for writing back to the file.
    """

    camera_id: str
    revision: str
    effective_from: int
    published_at: int
    origin: Origin
    document: CameraRules
    written: dict[str, Any] | None = None


def canonical(document: CameraRules) -> bytes:
    """The document's bytes that a revision is the hash of: keys sorted, no white space, UTF-8."""
    return msgspec.json.encode(document, order="sorted")


def revision_of(document: CameraRules) -> str:
    """The document's revision: the first 16 hex digits of the SHA-256 of its canonical form."""
    return hashlib.sha256(canonical(document)).hexdigest()[:16]
