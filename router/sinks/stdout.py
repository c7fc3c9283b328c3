"""The sink `stdout`: a readable line per alert on a terminal, the exact alert as a JSON line everywhere else.

A link to its picture comes last, where the settings say under which address.

Every alert is written and flushed by itself, so a reader of the pipe sees it at once.
"""

import os
import sys
from datetime import datetime
from typing import BinaryIO, ClassVar, Final, Literal, Self

from router.retry import ACCEPTED, Answer
from router.sinks import Notice, SinkGone
from schemas.documents.routes import SinkDocument
from schemas.messages import Alert

_COLOURS: Final = {"critical": "\x1b[1;31m", "warning": "\x1b[33m", "info": "\x1b[36m"}
_PLAIN: Final = "\x1b[0m"


class StdoutDocument(SinkDocument):
    """`stdout` needs nothing but its name."""

    kind: Literal["stdout"]


class Stdout:
    """Writes to ``out``, the process's stdout by default. A line is never too old to be printed."""

    kind: ClassVar[str] = "stdout"
    actuates: ClassVar[bool] = False
    document = StdoutDocument

    def __init__(self, out: BinaryIO | None = None, *, readable: bool | None = None, colour: bool = False) -> None:
        self._out = sys.stdout.buffer if out is None else out
        self._readable = self._out.isatty() if readable is None else readable
        self._colour = colour
        self.name = "stdout"
        self.deadline_seconds = 15.0
        self.max_age_seconds: float | None = None
        self.lanes = 1

    @classmethod
    def from_document(cls, document: StdoutDocument) -> Self:
        """The process's stdout; colours on a terminal unless NO_COLOR is set."""
        sink = cls(colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
        sink.name, sink.max_age_seconds = document.name, document.max_age_seconds
        return sink

    async def deliver(self, notice: Notice) -> Answer:
        """Writes one line. A reader that went away ends the stage: what was not read is not delivered."""
        lines = [
            readable_line(member.alert, colour=self._colour, link=member.evidence_url).encode()
            if self._readable
            else member.linked_line
            for member in notice.members
        ]
        try:
            self._out.write(b"".join(line + b"\n" for line in lines))
            self._out.flush()
        except (BrokenPipeError, ValueError):  # ValueError: the file is closed
            raise SinkGone("nobody reads our stdout any more") from None
        except OSError as error:
            return Answer("later", "broken", error.strerror or "cannot be written")
        return ACCEPTED

    async def close(self) -> None:
        """Leaves the process's stdout open."""


def readable_line(alert: Alert, *, colour: bool = False, link: str | None = None) -> str:
    """One line for a person, local time. Control characters in names are shown as `?`: a terminal obeys them."""
    instant = alert.opened_at if alert.resolved_at is None else alert.resolved_at
    when = datetime.fromtimestamp(instant / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    severity = alert.severity.upper()
    shown = f"{_COLOURS[alert.severity]}{severity}{_PLAIN}" if colour else severity
    where = f"{alert.camera_id} · {alert.roi}"
    if alert.phase == "opened":
        what = f"{alert.label} {alert.evidence.confidence:.0%}, {alert.hits} hits"
        if alert.suppressed:
            what += f", {alert.suppressed} held back before"
    else:
        lasted = (instant - alert.opened_at) / 1000
        what = f"{alert.label}, after {lasted:.1f} s ({alert.reason})"
    text = f"{where}: {what}" + (f"  {link}" if link else "")
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    return f"{when}  {shown}{' ' * (8 - len(severity))}  {alert.phase:<8}  {clean}"


SINK = Stdout
