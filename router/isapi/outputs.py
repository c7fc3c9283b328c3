"""What must be on until when. Pure: instants (milliseconds) and what the device was told come in as values.

A trigger sets a level, not a pulse: what nobody turns off stays on. So a level is on while one of its alerts is open,
at least ``min_on_ms``, never longer than ``max_on_ms`` from its rise; alerts that come meanwhile prolong it without
another rise.
"""

from msgspec import Struct, structs


class Limits(Struct, frozen=True):
    """How long a level is on at least and at most."""

    min_on_ms: int
    max_on_ms: int


class Level(Struct, frozen=True):
    """One thing that can be on. ``told``: what the device has taken last, None while that is not known.

    ``rose_at`` is None while nobody asked for it since it was off.
    """

    alerts: frozenset[str] = frozenset()
    told: bool | None = None
    rose_at: int | None = None

    @property
    def inherited(self) -> bool:
        """Whether another process may have left it on: it was neither asked for nor turned off since we began."""
        return self.told is None and self.rose_at is None


def opened(level: Level, alert_id: str, now: int) -> Level:
    """An alert opens, or is told again."""
    goes_on = level.rose_at is not None and (level.told is True or (level.told is None and bool(level.alerts)))
    return structs.replace(level, alerts=level.alerts | {alert_id}, rose_at=level.rose_at if goes_on else now)


def ended(level: Level, alert_id: str) -> Level:
    """An alert resolves, or could not be told."""
    return structs.replace(level, alerts=level.alerts - {alert_id})


def believed(level: Level, told: bool | None) -> Level:
    """What the device is taken to have taken, where it has not said so: None while it is being asked."""
    return structs.replace(level, told=told)


def taken(level: Level, on: bool) -> Level:
    """The device has taken a level. What was turned off holds no alert any more."""
    return structs.replace(level, told=True) if on else Level(told=False)


def must_be_on(level: Level, limits: Limits, now: int) -> bool:
    """Whether it must be on at ``now``."""
    end = off_at(level, limits)
    return end is not None and now < end


def off_at(level: Level, limits: Limits) -> int | None:
    """When it must be off; None where nobody asked for it."""
    if level.rose_at is None or (not level.alerts and level.told is False):
        return None
    return level.rose_at + (limits.max_on_ms if level.alerts else limits.min_on_ms)
