"""Say in one sentence why a broker died, from the end of its log."""

from __future__ import annotations

import shutil
from pathlib import Path

LOG_FILE = "kafka.log"
_READ_BYTES = 64 * 1024
_SHOWN_LINES = 12

_SIGNS = (
    ("No space left on device", "the disk under {data} is full ({free} MB free). Make room and start it again."),
    ("File too large", "a file in {data} may not grow further (a limit on file size or on the disk)."),
    ("Disk quota exceeded", "the disk quota of {data} is used up."),
    ("Address already in use", "one of its ports was taken by another program."),
    ("Failed to acquire lock on file", "another broker runs on {data}."),
    ("OutOfMemoryError", "its heap of 256 MB was not enough."),
    ("Invalid cluster.id", "the files in {data} are of two different brokers."),
    ("Permission denied", "it may not write in {data}."),
    ("Read-only file system", "{data} is on a read-only file system."),
    ("insufficient memory for the Java Runtime", "the machine has too little free memory for Java."),
)


def tail(data: Path, lines: int = _SHOWN_LINES) -> list[str]:
    """The last lines of the broker's log; none if there is no log."""
    path = data / LOG_FILE
    try:
        with path.open("rb") as opened:
            opened.seek(max(0, path.stat().st_size - _READ_BYTES))
            text = opened.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line[:300] for line in text.splitlines() if line.strip()][-lines:]


def why_it_died(data: Path, exit_status: int | None = None) -> str:
    """One sentence, then the log's last lines. `exit_status` as of subprocess, where it is known."""
    text = "\n".join(tail(data, lines=2000))
    reason = next((said for sign, said in _SIGNS if sign in text), None)
    if reason is not None:
        reason = reason.format(data=data, free=_free_mb(data))
    elif exit_status is not None and exit_status < 0:
        reason = f"it was killed by signal {-exit_status}."
    else:
        reason = "its log says why."
    shown = "\n".join(f"  {line}" for line in tail(data))
    return f"{reason}\nThe end of {data / LOG_FILE}:\n{shown}" if shown else f"{reason} It left no log."


def _free_mb(data: Path) -> int:
    try:
        return shutil.disk_usage(data).free // 2**20
    except OSError:
        return 0
