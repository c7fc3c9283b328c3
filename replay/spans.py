"""Instants and spans of time as people write them: `2026-11-16T08:00:00Z`, `-7d`, `now`."""

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_AGO: Final = re.compile(r"^-(\d+(?:\.\d+)?)([smhdw])$")
_EPOCH_MS: Final = re.compile(r"^\d{12,14}$")


class BadInstant(ValueError):
    """The text is no instant; says what was expected."""


class Span(NamedTuple):
    """From ``begin`` (included) to ``end`` (not), capture time in milliseconds UTC."""

    begin: int
    end: int

    def holds(self, instant: int) -> bool:
        """Whether the instant lies in the span."""
        return self.begin <= instant < self.end


def instant(text: str, now: int) -> int:
    """Milliseconds UTC of what was written; ``now`` is milliseconds UTC.

    An ISO 8601 date or time (local to this machine where it names no zone), `-90m`, `-7d` (before now), `now`, or
    milliseconds since 1970. Raises `BadInstant`.
    """
    text = text.strip()
    if text == "now":
        return now
    ago = _AGO.match(text)
    if ago:
        return now - round(float(ago[1]) * _UNITS[ago[2]])
    if _EPOCH_MS.match(text):
        return int(text)
    try:
        written = datetime.fromisoformat(text)
    except ValueError:
        raise BadInstant(
            f"{text!r} is no instant; expected 2026-11-16T08:00:00Z, 2026-11-16, -7d, -90m (s, m, h, d, w before now), "
            "now, or milliseconds since 1970"
        ) from None
    return round(written.timestamp() * 1000)


def span_of(begin: str, end: str, now: int) -> Span:
    """The span between two written instants. Raises `BadInstant`, also where it is empty."""
    span = Span(instant(begin, now), instant(end, now))
    if span.begin >= span.end:
        raise BadInstant(f"the span from {in_words(span.begin)} to {in_words(span.end)} is empty")
    return span


def in_words(at: int) -> str:
    """An instant in UTC, to the millisecond where it has any."""
    written = datetime.fromtimestamp(at / 1000, UTC)
    return written.isoformat(timespec="milliseconds" if at % 1000 else "seconds").replace("+00:00", "Z")
