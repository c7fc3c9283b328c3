"""Instants as people write them: `2026-11-16T08:00:00Z`, `-7d`, `now`; and back into words."""

import re
from datetime import UTC, datetime
from typing import Final

_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_AGO: Final = re.compile(r"^-([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw])$")
_EPOCH_MS: Final = re.compile(r"^[0-9]{12,14}$")
_EXPECTED: Final = (
    "is no instant; expected 2026-11-16T08:00:00Z, 2026-11-16, -7d, -90m (s, m, h, d, w before now), "
    "now, or milliseconds since 1970"
)


class BadInstant(ValueError):
    """The text is no instant; says what was expected."""


def instant(text: str, now: int) -> int:
    """Milliseconds UTC of what was written; ``now`` is milliseconds UTC.

    An ISO 8601 date or time (local to this machine where it names no zone), `-90m`, `-7d` (before now), `now`, or
    milliseconds since 1970. Raises `BadInstant`, also for what lies before 1970.
    """
    text = text.strip()
    if text == "now":
        return now
    ago = _AGO.match(text)
    if ago:
        at = now - round(float(ago[1]) * _UNITS[ago[2]])
    elif _EPOCH_MS.match(text):
        at = int(text)
    else:
        try:
            at = round(datetime.fromisoformat(text).timestamp() * 1000)
        except (ValueError, OverflowError):
            raise BadInstant(f"{text!r} {_EXPECTED}") from None
    if at < 0:
        raise BadInstant(f"{text!r} lies before 1970")
    return at


def in_words(at: int) -> str:
    """An instant in UTC, to the millisecond where it has any."""
    written = datetime.fromtimestamp(at / 1000, UTC)
    return written.isoformat(timespec="milliseconds" if at % 1000 else "seconds").replace("+00:00", "Z")
