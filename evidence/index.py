"""The list of alerts, in memory: made from the topics, so it can be thrown away. Pure."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from schemas.messages import Alert, Delivery, Mark, Severity

MOST: Final = 100_000
"""Alerts held, about 150 MB; beyond it the oldest go."""

Key = tuple[int, str]
"""``opened_at`` and the alert's id: the order of the list."""


class Entry(msgspec.Struct, frozen=True):
    """One alert in its newest phase, how its deliveries ended, and what somebody said of it."""

    alert: Alert
    deliveries: tuple[Delivery, ...] = ()
    mark: Mark | None = None

    @property
    def key(self) -> Key:
        """Its place in the list."""
        return self.alert.opened_at, self.alert.alert_id


class Asked(NamedTuple):
    """Which alerts are wanted; None: any. ``since`` and ``until``: of the opening, milliseconds UTC, both included."""

    camera: str | None = None
    roi: str | None = None
    label: str | None = None
    severity: Severity | None = None
    open: bool | None = None
    since: int | None = None
    until: int | None = None
    cameras: frozenset[str] | None = None
    """Of these alone, whatever else is wanted."""

    def wants(self, alert: Alert) -> bool:
        """Whether the alert is one of them; times are looked at by `AlertIndex.page`."""
        return (
            self.camera in (None, alert.camera_id)
            and (self.cameras is None or alert.camera_id in self.cameras)
            and self.roi in (None, alert.roi)
            and self.label in (None, alert.label)
            and self.severity in (None, alert.severity)
            and self.open in (None, alert.phase == "opened")
        )


class Page(NamedTuple):
    """Some alerts, the newest first. ``next``: the key below which the next page begins, None where there is none."""

    entries: list[Entry]
    next: Key | None


class AlertIndex:
    """Alerts by the time of their opening. Give it alerts, then the deliveries and marks that belong to them.

    Not for several threads at once.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._entries: dict[str, Entry] = {}
        self._keys: list[Key] = []

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, alert_id: str) -> Entry | None:
        """The alert, or None where it is not known."""
        return self._entries.get(alert_id)

    def take(self, alert: Alert) -> None:
        """An alert in one of its phases; a phase that was taken before, or a later one, stays."""
        known = self._entries.get(alert.alert_id)
        if known is None:
            self._entries[alert.alert_id] = Entry(alert)
            insort(self._keys, (alert.opened_at, alert.alert_id))
            if len(self._keys) > self._most:
                self._forget(len(self._keys) - self._most)
        elif alert.seq > known.alert.seq:
            self._entries[alert.alert_id] = msgspec.structs.replace(known, alert=alert)

    def take_delivery(self, delivery: Delivery) -> None:
        """How a delivery ended; one of an alert that is not known is let go."""
        known = self._entries.get(alert_of(delivery.delivery_id))
        if known is not None:
            name = (delivery.sink, delivery.delivery_id)
            others = tuple(each for each in known.deliveries if (each.sink, each.delivery_id) != name)
            self._entries[known.alert.alert_id] = msgspec.structs.replace(known, deliveries=(*others, delivery))

    def take_mark(self, mark: Mark) -> None:
        """What somebody says of an alert; of one that is not known it is let go."""
        known = self._entries.get(mark.alert_id)
        if known is not None:
            self._entries[mark.alert_id] = msgspec.structs.replace(known, mark=mark)

    def forget(self, before: int) -> None:
        """Lets alerts go that opened before the instant."""
        self._forget(bisect_left(self._keys, (before, "")))

    def page(self, asked: Asked, limit: int, below: Key | None = None) -> Page:
        """At most ``limit`` of the wanted alerts, the newest first, below a key where one is given."""
        found: list[Entry] = []
        for entry in self._below(asked, below):
            if not asked.wants(entry.alert):
                continue
            if len(found) == limit:
                return Page(found, found[-1].key)
            found.append(entry)
        return Page(found, None)

    def _below(self, asked: Asked, below: Key | None) -> Iterator[Entry]:
        end = len(self._keys) if asked.until is None else bisect_left(self._keys, (asked.until + 1, ""))
        if below is not None:
            end = min(end, bisect_left(self._keys, below))
        begin = 0 if asked.since is None else bisect_left(self._keys, (asked.since, ""))
        return (self._entries[self._keys[place][1]] for place in range(end - 1, begin - 1, -1))

    def _forget(self, count: int) -> None:
        for _, alert_id in self._keys[:count]:
            del self._entries[alert_id]
        del self._keys[:count]


def alert_of(delivery_id: str) -> str:
    """The id of the alert whose phase a delivery told: `ID_0`, `ID_1`, `ID_0_r2`."""
    return delivery_id.partition("_")[0]
