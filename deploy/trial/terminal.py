"""A person's terminal in a root filesystem: commands are typed, and what comes back is kept as text."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

COLUMNS: Final = 118
_APT: Final = re.compile(
    r"(Selecting|Preparing|Unpacking|Setting up|Processing|Extracting|Adding|Replacing|Updating|debconf|\(Reading"
    r"|Created symlink|update-alternatives|Running hooks|done\.|invoke-rc|\d+ added|rehash|E: Can't set locale)"
)


class Unexpected(RuntimeError):
    """A command ended otherwise than it should, or did not say what it should in time."""


def typed(argv: Sequence[str], until: str | None = None, within: float = 1800) -> tuple[str, int]:
    """Runs a command in a terminal of its own; with ``until``, presses Ctrl-C once that expression has been printed.

    Answers what was on the screen and the exit code. Raises `Unexpected` after ``within`` seconds.
    """
    process, screen = pty.fork()
    if process == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        os.execvp(argv[0], list(argv))  # noqa: S606 - a terminal needs fork and exec
    said, pressed, deadline = b"", until is None, time.monotonic() + within
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([screen], [], [], left)[0]:
                raise Unexpected(f"nothing more within {within:.0f} s:\n{as_text(said)[-3000:]}")
            try:
                piece = os.read(screen, 65536)
            except OSError:  # how Linux says that nobody holds the other end any more
                break
            if not piece:
                break
            said += piece
            if not pressed and re.search(str(until), said.decode(errors="replace")):
                os.write(screen, b"\x03")
                pressed = True
    except BaseException:
        os.kill(process, signal.SIGKILL)
        raise
    finally:
        os.close(screen)
        status = os.waitpid(process, 0)[1]
    if not pressed:
        raise Unexpected(f"it ended without saying {until}:\n{as_text(said)[-3000:]}")
    return as_text(said), os.waitstatus_to_exitcode(status)


def as_text(said: bytes) -> str:
    """What remains on the screen: without colours, and without lines that were written over."""
    text = said.decode(errors="replace").replace("\r\n", "\n")
    text = re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)", "", text)
    return "\n".join(line.rpartition("\r")[2].rstrip() for line in text.split("\n")).strip("\n")


def shortened(text: str) -> str:
    """The same with apt-get's own lines counted instead of shown."""
    lines: list[str] = []
    hidden = 0
    for line in [*text.splitlines(), ""]:
        if _APT.match(line):
            hidden += 1
            continue
        if hidden:
            lines.append(f"[{hidden} lines of apt-get]")
            hidden = 0
        lines.append(line)
    return "\n".join(lines).rstrip()


def scrubbed(text: str, hosts: Sequence[str]) -> str:
    """The same without the names of the registries and the mirror of the machine that this ran on."""
    for host in hosts:
        text = text.replace(host, "a-mirror")
    return text


def machine_hosts() -> list[str]:
    """The hosts that this machine takes packages from, as far as its settings name them."""
    found: set[str] = set()
    for file in (
        *Path("/etc/apt").glob("sources.list.d/*.sources"),
        Path("/etc/apt/sources.list"),
        Path("/etc/pip.conf"),
    ):
        if file.exists():
            found |= set(re.findall(r"https?://(?:[^/@\s]+@)?([^/\s]+)", file.read_text()))
    return sorted(found, key=len, reverse=True)
