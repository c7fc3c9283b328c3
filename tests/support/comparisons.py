"""A made-up comparison: what a replay would have found, without a history to find it in."""

from collections.abc import Iterable
from typing import Any

from msgspec import structs

from replay.comparison import CameraFacts, Comparison, Manifest, SideFacts, Verdicts
from replay.diff import compare, last_phases
from replay.history import Extent
from replay.judging import Inexact, SeenSize
from replay.spans import Span
from schemas.effective import CameraRules, RoiRevision, revision_of
from schemas.messages import Alert, Evidence, FrameRef, Model, alert_id
from tests.support.histories import roi, rules

HOUR = 3_600_000
BEGIN = 1_790_000_000_000  # 2026-09-21 14:13:20
SPAN = Span(BEGIN, BEGIN + 6 * HOUR)
MODEL = Model("yard", "1", "ab" * 32)
SIZE = (1280, 720)
DOCUMENT = rules(roi("loading_zone"), roi("gate", severity="critical"), camera="cam_1")
TRIED = rules(
    roi("loading_zone", points=((0.25, 0.25), (0.9, 0.25), (0.9, 0.75), (0.25, 0.75)), confirm_hits=2),
    roi("gate", severity="critical"),
    camera="cam_1",
)


def raised(at_s: float, lasts_s: float | None = 8.0, *, under: CameraRules = DOCUMENT, **changes: Any) -> Alert:
    """An alert that opened ``at_s`` seconds into the span, in its last phase: resolved unless ``lasts_s`` is None."""
    opened = BEGIN + round(at_s * 1000)
    values: dict[str, Any] = {
        "camera_id": under.camera_id,
        "roi": "loading_zone",
        "label": "object",
        "severity": "warning",
        "hits": 7,
        "suppressed": 0,
    } | changes
    evidence = Evidence(FrameRef("frames", 0, round(at_s * 10)), (0.5, 0.4, 0.6, 0.6), 0.87, opened)
    revision = revision_of(under)
    alert = Alert(
        alert_id=alert_id(values["camera_id"], values["roi"], values["label"], None, revision, opened),
        seq=0,
        phase="opened",
        track_id=None,
        first_hit_at=opened - 400,
        opened_at=opened,
        last_hit_at=opened,
        resolved_at=None,
        reason=None,
        evidence=evidence,
        model=MODEL,
        roi_revision=revision,
        **values,
    )
    if lasts_s is None:
        return alert
    lasts = round(lasts_s * 1000)
    return structs.replace(
        alert, seq=1, phase="resolved", reason="quiet", resolved_at=opened + lasts, last_hit_at=opened + lasts - 5000
    )


def side(name: str, *documents: CameraRules, tried: bool = False) -> SideFacts:
    """A side that judged by these documents from the beginning on."""
    published = 0 if tried else BEGIN - HOUR
    return SideFacts(
        name,
        tuple(RoiRevision(each.camera_id, revision_of(each), 0, published, "file", each) for each in documents),
        ("1",),
    )


BEFORE = (raised(600), raised(2400, 20.0), raised(7200, roi="gate", severity="critical"), raised(16_000, 40.0))
AFTER = (
    raised(599, 9.0, under=TRIED),
    raised(4000, 30.0, under=TRIED),
    raised(7200, under=TRIED, roi="gate", severity="critical"),
    raised(16_000, None, under=TRIED),
)


def comparison(
    before: Iterable[Alert] = BEFORE,
    after: Iterable[Alert] = AFTER,
    *,
    sides: tuple[SideFacts, SideFacts] | None = None,
    span: Span = SPAN,
    **changes: Any,
) -> Comparison:
    """What `replay.comparison.compared` would answer for these alerts: by default one added, one removed, two changed
    and one the same, of one camera."""
    differences = compare(last_phases(before, span), last_phases(after, span))
    cameras = tuple(sorted({each.camera_id for each in differences} | {DOCUMENT.camera_id}))
    first, last = span.begin + 5 * 60_000, span.end - 200
    made = Comparison(
        manifest=Manifest(
            run="try-1",
            made_at=span.end + HOUR,
            span=span,
            source="kafka",
            extents=(Extent(0, 0, 108_000, span.begin - HOUR, True), Extent(1, 1200, 1200, None, False)),
            cameras=cameras,
            models={"yard 1 (abababababab)": cameras},
            engine="1",
            code="0.1.0",
        ),
        before=side("recorded", DOCUMENT) if sides is None else sides[0],
        after=side("candidate.yaml", TRIED, tried=True) if sides is None else sides[1],
        differences=differences,
        inexact=(Inexact(cameras[0], "gate", "object", span.begin, "time"),),
        cameras=tuple(
            CameraFacts(each, 108_000, 25, 1, 900, 3, first, last, (SeenSize(first, *SIZE),)) for each in cameras
        ),
        verdicts_before=Verdicts(0, 0),
        verdicts_after=Verdicts(0, 0),
        lost=(),
        notes=(),
    )
    return structs.replace(made, **changes)
