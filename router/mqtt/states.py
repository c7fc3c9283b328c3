"""Which alerts are open in each place, as it is told and as others tell it. Pure: the time comes in as a value.

A state is retained by the broker, so it is also our memory: what a router before us told is read back.
"""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from router.mqtt.topics import Place
from schemas.messages import Alert, Severity

MOST_ENDED: Final = 10_000
_ORDER: Final[tuple[Severity, ...]] = ("info", "warning", "critical")


class OpenAlert(Struct, frozen=True):
    """An alert that is open."""

    alert_id: str
    label: str
    severity: Severity
    opened_at: int


class State(Struct, frozen=True):
    """A place's state on the wire. ``told_at``: milliseconds UTC; ``by``: the router's process that told it."""

    state: Literal["ON", "OFF"]
    labels: tuple[str, ...]
    severity: Severity | None
    alerts: tuple[OpenAlert, ...]
    told_at: int
    by: str


class States:
    """Every place's open alerts. ``by`` names this process."""

    def __init__(self, by: str) -> None:
        self._by = by
        self._open: dict[Place, dict[str, OpenAlert]] = {}
        self._ended: dict[str, None] = {}
        self._heard: set[Place] = set()
        self.told: dict[Place, int] = {}
        """Places whose state is ours, with the instant of the newest."""

    def tell(self, alert: Alert, now: int) -> Place:
        """An alert is told: its place's state changes."""
        place = Place(alert.camera_id, alert.roi)
        there = self._open.setdefault(place, {})
        if alert.phase == "opened":
            if alert.alert_id not in self._ended:  # told again by a person, long after its end
                there[alert.alert_id] = OpenAlert(alert.alert_id, alert.label, alert.severity, alert.opened_at)
        else:
            there.pop(alert.alert_id, None)
            self._ended[alert.alert_id] = None
            if len(self._ended) > MOST_ENDED:
                del self._ended[next(iter(self._ended))]
        self.told[place] = now
        return place

    def hear(self, place: Place, payload: bytes, *, retained: bool) -> bool:
        """A state comes from the broker. Answers whether ours has to be told again.

        One that another router tells now takes the place of ours. One that was retained is from before: the first of a
        place adds what it knows and we do not, a later one counts if it is newer than ours.
        """
        try:
            theirs = msgspec.json.decode(payload, type=State)
        except msgspec.DecodeError:
            return False
        if theirs.by == self._by:
            return False
        found = {each.alert_id: each for each in theirs.alerts if each.alert_id not in self._ended}
        first = place not in self._heard
        self._heard.add(place)
        if retained and first:
            ours = self._open.get(place, {})
            self._open[place] = found | ours
            return place in self.told and not found.keys() <= ours.keys()
        if not retained or theirs.told_at > self.told.get(place, 0):
            self._open[place] = found
            self.told.pop(place, None)
        return False

    def payload(self, place: Place) -> bytes:
        """The state of a place that was told, as it is published."""
        alerts = tuple(sorted(self._open[place].values(), key=lambda each: (each.opened_at, each.alert_id)))
        return msgspec.json.encode(
            State(
                state="ON" if alerts else "OFF",
                labels=tuple(sorted({each.label for each in alerts})),
                severity=max((each.severity for each in alerts), key=_ORDER.index, default=None),
                alerts=alerts,
                told_at=self.told[place],
                by=self._by,
            )
        )
