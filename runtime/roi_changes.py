"""What changed between two documents of a camera, in words."""

from collections.abc import Iterable
from typing import Any, Final

from schemas.effective import ActiveRange, CameraRules, RoiRules

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WRITTEN: Final = {
    "confirm_hits": "confirm.hits",
    "confirm_within_ms": "confirm.within_seconds",
    "resolve_after_ms": "resolve_after_seconds",
    "debounce_window_ms": "debounce_window_seconds",
}
"""Keys that people write under another name."""


def changes(before: CameraRules | None, after: CameraRules) -> list[str]:
    """What ``after`` says otherwise than ``before``, a line each, in the words of `rois.yaml`.

    ``before`` None: there was none.
    """
    if before is None:
        return [f"first document: {_listed(roi.name for roi in after.rois) or 'no ROIs'}"]
    if not after.rois and not after.alert_classes and not after.allowed_classes:
        return ["the camera is gone from the document: nothing is judged"]
    old = {roi.name: roi for roi in before.rois}
    new = {roi.name: roi for roi in after.rois}
    said = [f"{name}: added" for name in new if name not in old]
    said += [f"{name}: removed" for name in old if name not in new]
    shared = [name for name in new if name in old]
    for name in shared:
        different = _roi_changes(old[name], new[name])
        if different:
            said.append(f"{name}: {', '.join(different)}")
    if shared != [name for name in old if name in new]:
        said.append(f"order of the ROIs: {_listed(new)}")
    for key in ("alert_classes", "allowed_classes"):
        labels, others = getattr(before, key), getattr(after, key)
        if labels != others:
            said.append(f"{key}: {_listed(labels) or 'none'} → {_listed(others) or 'none'}")
    return said


def _roi_changes(before: RoiRules, after: RoiRules) -> list[str]:
    said = []
    for key in RoiRules.__struct_fields__:
        old, new = getattr(before, key), getattr(after, key)
        if old == new:
            continue
        if key == "points":
            count = f"{len(new)} points" if len(old) == len(new) else f"{len(old)} → {len(new)} points"
            said.append(f"polygon moved ({count})")
        elif key == "anchors":
            said += [
                f"anchor of {label} {_value(key, old[label])} → {_value(key, new[label])}"
                for label in new
                if label in old and old[label] != new[label]
            ]
        else:
            said.append(f"{_WRITTEN.get(key, key)} {_value(key, old)} → {_value(key, new)}")
    return said


def _value(key: str, value: Any) -> str:
    if key == "active":
        return "always" if value is None else " and ".join(map(_range, value))
    if value is None:
        return "none"
    if key.endswith("_ms"):
        return f"{value / 1000:g}"
    if key == "anchors" and isinstance(value, float):
        return f"overlap {value:g}"
    if key == "reference_size":
        return f"{value[0]} x {value[1]}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _range(active: ActiveRange) -> str:
    days = _listed(_DAYS[day] for day in active.days)
    return f"{days} {_clock(active.start_minute)} to {_clock(active.end_minute)} {active.timezone}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
