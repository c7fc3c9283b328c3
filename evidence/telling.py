"""What is written under an alert's picture. Pure."""

from rules.geometry import anchor_of
from schemas.effective import Anchor, Point, RoiRules
from schemas.instants import in_words
from schemas.messages import Alert, Box


def box_words(alert: Alert) -> str:
    """Beside the box."""
    return f"{alert.label} {alert.evidence.confidence:.0%}"


def caption(alert: Alert, roi: RoiRules | None) -> tuple[str, ...]:
    """The lines under the picture: what, when and where, and by which rules."""
    track = "" if alert.track_id is None else f" · track {alert.track_id}"
    place = f"{alert.camera_id} · {alert.roi}"
    rule = f"revision {alert.roi_revision} is not known" if roi is None else f"revision {alert.roi_revision}"
    return (
        f"{alert.severity} · {place} · {alert.label} {alert.evidence.confidence:.0%}{track}",
        f"{in_words(alert.evidence.captured_at)} · {rule}{anchor_words(roi, alert.label)}",
        f"{alert.alert_id} · {alert.model.name} {alert.model.version}",
    )


def anchor_words(roi: RoiRules | None, label: str) -> str:
    """By which part of the box the ROI judges the label."""
    anchor = _anchor(roi, label)
    if anchor is None:
        return ""
    return f" · {anchor}" if isinstance(anchor, str) else f" · {anchor:.0%} of the box"


def anchor_point(roi: RoiRules | None, label: str, box: Box) -> Point | None:
    """The point that must lie in the polygon; None where it is a share of the box, or not known."""
    anchor = _anchor(roi, label)
    return anchor_of(anchor)(box) if isinstance(anchor, str) else None


def _anchor(roi: RoiRules | None, label: str) -> Anchor | None:
    return None if roi is None else roi.anchors.get(label)
