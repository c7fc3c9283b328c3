"""The ROI documents of both sides as a difference of lines. Pure.

Compared is what the engine judged by, in the shape of `rois.yaml` with every default filled in: a default that changed
is a change, the order in which somebody wrote the keys is none.
"""

from collections.abc import Iterator, Sequence
from difflib import unified_diff
from typing import Any, Literal

import yaml
from msgspec import Struct

from replay.comparison import SideFacts
from schemas.documents.rois import DAYS
from schemas.effective import ActiveRange, Anchor, CameraRules, RoiRules, revision_of

Sign = Literal["+", "-", " ", "…"]
CONTEXT_LINES = 4


class Line(Struct, frozen=True):
    """A line of the difference; `…` stands for lines that are left out because they are equal."""

    sign: Sign
    text: str


class DocumentChange(Struct, frozen=True):
    """One camera's documents, the newest of each side. ``lines`` is empty where they mean the same.

    ``before_revision``, ``after_revision``: None where the side has no document of the camera.
    ``held_before``: how many documents held on the side before.
    """

    camera_id: str
    before_revision: str | None
    after_revision: str | None
    held_before: int
    lines: tuple[Line, ...]


def document_changes(before: SideFacts, after: SideFacts, cameras: Sequence[str]) -> tuple[DocumentChange, ...]:
    """One entry per camera, in the order given."""
    return tuple(_change(before, after, camera_id) for camera_id in cameras)


def _change(before: SideFacts, after: SideFacts, camera_id: str) -> DocumentChange:
    ours, theirs = before.document(camera_id), after.document(camera_id)
    return DocumentChange(
        camera_id=camera_id,
        before_revision=None if ours is None else revision_of(ours),
        after_revision=None if theirs is None else revision_of(theirs),
        held_before=sum(each.camera_id == camera_id for each in before.revisions),
        lines=tuple(_lines(_text(ours), _text(theirs))),
    )


def _lines(before: list[str], after: list[str]) -> Iterator[Line]:
    found = unified_diff(before, after, lineterm="", n=CONTEXT_LINES)
    for number, line in enumerate(found):
        if number < 2:  # the names of the files
            continue
        if line.startswith("@@"):
            if line.split()[1].partition(",")[0] not in ("-0", "-1"):
                yield Line("…", "")
        else:
            yield Line("+" if line[0] == "+" else "-" if line[0] == "-" else " ", line[1:])


def _text(rules: CameraRules | None) -> list[str]:
    if rules is None:
        return []
    # Only the innermost lists go on one line, so that each point has a line of its own.
    text: str = yaml.safe_dump(
        filled_in(rules), sort_keys=False, allow_unicode=True, default_flow_style=None, width=1000
    )
    return text.splitlines()


def filled_in(rules: CameraRules) -> dict[str, Any]:
    """The camera's entry of a `rois.yaml` that means these rules, with nothing left to a default."""
    return {
        "camera_id": rules.camera_id,
        "forbidden_rois": [_roi(roi) for roi in rules.rois],
        "allowed_classes": list(rules.allowed_classes),
        "alert_classes": list(rules.alert_classes),
    }


def _roi(roi: RoiRules) -> dict[str, Any]:
    written: dict[str, Any] = {
        "name": roi.name,
        "points": [[_plain(x), _plain(y)] for x, y in roi.points],
        "units": roi.units,
    }
    if roi.reference_size is not None:
        written["reference_size"] = list(roi.reference_size)
    anchors = {label: _anchor(anchor) for label, anchor in roi.anchors.items()}
    if len(set(roi.anchors.values())) == 1:
        written["anchor"] = next(iter(anchors.values()))
    elif anchors:
        written["anchors"] = anchors
    written |= {
        "min_confidence": roi.min_confidence,
        "confirm": {"hits": roi.confirm_hits, "within_seconds": _seconds(roi.confirm_within_ms)},
        "resolve_after_seconds": _seconds(roi.resolve_after_ms),
        "debounce_window_seconds": _seconds(roi.debounce_window_ms),
        "severity": roi.severity,
    }
    if roi.active is not None:
        written["active"] = [_active(each) for each in roi.active]
    return written


def _anchor(anchor: Anchor) -> str | dict[str, float]:
    return anchor if isinstance(anchor, str) else {"overlap": anchor}


def _active(active: ActiveRange) -> dict[str, Any]:
    return {
        "days": [DAYS[day] for day in active.days],
        "from": _clock(active.start_minute),
        "to": _clock(active.end_minute),
        "timezone": active.timezone,
    }


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _seconds(ms: int) -> float:
    return _plain(ms / 1000)


def _plain(number: float) -> float:
    return int(number) if float(number).is_integer() else number
