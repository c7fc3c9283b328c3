"""Why a detection of a label was no hit in a ROI, in words. Pure.

Whether it was one is the engine's answer (`rules.engine.roi_hits`); here its reasons are measured, for people.
"""

from typing import Final, NamedTuple

from shapely.geometry import Point, Polygon
from shapely.geometry import box as rectangle

from rules.engine import Document, roi_hits
from rules.geometry import anchor_of
from rules.kinds import PictureSize
from rules.kinds.presence import polygon_of
from rules.state import Subject
from schemas.effective import ActiveRange, RoiRules
from schemas.messages import Box, Detection, DetectionEvent

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Miss(NamedTuple):
    """What kept the nearest detection from being a hit: the names of the reasons, the reasons in words, how near."""

    reasons: tuple[str, ...]
    words: str
    nearness: float


class Look(NamedTuple):
    """One event as one subject sees it: detections of its label, the best hit among them, or the nearest miss."""

    seen: int
    hit: Detection | None = None
    miss: Miss | None = None


NOTHING_SEEN: Final = Look(0)


def look(document: Document, event: DetectionEvent, subject: Subject) -> Look:
    """What the event holds for the subject, which the document must have. Raises `ValueError` where the engine does."""
    seen = [each for each in event.detections if each.label == subject.label]
    if not seen or event.skipped is not None:
        return NOTHING_SEEN
    inside = {
        each.detection: each
        for each in roi_hits(document, seen, event.width, event.height, event.captured_at)
        if each.roi == subject.roi
    }
    hits = [seen[number] for number, each in inside.items() if each.active and each.confident]
    if hits:
        return Look(len(seen), hit=max(hits, key=lambda each: each.confidence))  # the first among equals
    place = document.place[subject] // len(document.rules.alert_classes)
    roi, times = document.rois[place], document.active[place]
    active = times is None or times.at(event.captured_at)
    misses = [
        _miss(roi, detection, event, inside=number in inside, active=active) for number, detection in enumerate(seen)
    ]
    return Look(len(seen), miss=min(misses, key=lambda each: (len(each.reasons), -each.nearness)))


def settings_in_words(roi: RoiRules, label: str) -> str:
    """What the ROI asks of a label: `3 hits within 2 s, confidence 0.25, bottom_center inside, …`."""
    anchor = roi.anchors[label]
    said = [
        f"{roi.confirm_hits} hit{'s' if roi.confirm_hits > 1 else ''} within {seconds(roi.confirm_within_ms)}",
        f"confidence {roi.min_confidence:g}",
        f"{anchor} inside" if isinstance(anchor, str) else f"{anchor:g} of the box inside",
        f"resolves after {seconds(roi.resolve_after_ms)}",
        f"debounce window {seconds(roi.debounce_window_ms)}",
    ]
    if roi.active is not None:
        said.append(f"active {_times_in_words(roi.active)}")
    return ", ".join(said)


def seconds(milliseconds: int) -> str:
    """`2 s`, `0.4 s`."""
    return f"{milliseconds / 1000:.10g} s"


def _miss(roi: RoiRules, detection: Detection, event: DetectionEvent, *, inside: bool, active: bool) -> Miss:
    reasons: dict[str, str] = {}
    nearness = detection.confidence
    if not inside:
        anchor = roi.anchors[detection.label]
        size = PictureSize(event.width or 1, event.height or 1)
        polygon = Polygon([(x * size.width, y * size.height) for x, y in polygon_of(roi, size)])
        if isinstance(anchor, str):
            x, y = anchor_of(anchor)(detection.box)
            away = polygon.distance(Point(x * size.width, y * size.height))
            far = f"{away:.3g} px" if event.width else f"{away:.3g} of the picture"
            reasons["outside"] = f"{anchor} ({x:.3g} {y:.3g}) lies {far} outside {roi.name}"
            nearness = -away
        else:
            nearness = _overlap(polygon, detection.box, size)
            shown = _told_apart(nearness, anchor)
            reasons["overlap"] = f"{shown} of the box lies in {roi.name}, {anchor:g} is asked for"
    if detection.confidence < roi.min_confidence:
        shown = _told_apart(detection.confidence, roi.min_confidence)
        reasons["confidence"] = f"confidence {shown} is below {roi.min_confidence:g}"
    if not active and roi.active is not None:
        reasons["inactive"] = f"{roi.name} is not active then (it is {_times_in_words(roi.active)})"
    return Miss(tuple(reasons), "; ".join(reasons.values()), nearness)


def _overlap(polygon: Polygon, box: Box, size: PictureSize) -> float:
    x1, y1, x2, y2 = box
    area = rectangle(x1 * size.width, y1 * size.height, x2 * size.width, y2 * size.height)
    return float(polygon.intersection(area).area / area.area) if area.area else 0.0


def _told_apart(value: float, limit: float) -> str:
    """The value with as many digits as it takes to see that it is not the limit."""
    return next((text for digits in range(2, 17) if float(text := f"{value:.{digits}f}") < limit), f"{value!r}")


def _times_in_words(ranges: tuple[ActiveRange, ...]) -> str:
    return ", ".join(
        f"{' '.join(_DAYS[day] for day in each.days) if len(each.days) < 7 else 'every day'} "
        f"{_clock(each.start_minute)} to {_clock(each.end_minute)} {each.timezone}"
        for each in ranges
    )


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
