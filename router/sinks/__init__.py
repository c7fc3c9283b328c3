"""Where alerts go. One file of this folder is one sink; a new sink is one new file.

A sink file says ``SINK = <its class>``. Sinks only deliver and report: retries, age limits, dead letters and cool-down
are not theirs.
"""

import importlib
import pkgutil
from datetime import UTC, datetime
from typing import ClassVar, Protocol, Self

import msgspec

from router.retry import Answer
from schemas.documents.services import AlertingSettings
from schemas.messages import Alert, delivery_id


class Notice(msgspec.Struct, frozen=True):
    """What a sink is given: one alert in one phase, and the record's value as it was read.

    The value may hold more than ``alert`` does when a newer stage wrote it, so receivers get the value.
    """

    alert: Alert
    value: bytes

    @property
    def delivery_id(self) -> str:
        """The same on every retry and after every restart."""
        return delivery_id(self.alert)

    @property
    def kind(self) -> str:
        """`alert.opened` or `alert.resolved`."""
        return f"alert.{self.alert.phase}"

    @property
    def instant(self) -> int:
        """When it happened, milliseconds UTC: the opening, or the resolve."""
        alert = self.alert
        return alert.opened_at if alert.resolved_at is None else alert.resolved_at

    @property
    def line(self) -> bytes:
        """The value on one line, without its end."""
        return msgspec.json.format(self.value, indent=-1) if b"\n" in self.value else self.value


def iso(instant: int) -> str:
    """Milliseconds UTC as ISO 8601, `2026-11-23T00:30:30.123Z`."""
    return datetime.fromtimestamp(instant / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class SinkGone(RuntimeError):
    """The sink cannot deliver again in this process (nobody reads our stdout any more): the stage ends."""


class Sink(Protocol):
    """Delivers one alert at a time to one place, several at once.

    ``deadline_seconds`` bounds a whole attempt. ``max_age_seconds`` None: what it is told is never too old.
    ``actuates``: it moves something in the world (a barrier, a siren), so that telling it of the past again is no mere
    message.
    """

    name: ClassVar[str]
    actuates: ClassVar[bool]
    deadline_seconds: float
    max_age_seconds: float | None

    @classmethod
    def from_settings(cls, settings: AlertingSettings) -> Self:
        """The sink as the settings describe it; raises `BadDocument` with every mistake. Reaches nothing yet."""
        ...

    async def deliver(self, notice: Notice) -> Answer:
        """One attempt. What went wrong outside is an answer, not an exception, and names no URL.

        It may be cancelled at the deadline. Raises `SinkGone` when no later attempt can succeed.
        """
        ...

    async def close(self) -> None:
        """Gives connections back."""
        ...


def known_sinks() -> dict[str, type[Sink]]:
    """Every sink of this folder by its name."""
    found: dict[str, type[Sink]] = {}
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        sink: type[Sink] = importlib.import_module(module.name).SINK
        found[sink.name] = sink
    return found
