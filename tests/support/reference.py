"""Section 5 of docs/architecture.md once more, slowly: what the engine is held against.

Written from the text and not from the engine. It keeps nothing that could be worked out again: every question is
asked of the whole history so far. Polygons are shapely's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from shapely.geometry import Point, Polygon
from shapely.geometry import box as rectangle

from schemas.effective import ActiveRange, CameraRules, RoiRules
from schemas.messages import Alert, Detection, DetectionEvent, Evidence, alert_id


class Published(NamedTuple):
    """A document, and the capture time from which it applies."""

    effective_from: int
    revision: str
    rules: CameraRules


@dataclass
class Stay:
    """An episode in the making."""

    hits: list[int]
    opened: dict[str, Any] | None = None
    resolve_after: int = 0


@dataclass
class Memory:
    """What is known of one subject."""

    seen: list[int] = field(default_factory=list)
    stay: Stay | None = None
    last_opened_at: int | None = None
    suppressed: int = 0
    forgotten_up_to: int = -1


def reference_alerts(history: Sequence[DetectionEvent], documents: Sequence[Published]) -> list[Alert]:
    """The alerts of one camera's history, in order. ``documents`` ascend by ``effective_from``."""
    alerts: list[Alert] = []
    memories: dict[tuple[str, str], Memory] = {}
    past: list[DetectionEvent] = []
    for event in history:
        if past and event.captured_at <= max(earlier.captured_at for earlier in past):
            continue
        past.append(event)
        applying = [document for document in documents if document.effective_from <= event.captured_at]
        if applying:
            alerts += _judge(applying[-1], past, memories)
    return alerts


def _judge(document: Published, past: list[DetectionEvent], memories: dict[tuple[str, str], Memory]) -> list[Alert]:
    now = past[-1].captured_at
    alerts: list[Alert] = []
    there = [(roi.name, label) for roi in document.rules.rois for label in document.rules.alert_classes]
    for key in sorted(set(memories) - set(there)):
        memory = memories.pop(key)
        if memory.stay is not None and memory.stay.opened is not None:
            end = min(memory.stay.hits[-1] + memory.stay.resolve_after, document.effective_from)
            alerts.append(_resolved(memory.stay, end, "revision"))
        memories[key] = Memory(forgotten_up_to=now)
    for roi in document.rules.rois:
        for label in document.rules.alert_classes:
            memory = memories.setdefault((roi.name, label), Memory())
            alerts += _judge_subject(document, roi, label, past, memory)
    return alerts


def _judge_subject(
    document: Published, roi: RoiRules, label: str, past: list[DetectionEvent], memory: Memory
) -> list[Alert]:
    event, now = past[-1], past[-1].captured_at
    alerts: list[Alert] = []
    if memory.stay is not None:
        memory.stay.resolve_after = roi.resolve_after_ms
        last = memory.stay.hits[-1]
        end = last + roi.resolve_after_ms
        if now >= end:
            if memory.stay.opened is None:
                memory.suppressed += 1
            else:
                watched = any(each.skipped is None and last < each.captured_at <= end for each in past)
                alerts.append(_resolved(memory.stay, end, "quiet" if watched else "blind"))
            memory.stay = None
            memory.forgotten_up_to = end
    hits = [each for each in event.detections if event.skipped is None and is_hit(each, roi, label, event)]
    if not hits:
        return alerts
    memory.seen.append(now)
    if memory.stay is not None:
        memory.stay.hits.append(now)
    else:
        counting = [
            hit for hit in memory.seen if hit > memory.forgotten_up_to and 0 <= now - hit <= roi.confirm_within_ms
        ]
        if now not in counting or len(counting) < roi.confirm_hits:
            return alerts
        memory.stay = Stay(counting, resolve_after=roi.resolve_after_ms)
    if memory.stay.opened is not None:
        return alerts
    if memory.last_opened_at is None or now >= memory.last_opened_at + roi.debounce_window_ms:
        best = max(hits, key=lambda each: each.confidence)  # the first among equals
        memory.stay.opened = {
            "alert_id": alert_id(event.camera_id, roi.name, label, None, document.revision, now),
            "camera_id": event.camera_id,
            "roi": roi.name,
            "label": label,
            "track_id": None,
            "severity": roi.severity,
            "first_hit_at": memory.stay.hits[0],
            "opened_at": now,
            "suppressed": memory.suppressed,
            "evidence": Evidence(event.frame, best.box, best.confidence, now),
            "model": event.model,
            "roi_revision": document.revision,
        }
        memory.last_opened_at, memory.suppressed = now, 0
        alerts.append(
            Alert(
                seq=0,
                phase="opened",
                last_hit_at=now,
                resolved_at=None,
                reason=None,
                hits=len(memory.stay.hits),
                **memory.stay.opened,
            )
        )
    return alerts


def _resolved(stay: Stay, at: int, reason: Any) -> Alert:
    assert stay.opened is not None
    return Alert(
        seq=1,
        phase="resolved",
        last_hit_at=stay.hits[-1],
        resolved_at=at,
        reason=reason,
        hits=len(stay.hits),
        **stay.opened,
    )


def is_hit(detection: Detection, roi: RoiRules, label: str, event: DetectionEvent) -> bool:
    """Whether the detection is a hit of the subject (roi, label)."""
    return (
        detection.label == label
        and detection.confidence >= roi.min_confidence
        and lies_in(detection, roi, event.width, event.height)
        and (roi.active is None or any(is_active(each, event.captured_at) for each in roi.active))
    )


def lies_in(detection: Detection, roi: RoiRules, width: int, height: int) -> bool:
    """Whether the box lies in the ROI, by shapely."""
    across, down = (1, 1) if roi.units == "fractions" else (roi.reference_size or (width, height))
    polygon = Polygon([(x / across, y / down) for x, y in roi.points])
    x1, y1, x2, y2 = detection.box
    anchor = roi.anchors[detection.label]
    if isinstance(anchor, float):
        if x2 <= x1 or y2 <= y1:
            return False
        area: float = polygon.intersection(rectangle(x1, y1, x2, y2)).area
        return area >= anchor * (x2 - x1) * (y2 - y1)
    words = ["center", "center"] if anchor == "center" else anchor.split("_")
    x = {"left": x1, "center": (x1 + x2) / 2, "right": x2}[words[1]]
    y = {"top": y1, "center": (y1 + y2) / 2, "bottom": y2}[words[0]]
    return bool(polygon.covers(Point(x, y)))


def is_active(active: ActiveRange, at: int) -> bool:
    """Whether the range holds, minute by minute of the wall clock."""
    clock = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)).astimezone(ZoneInfo(active.timezone))
    minute = clock.hour * 60 + clock.minute
    length = active.end_minute - active.start_minute
    if length <= 0:
        length += 24 * 60
    for began, day in ((minute, clock.weekday()), (minute + 24 * 60, (clock.weekday() - 1) % 7)):
        if day in active.days and active.start_minute <= began < active.start_minute + length:
            return True
    return False
