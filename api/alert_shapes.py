"""Alerts as the API shows them."""

from typing import Literal

from pydantic import BaseModel, Field

from evidence.index import Entry
from schemas.messages import Severity


class DeliveryShown(BaseModel):
    """How the delivery of a phase to a sink ended, or how it went the last time."""

    sink: str
    delivery_id: str = Field(description="what the receiver saw")
    outcome: str
    reason: str | None
    attempts: int
    last_attempt_at: int


class MarkShown(BaseModel):
    """What somebody said of the alert."""

    true: bool
    by: str
    marked_at: int
    comment: str | None


class AlertShown(BaseModel):
    """An alert in its newest phase. Instants are milliseconds UTC."""

    alert_id: str
    phase: Literal["opened", "resolved"]
    camera_id: str
    roi: str
    label: str
    track_id: int | None
    severity: Severity
    confidence: float = Field(description="of the box in the frame that confirmed it")
    box: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2 as fractions of the picture")
    opened_at: int
    last_hit_at: int
    resolved_at: int | None
    reason: str | None = Field(description="of the resolve: quiet, blind, revision")
    hits: int
    suppressed: int
    model: str
    roi_revision: str
    evidence: str = Field(description="path of the picture")
    clean: str = Field(description="path of the frame without anything drawn in")
    clip: str = Field(description="path of the clip")
    deliveries: list[DeliveryShown]
    mark: MarkShown | None


class AlertsPage(BaseModel):
    """Alerts, the newest first."""

    alerts: list[AlertShown]
    next: str | None = Field(description="the `cursor` of the next page; null: there is none")
    complete: bool = Field(description="false while the topics are still being read: alerts may be missing")


def shown(entry: Entry) -> AlertShown:
    """An alert as it is answered."""
    alert, path = entry.alert, f"/alerts/{entry.alert.alert_id}"
    return AlertShown(
        alert_id=alert.alert_id,
        phase=alert.phase,
        camera_id=alert.camera_id,
        roi=alert.roi,
        label=alert.label,
        track_id=alert.track_id,
        severity=alert.severity,
        confidence=alert.evidence.confidence,
        box=alert.evidence.box,
        opened_at=alert.opened_at,
        last_hit_at=alert.last_hit_at,
        resolved_at=alert.resolved_at,
        reason=alert.reason,
        hits=alert.hits,
        suppressed=alert.suppressed,
        model=f"{alert.model.name} {alert.model.version}",
        roi_revision=alert.roi_revision,
        evidence=f"{path}/evidence.jpg",
        clean=f"{path}/clean.jpg",
        clip=f"{path}/clip.mp4",
        deliveries=[
            DeliveryShown(
                sink=each.sink,
                delivery_id=each.delivery_id,
                outcome=each.outcome,
                reason=each.reason,
                attempts=each.attempts,
                last_attempt_at=each.last_attempt_at,
            )
            for each in sorted(entry.deliveries, key=lambda each: each.last_attempt_at)
        ],
        mark=None
        if entry.mark is None
        else MarkShown(
            true=entry.mark.true, by=entry.mark.by, marked_at=entry.mark.marked_at, comment=entry.mark.comment
        ),
    )
