"""Where judging happens: one event, one camera's state, one document; alerts come out. See docs/architecture.md, 5."""

from msgspec import Struct

from rules.state import CameraState, Subject
from schemas.effective import CameraRules
from schemas.messages import Alert, Detection, DetectionEvent


class Document:
    """A camera's rules made ready for judging; ask `compile_rules` for one and keep it while its revision applies."""

    camera_id: str
    revision: str
    effective_from: int
    rules: CameraRules


class Judged(Struct, frozen=True):
    """What one event did.

    ``changed``: subjects whose row must be written. ``remembered``: subjects whose buckets gain the event's
    ``captured_at``. The rest is for counting: ``late`` (at or before the watermark, not judged), ``hits`` (subjects
    hit), ``unlisted`` (the label of each detection that is in neither list), ``out_of_bounds`` (ROIs that reach beyond
    the picture, named at the first event of a size or revision).
    """

    state: CameraState
    alerts: tuple[Alert, ...] = ()
    changed: tuple[Subject, ...] = ()
    remembered: tuple[Subject, ...] = ()
    late: bool = False
    hits: int = 0
    unlisted: tuple[str, ...] = ()
    out_of_bounds: tuple[str, ...] = ()


class RoiHit(Struct, frozen=True):
    """A detection (by its place in the list) that lies in a ROI now; a hit only if ``active`` and ``confident``."""

    roi: str
    label: str
    detection: int
    active: bool
    confident: bool


def compile_rules(rules: CameraRules, revision: str, effective_from: int) -> Document:
    """The document made ready: polygons, bounding boxes, active times."""
    raise NotImplementedError


def step(document: Document | None, state: CameraState, event: DetectionEvent) -> Judged:
    """Judge one event. Without a document nothing is judged and the watermark moves."""
    raise NotImplementedError


def roi_hits(
    document: Document, detections: tuple[Detection, ...], width: int, height: int, at: int
) -> tuple[RoiHit, ...]:
    """Which detection of `alert_classes` lies in which ROI of one picture, in the order of the document."""
    raise NotImplementedError
