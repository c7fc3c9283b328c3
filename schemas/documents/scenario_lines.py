"""The lines of a scenario, from words to values: times, what is seen, and what is expected."""

import re
from typing import Any, Final, NamedTuple, cast, get_args

from schemas.messages import Box, Phase, ResolveReason, Severity, Skipped

CONFIDENCE: Final = 0.9
"""Of a detection that does not say."""

SIZE: Final = 0.125
"""Width and height of a box that stands at a point, as fractions of the picture."""

LONGEST_MS: Final = 366 * 86_400_000

_UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TIME: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_ROW: Final = re.compile(r"(?P<first>\S+) to (?P<last>\S+) every (?P<step>\S+)")
_NUMBER: Final = r"-?(?:\d+(?:\.\d*)?|\.\d+)"
_SEEN: Final = re.compile(
    rf"(?P<label>.+?) (?:at (?P<at>{_NUMBER} {_NUMBER})|box (?P<box>{_NUMBER}(?: {_NUMBER}){{3}}))"
    rf"(?: confidence (?P<confidence>{_NUMBER}))?"
)
_FACT: Final = re.compile(
    rf"(?P<reason>{'|'.join(get_args(ResolveReason))})"
    rf"|severity (?P<severity>{'|'.join(get_args(Severity))})"
    r"|hits (?P<hits>\d+)|suppressed (?P<suppressed>\d+)|opened by revision (?P<revision>\d+)"
    r"|first hit (?P<first_hit>\S+)|last hit (?P<last_hit>\S+)"
    rf"|confidence (?P<confidence>{_NUMBER})"
)
FACTS: Final = (
    "quiet, blind, revision, severity WORD, hits N, suppressed N, first hit TIME, last hit TIME, confidence C, "
    "opened by revision N"
)


class BadLine(ValueError):
    """A line that cannot be read; says what was expected."""


class Seen(NamedTuple):
    """One detection."""

    label: str
    confidence: float
    box: Box


class Expected(NamedTuple):
    """What a line asks of an alert phase: ``subject`` is "LABEL in ROI", ``facts`` are by name, only those written."""

    phase: Phase
    subject: str
    facts: dict[str, str]


def time_of(written: Any) -> int:
    """Milliseconds of a time like `0s`, `1.4s`, `200ms`, `2m`, `1h30m`. Raises `BadLine`."""
    text = written.strip() if isinstance(written, str) else ""
    if not _TIME.fullmatch(text):
        raise BadLine(f"{written!r} is no time; expected one like 0s, 1.4s, 200ms, 2m or 1h30m")
    milliseconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if milliseconds > LONGEST_MS:
        raise BadLine(f"{written!r} is longer than a year")
    return round(milliseconds)


def time_in_words(milliseconds: int) -> str:
    """A time as it is written: `1.4s`, `1m30s`, `2h`."""
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    words = (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")
    return words + f"{rest / 1000:g}s" if rest or not words else words


def instants(written: Any, most: int) -> tuple[int, ...]:
    """`1s`, `1s, 1.2s` or `1s to 3s every 200ms` (both ends), in the order written. Raises `BadLine`."""
    if not isinstance(written, str):
        raise BadLine(f"{written!r} is no time; expected one like 0s, 1.4s or 2m")
    found: list[int] = []
    for part in written.split(","):
        row = _ROW.fullmatch(part.strip())
        if row is None:
            if " to " in part:
                raise BadLine(f"{part.strip()!r}: say how often, as in `1s to 3s every 200ms`")
            found.append(time_of(part))
            continue
        first, last, step = time_of(row["first"]), time_of(row["last"]), time_of(row["step"])
        if step == 0 or last < first:
            raise BadLine(f"{part.strip()!r} goes nowhere")
        if (last - first) // step >= most:
            raise BadLine(f"{part.strip()!r} is more than {most} events")
        found += range(first, last + 1, step)
    return tuple(found)


def seen(written: Any) -> tuple[tuple[Seen, ...], Skipped | None]:
    """What an event holds: `nothing`, why it was skipped, one detection, or a list of them. Raises `BadLine`."""
    if written == "nothing":
        return (), None
    if written in get_args(Skipped):
        return (), cast(Skipped, written)
    each = written if isinstance(written, list) and written else [written]
    return tuple(_detection(one) for one in each), None


def _detection(written: Any) -> Seen:
    found = _SEEN.fullmatch(" ".join(written.split())) if isinstance(written, str) else None
    if found is None:
        raise BadLine(
            f"{written!r} is nothing that can be seen; expected `LABEL at X Y` or `LABEL box X1 Y1 X2 Y2` (fractions "
            f"of the picture), either with `confidence C`, a list of them, nothing, {', '.join(get_args(Skipped))}"
        )
    confidence = CONFIDENCE if found["confidence"] is None else float(found["confidence"])
    numbers = tuple(map(float, (found["at"] or found["box"]).split()))
    if not all(0 <= each <= 1 for each in (*numbers, confidence)):
        raise BadLine(f"{written!r}: places are fractions of the picture, 0 to 1, and so is the confidence")
    if found["at"]:
        return Seen(found["label"], confidence, standing_at(*numbers))
    x1, y1, x2, y2 = numbers
    if x1 > x2 or y1 > y2:
        raise BadLine(f"{written!r}: a box is left, top, right, bottom")
    return Seen(found["label"], confidence, (x1, y1, x2, y2))


def standing_at(x: float, y: float) -> Box:
    """A small box within the picture whose bottom centre is exactly this point."""
    right = x + min(SIZE / 2, x, 1 - x)  # rounded once, here: 2 * x - right is exact, and so is their middle
    return 2 * x - right, max(0.0, y - SIZE), right, y


def expected(written: Any) -> Expected:
    """`opened LABEL in ROI` or `resolved LABEL in ROI`, then facts behind commas. Raises `BadLine`."""
    words = written.strip() if isinstance(written, str) else ""
    phase, _, rest = words.partition(" ")
    if phase not in get_args(Phase) or " in " not in rest:
        raise BadLine(
            f"{written!r} is no alert; expected `opened LABEL in ROI` or `resolved LABEL in ROI`, and behind commas "
            f"what else it must say: {FACTS}"
        )
    facts: dict[str, str] = {}
    subject, comma, last = rest.rpartition(",")
    while comma and (fact := _FACT.fullmatch(last.strip())):
        name = cast(str, fact.lastgroup)
        if name in facts or (name == "reason" and phase == "opened"):
            raise BadLine(f"{written!r}: {last.strip()!r} has no place here")
        facts[name] = _canonical(name, fact[name])
        rest = subject
        subject, comma, last = rest.rpartition(",")
    return Expected(cast(Phase, phase), rest.strip(), facts)


def _canonical(name: str, value: str) -> str:
    if name in {"first_hit", "last_hit"}:
        return time_in_words(time_of(value))
    if name == "confidence":
        return f"{float(value):g}"
    return value if name in {"reason", "severity"} else str(int(value))
