"""What `backsight doctor` says: one line a finding, with what to do."""

from typing import Literal, NamedTuple

from runtime.redact import redact

State = Literal["ok", "note", "warning", "fault"]


class Finding(NamedTuple):
    """``subject``: what was looked at. ``said``: what was found. ``do``: what to do about it, empty where nothing.

    Made by the functions below, which take credentials out.
    """

    subject: str
    state: State
    said: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.state:<8}{self.subject}: {self.said}" + (f" → {self.do}" if self.do else "")


def ok(subject: str, said: str) -> Finding:
    """As it should be."""
    return _made(subject, "ok", said, "")


def note(subject: str, said: str, do: str = "") -> Finding:
    """Neither well nor ill: not looked at, or not needed here."""
    return _made(subject, "note", said, do)


def warning(subject: str, said: str, do: str) -> Finding:
    """It runs, and probably not as it is meant."""
    return _made(subject, "warning", said, do)


def fault(subject: str, said: str, do: str) -> Finding:
    """It will not run like this."""
    return _made(subject, "fault", said, do)


def _made(subject: str, state: State, said: str, do: str) -> Finding:
    # One line, whatever a library's error text holds.
    return Finding(subject, state, " ".join(redact(said).split()), " ".join(redact(do).split()))
