"""What travels over the topics, one frozen struct per message.

Values are JSON (UTF-8). Boxes are fractions of the picture (x right, y down; x1, y1, x2, y2; 0 to 1). Instants are
integer milliseconds UTC and are named ``..._at``. A struct's field order is the order on the wire, so that equal
messages are equal bytes: replay depends on it.
"""

import uuid
from typing import Annotated, Literal

from msgspec import Meta, Struct

Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Instant = Annotated[int, Meta(ge=0, description="milliseconds since 1970-01-01 UTC")]
Count = Annotated[int, Meta(ge=0)]

Box = tuple[Fraction, Fraction, Fraction, Fraction]
"""x1, y1, x2, y2 as fractions of the picture's width and height."""

Skipped = Literal["stale", "undecodable", "offline"]
"""Why a detection event was not judged: too old to be worth the GPU, no picture in it, or the camera was away."""

Phase = Literal["opened", "resolved"]
ResolveReason = Literal["quiet", "blind", "revision"]
"""``quiet``: watched and nothing seen; ``blind``: nothing was watching; ``revision``: the ROI or label is gone."""

Severity = Literal["info", "warning", "critical"]
Outcome = Literal["delivered", "expired", "refused", "gave_up", "silenced"]
Origin = Literal["file", "api"]
CameraState = Literal["live", "offline", "frozen"]

ALERT_NAMESPACE = uuid.UUID("6d6c9f0e-6f0b-5c0e-9a2b-0b5d1c7a4e11")
"""Namespace of every ``alert_id`` (uuid5). Changing it would give every alert of the past another name."""


class FrameRef(Struct, frozen=True):
    """The record that holds a frame: where to find the evidence."""

    topic: str
    partition: Count
    offset: Count


class Model(Struct, frozen=True):
    """Which weights looked at a frame: the registry's name and version, and the file's SHA-256 in hex."""

    name: str
    version: str
    sha256: str


class Detection(Struct, frozen=True, omit_defaults=True):
    """One thing seen in one frame."""

    label: str
    confidence: Fraction
    box: Box
    track_id: int | None = None


class DetectionEvent(Struct, frozen=True):
    """What the detector saw in one frame; one per frame, also when nothing was found.

    ``seq`` counts a camera's frames from its ingest's start. ``width`` and ``height`` are the source picture's pixels
    (0 where the event carries no picture). ``floor`` is the confidence under which the detector reported nothing.
    A ``skipped`` event has no detections and still moves the camera's clock.
    """

    camera_id: str
    captured_at: Instant
    seq: Count
    frame: FrameRef
    width: Count
    height: Count
    floor: Fraction
    model: Model
    detections: tuple[Detection, ...] = ()
    skipped: Skipped | None = None


class Evidence(Struct, frozen=True):
    """The most confident hit of the frame at ``opened_at``."""

    frame: FrameRef
    box: Box
    confidence: Fraction
    captured_at: Instant


class Alert(Struct, frozen=True):
    """An alert in one of its phases; ``resolved`` (seq 1) repeats everything that ``opened`` (seq 0) said.

    ``hits`` counts the events with a hit up to this phase. ``suppressed`` counts the episodes that the debounce window
    held back since the alert before.
    """

    alert_id: str
    seq: Count
    phase: Phase
    camera_id: str
    roi: str
    label: str
    track_id: int | None
    severity: Severity
    first_hit_at: Instant
    opened_at: Instant
    last_hit_at: Instant
    resolved_at: Instant | None
    reason: ResolveReason | None
    hits: Count
    suppressed: Count
    evidence: Evidence
    model: Model
    roi_revision: str


class Delivery(Struct, frozen=True):
    """How the delivery of one alert phase to one sink ended. ``delivery_id`` is what the receiver saw."""

    delivery_id: str
    sink: str
    outcome: Outcome
    attempts: Count
    first_attempt_at: Instant
    last_attempt_at: Instant
    reason: str | None = None


class Mark(Struct, frozen=True):
    """What an operator says of an alert: that it was right (``true``) or a false alarm. The newest per alert counts."""

    alert_id: str
    true: bool
    marked_at: Instant
    by: str
    comment: str | None = None


class Silence(Struct, frozen=True):
    """While it lasts, alerts that all its ``matchers`` match are not told. The newest per id counts.

    It always ends; one that is taken back gets an earlier end.
    """

    silence_id: str
    matchers: tuple[str, ...]
    starts_at: Instant
    ends_at: Instant
    author: str
    comment: str
    created_at: Instant


class CameraStatus(Struct, frozen=True):
    """What a camera does: it gives pictures (``live``), none (``offline``), or one over and over (``frozen``).

    ``since``: when it came to that. Said at every change and once a minute by the ingest process that reads the camera:
    when ``reported_at`` is minutes old, nobody reads it.
    """

    camera_id: str
    state: CameraState
    since: Instant
    reported_at: Instant


class RevisionAck(Struct, frozen=True):
    """A rules worker judges this camera by this revision from now on. The newest per worker and camera counts."""

    worker: str
    camera_id: str
    revision: str
    effective_from: Instant
    acknowledged_at: Instant


def alert_id(camera_id: str, roi: str, label: str, track_id: int | None, revision: str, opened_at: int) -> str:
    """The alert's name, the same whoever judges: uuid5 over camera, roi, label, track, revision and opened_at."""
    track = "" if track_id is None else str(track_id)
    return str(uuid.uuid5(ALERT_NAMESPACE, "|".join((camera_id, roi, label, track, revision, str(opened_at)))))


def delivery_id(alert: Alert) -> str:
    """What receivers deduplicate by: the same on every retry and after every restart."""
    return f"{alert.alert_id}_{alert.seq}"
