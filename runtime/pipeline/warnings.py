"""What the stages warn of, picked from their logs, so that a person at the terminal need not open them."""

import json
from pathlib import Path
from typing import Final

LOUD: Final = frozenset({"warning", "error", "critical"})
_FRAMING: Final = frozenset({"stage", "event", "level", "timestamp", "logger"})
LONGEST: Final = 300
"""Letters of a line that are shown; the whole of it is in the log."""


class LogWarnings:
    """Follows one stage's log from its present end on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0
        self._begun = b""

    def new(self) -> list[str]:
        """The warnings since the last look, a readable line each. What is no JSON line of ours is left to the log."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._at)
                fresh = log.read()
        except OSError:
            return []
        self._at += len(fresh)
        *lines, self._begun = (self._begun + fresh).split(b"\n")
        return [text for line in lines if (text := readable_warning(line)) is not None]


def readable_warning(line: bytes) -> str | None:
    """`ingest: camera away camera=gate reason=…` from a JSON log line of a warning or worse, else None."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or entry.get("level") not in LOUD:
        return None
    facts = " ".join(f"{key}={value}" for key, value in entry.items() if key not in _FRAMING and "\n" not in str(value))
    text = f"{entry.get('stage')}: {str(entry.get('event')).replace('_', ' ')} {facts}".rstrip()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
