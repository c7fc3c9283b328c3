"""Say in one sentence why a broker died, from the end of its log."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

LOG_FILE = "kafka.log"
_MARK = "---- a broker starts here ----"
_READ_BYTES = 256 * 1024
_FULL_MB = 16  # one log segment
_SHOWN_ERRORS, _SHOWN_LINES = 6, 4

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


def mark_start(data: Path) -> None:
    """Begin a new part of the log: what an earlier broker said does not explain the end of the next one."""
    with (data / LOG_FILE).open("a", encoding="utf-8") as opened:
        opened.write(f"{_MARK}\n")


def why_it_died(data: Path, exit_status: int | None = None) -> str:
    """One sentence, then the log's last lines. `exit_status` as of subprocess, where it is known."""
    lines = _since_start(data)
    text = "\n".join(lines)
    # Kafka's chatter is full of exceptions that mean nothing; a JVM that cannot start has no levels.
    wrong = [line for line in lines if "[ERROR]" in line or line.startswith(("Exception in", "Error", "#"))]
    reason = next((said for sign, said in _SIGNS if sign in text), None)
    shown = wrong[-_SHOWN_ERRORS:] + lines[-_SHOWN_LINES:]
    if _free_mb(data) < _FULL_MB:  # the log lies on the same disk, so it cannot say so itself
        reason = _SIGNS[0][1]
    if reason is not None:
        reason = reason.format(data=data, free=_free_mb(data))
    elif wrong and exit_status != -signal.SIGKILL:  # a killed one's log may hold an error of its start, long mended
        reason = "its log says why."
    else:
        by = f"signal {-exit_status}" if exit_status is not None and exit_status < 0 else "kill -9, or no memory left"
        reason = f"it was ended from outside ({by}); its log knows of no error."
        shown = lines[-2:]
    if not lines:
        return f"{reason} It left no log in {data}."
    said_once = dict.fromkeys(f"  {line[:300]}" for line in shown)
    return "\n".join([reason, f"From {data / LOG_FILE}:", *said_once])


def _since_start(data: Path) -> list[str]:
    path = data / LOG_FILE
    try:
        with path.open("rb") as opened:
            opened.seek(max(0, path.stat().st_size - _READ_BYTES))
            text = opened.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.rpartition(_MARK)[2].splitlines() if line.strip()]


def _free_mb(data: Path) -> int:
    try:
        return shutil.disk_usage(data).free // 2**20
    except OSError:
        return _FULL_MB  # nothing is known
