"""Alerts for tests: one builder that fills in what a test does not care about."""

from msgspec import structs

from schemas.codec import encode, schema_header
from schemas.messages import Alert, Evidence, FrameRef, Model, alert_id

OPENED_AT = 1_700_000_000_000


def opened(
    number: int = 0, *, camera: str = "cam_nave3_hornos", at: int = OPENED_AT, roi: str = "loading_zone"
) -> Alert:
    """The ``number``-th alert of a camera, as it opens, a second after the one before."""
    instant = at + number * 1000
    evidence = Evidence(
        frame=FrameRef(topic="frames", partition=0, offset=number),
        box=(0.25, 0.5, 0.5, 0.75),
        confidence=0.87,
        captured_at=instant,
    )
    return Alert(
        alert_id=alert_id(camera, roi, "object", None, "0123456789abcdef", instant),
        seq=0,
        phase="opened",
        camera_id=camera,
        roi=roi,
        label="object",
        track_id=None,
        severity="critical",
        first_hit_at=instant - 400,
        opened_at=instant,
        last_hit_at=instant,
        resolved_at=None,
        reason=None,
        hits=3,
        suppressed=0,
        evidence=evidence,
        model=Model(name="yard", version="1", sha256="0" * 64),
        roi_revision="0123456789abcdef",
    )


def resolved(alert: Alert, *, after_ms: int = 5000) -> Alert:
    """The same alert as it resolves."""
    return structs.replace(
        alert, seq=1, phase="resolved", resolved_at=alert.opened_at + after_ms, reason="quiet", hits=alert.hits + 4
    )


def record_of(alert: Alert) -> tuple[str, bytes, list[tuple[str, bytes]]]:
    """Key, value and headers as the rules write them."""
    return alert.camera_id, encode(alert), [schema_header(Alert)]
