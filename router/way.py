"""What a sink's stage asks of the router around it, and how it says that it cannot go on."""

from typing import Protocol

from router.routing import Leg
from router.sinks import Notice
from schemas.messages import Alert


class Fault(RuntimeError):
    """The stage cannot go on; carries the exit code."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


class Way(Protocol):
    """What the router tells a sink's stage of its configuration, at any moment."""

    def leg(self, sink: str, notice: Notice) -> Leg | None:
        """The way on which the sink is told of the alert, or None."""
        ...

    def site(self, alert: Alert) -> str:
        """The site that the alert is of."""
        ...

    def silenced(self, notice: Notice, now: int) -> bool:
        """Whether a silence holds for the alert."""
        ...

    def repeats(self, sink: str) -> bool:
        """Whether any way to the sink tells open alerts again."""
        ...
