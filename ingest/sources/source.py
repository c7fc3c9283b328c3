"""What a source owes, and how it says what is wrong."""

import errno
from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol

import av

from runtime.redact import camera_place, redact

FaultReason = Literal["refused", "not_found", "unreachable", "timed_out", "no_video", "no_picture", "ended", "broken"]
"""``refused``: user or password; ``no_video``: something answers, but not with video; ``no_picture``: the watchdog."""


class Picture(NamedTuple):
    """A decoded picture. ``at_ms``: its own timestamp in milliseconds from the source's beginning, if it has one."""

    frame: av.VideoFrame
    at_ms: float | None


class Source(Protocol):
    """A stream of pictures, opened.

    ``endless``: its end is a fault (a camera), not an end (a file). ``codec``: what its pictures come as, in FFmpeg's
    words.
    """

    endless: bool
    codec: str

    def pictures(self) -> Iterator[Picture]:
        """Every picture, in the order they are shown; raises `SourceFault`."""

    def close(self) -> None:
        """Lets go of the connection; any number of times."""


class SourceFault(Exception):
    """A source cannot be opened or read: one of a few reasons, and a sentence for a person without credentials."""

    def __init__(self, reason: FaultReason, message: str) -> None:
        self.reason: FaultReason = reason
        super().__init__(redact(message))


def fault_of(error: Exception, url: str, doing: str = "cannot be opened") -> SourceFault:
    """FFmpeg's or the system's error as a fault with a sentence that says where and what to look at."""
    place = camera_place(url)
    if isinstance(error, av.HTTPUnauthorizedError | av.HTTPForbiddenError):
        return SourceFault("refused", f"{place}: the camera refused the user or password")
    if isinstance(error, av.HTTPNotFoundError):
        return SourceFault("not_found", f"{place}: answers, but has no such stream (404): is the path right?")
    if isinstance(error, av.ConnectionRefusedError):
        return SourceFault("unreachable", f"{place}: connection refused: is it on, and is the port right?")
    if isinstance(error, av.ExitError | av.TimeoutError):
        return SourceFault("timed_out", f"{place}: no answer in time")
    if isinstance(error, FileNotFoundError):
        return SourceFault("not_found", f"{place}: there is no such file")
    if isinstance(error, PermissionError):
        return SourceFault("broken", f"{place}: this user may not read it")
    if isinstance(error, av.InvalidDataError | av.ProtocolNotFoundError | av.DemuxerNotFoundError):
        words = "answers, but not with video that can be read" if "://" in place else "is no video that can be read"
        return SourceFault("no_video", f"{place}: {words}")
    number = getattr(error, "errno", None)
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EIO):
        # FFmpeg says EIO, too, when a name cannot be resolved.
        return SourceFault("unreachable", f"{place}: cannot be reached: are address and network right?")
    words = getattr(error, "strerror", None) or type(error).__name__
    return SourceFault("broken", f"{place}: {doing} ({words})")
