"""Many settings tried on the same events in one pass: which combinations, and what each would have alerted. Pure."""

import re
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

from msgspec import Struct, structs
from pydantic import ValidationError

from replay.comparison import Verdicts, compared_verdicts
from replay.diff import compare, last_phases
from replay.spans import Span
from schemas.documents.rois import ForbiddenRoi
from schemas.effective import CameraRules, RoiRules
from schemas.messages import Alert, Mark

MOST_COMBINATIONS: Final = 200
DAY_MS: Final = 86_400_000
_RANGE: Final = re.compile(r"^(?P<first>\d+(?:\.\d+)?)\.\.(?P<last>\d+(?:\.\d+)?)(?:/(?P<step>\d+(?:\.\d+)?))?$")
_VARIABLE: Final = (
    "confirm.hits",
    "confirm.within_seconds",
    "resolve_after_seconds",
    "debounce_window_seconds",
    "min_confidence",
    "anchor",
    "anchor.overlap",
)
"""Keys of a ROI in `rois.yaml` that may be varied."""


class BadVary(ValueError):
    """`--vary` as written makes no sense; says what was expected."""


class Vary(NamedTuple):
    """One setting and the values to try."""

    key: str
    values: tuple[Any, ...]


Combination = tuple[tuple[str, Any], ...]
"""A value for each varied key."""


class Swept(Struct, frozen=True):
    """What one combination would have alerted in the span.

    ``per_day`` counts by the time in the span for which there are events. ``held_back`` are episodes that the debounce
    window suppressed and a later alert told of. ``lost`` are ids of alerts marked true that it would not raise.
    """

    combination: Combination
    alerts: int
    per_day: float
    held_back: int
    median_seconds: float | None
    verdicts: Verdicts
    lost: tuple[str, ...]


def vary(text: str) -> Vary:
    """`confirm.hits=1..5`, `min_confidence=0.2..0.8/0.1`, `debounce_window_seconds=10,30,60`. Raises `BadVary`."""
    key, equals, written = text.partition("=")
    if not equals or key not in _VARIABLE:
        raise BadVary(f"--vary {text}: expected KEY=VALUES with one of the keys {', '.join(_VARIABLE)}")
    values: list[Any] = []
    for part in written.split(","):
        span = _RANGE.match(part.strip())
        values += _between(text, **span.groupdict()) if span else [_value(part.strip())]
    for value in values:
        _check(text, key, value)
    if len(set(values)) < len(values):
        raise BadVary(f"--vary {text}: a value is given twice")
    return Vary(key, tuple(values))


def combinations(varied: Sequence[Vary]) -> list[Combination]:
    """Every combination of the values, the last key fastest. Raises `BadVary` when they are too many."""
    keys = [each.key for each in varied]
    if len(set(keys)) < len(keys):
        raise BadVary("--vary: a key is given twice")
    if {"anchor", "anchor.overlap"} <= set(keys):
        raise BadVary("--vary: anchor and anchor.overlap are two ways to say the same")
    every = [tuple(zip(keys, values, strict=True)) for values in product(*(each.values for each in varied))]
    if len(every) > MOST_COMBINATIONS:
        raise BadVary(f"{len(every)} combinations; at most {MOST_COMBINATIONS} are tried at once")
    return every


def with_combination(rules: CameraRules, combination: Combination, rois: frozenset[str] | None = None) -> CameraRules:
    """The camera's rules with the combination in all of its ROIs, or in those of ``rois``."""
    return structs.replace(
        rules,
        rois=tuple(_roi_with(roi, combination) if rois is None or roi.name in rois else roi for roi in rules.rois),
    )


def swept(
    combination: Combination,
    alerts: Iterable[Alert],
    recorded: Sequence[Alert],
    span: Span,
    covered_ms: int,
    marks: dict[str, Mark],
) -> Swept:
    """Sums up one combination. ``recorded``: the alerts that were sent, which marks speak of."""
    opened = last_phases(alerts, span)
    lengths = sorted(alert.resolved_at - alert.opened_at for alert in opened if alert.resolved_at is not None)
    verdicts, lost = compared_verdicts(compare(last_phases(recorded, span), opened), marks)
    return Swept(
        combination=combination,
        alerts=len(opened),
        per_day=len(opened) / (covered_ms / DAY_MS) if covered_ms else 0.0,
        held_back=sum(alert.suppressed for alert in opened),
        median_seconds=lengths[len(lengths) // 2] / 1000 if lengths else None,
        verdicts=verdicts,
        lost=lost,
    )


def _between(text: str, first: str, last: str, step: str | None) -> list[Any]:
    whole = "." not in first + last + (step or "")
    low, high, by = float(first), float(last), float(step or 1)
    if by <= 0 or high < low:
        raise BadVary(f"--vary {text}: {first}..{last} goes nowhere")
    count = int((high - low) / by + 1e-9) + 1
    if count > MOST_COMBINATIONS:
        raise BadVary(f"--vary {text}: {count} values; at most {MOST_COMBINATIONS}")
    values = [round(low + number * by, 9) for number in range(count)]
    return [int(value) for value in values] if whole else list(values)


def _value(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() and "." not in text else number


def _check(text: str, key: str, value: Any) -> None:
    try:
        ForbiddenRoi.model_validate({"name": "x", "points": [[0, 0], [9, 0], [0, 9]], **_written(key, value)})
    except ValidationError as error:
        raise BadVary(f"--vary {text}: {value}: {error.errors()[0]['msg']}") from None


def _written(key: str, value: Any) -> dict[str, Any]:
    if key == "anchor.overlap":
        return {"anchor": {"overlap": value}}
    section, dot, inner = key.partition(".")
    return {section: {inner: value}} if dot else {section: value}


def _roi_with(roi: RoiRules, combination: Combination) -> RoiRules:
    changes: dict[str, Any] = {}
    for key, value in combination:
        if key == "confirm.hits":
            changes["confirm_hits"] = value
        elif key == "min_confidence":
            changes["min_confidence"] = float(value)
        elif key in ("anchor", "anchor.overlap"):
            changes["anchors"] = dict.fromkeys(roi.anchors, value if key == "anchor" else float(value))
        else:
            name = {"confirm.within_seconds": "confirm_within_ms"}.get(key, key.replace("_seconds", "_ms"))
            changes[name] = round(value * 1000)
    return structs.replace(roi, **changes)
