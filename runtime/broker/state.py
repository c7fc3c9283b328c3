"""What the data folder remembers of its broker (broker.json), and whether that process still lives."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

STATE_FILE = "broker.json"

# Brokers started by this process: they are our children, so somebody must wait for them or they stay as zombies.
# The keys are (pid, born): a pid alone may be somebody else's by the time it is asked for.
_children: dict[tuple[int, str], subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class BrokerState:
    """One start of a broker. `wanted` is False after a stop that was asked for."""

    pid: int
    born: str  # tells this process from a later one with the same pid
    port: int
    controller_port: int
    started_at: int  # ms UTC
    java: str
    wanted: bool = True


def read_state(data: Path) -> BrokerState | None:
    """What is remembered; None for a folder without a broker (or with a file that is not ours)."""
    try:
        return BrokerState(**json.loads((data / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_state(data: Path, state: BrokerState) -> None:
    """Replace the file in one step: a reader sees the old one or the new one."""
    fresh = data / f"{STATE_FILE}.new"
    fresh.write_text(json.dumps(asdict(state), indent=1) + "\n", encoding="utf-8")
    fresh.replace(data / STATE_FILE)


def adopt(child: subprocess.Popen[bytes]) -> str:
    """Remember a child of ours so that it is waited for; returns its `born`."""
    since = born(child.pid) or ""
    _children[child.pid, since] = child
    return since


def born(pid: int) -> str | None:
    """When the process started, as the system words it; None when there is no such process.

    A zombie does not count, but one whose other threads are still ending does: they hold the ports.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        state, threads, since_boot = fields[0], int(fields[17]), fields[19]
        return None if state == "Z" and threads <= 1 else since_boot
    listed = subprocess.run(["ps", "-o", "lstart=,stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    line = listed.stdout.strip()
    return None if not line or line.rsplit(maxsplit=1)[-1].startswith("Z") else line.rsplit(maxsplit=1)[0]


def is_alive(state: BrokerState) -> bool:
    """Whether the very process of `state` runs."""
    child = _children.get((state.pid, state.born))
    if child is not None:
        return child.poll() is None
    return born(state.pid) == state.born


def exit_status(state: BrokerState) -> int | None:
    """How a child of ours ended (negative: by that signal); None while it runs or when it is not our child."""
    child = _children.get((state.pid, state.born))
    return None if child is None else child.poll()
