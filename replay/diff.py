"""Two judgements of the same history held against one another. Pure.

Alerts are paired per subject (camera, ROI, label): first those that opened at the same instant, then, in the order of
time, those whose episodes overlap. What finds no partner was added or removed.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct, structs

from replay.spans import Span
from schemas.messages import Alert

Kind = Literal["added", "removed", "changed", "same"]
KINDS: tuple[Kind, ...] = ("added", "removed", "changed", "same")
SIGNS: Final[dict[Kind, str]] = {"added": "+", "removed": "−", "changed": "~", "same": "="}
SubjectKey = tuple[str, str, str]


class Difference(Struct, frozen=True):
    """One alert on both sides, or on one. The alerts are in their last phase known.

    ``changed``: it opened or resolved at another time, or with another severity. ``identical``: everything that judging
    decides is equal (all but the ids and the names of revision and model).
    """

    kind: Kind
    camera_id: str
    roi: str
    label: str
    before: Alert | None
    after: Alert | None
    identical: bool = False

    @property
    def at(self) -> int:
        """When the alert opened, on the earlier side."""
        return min(alert.opened_at for alert in (self.before, self.after) if alert is not None)


def last_phases(alerts: Iterable[Alert], span: Span) -> list[Alert]:
    """One entry per alert that opened within the span: its resolved phase where there is one. In order of opening.

    Doubles (the same alert and phase sent twice) count once.
    """
    found: dict[str, Alert] = {}
    for alert in alerts:
        if span.holds(alert.opened_at) and (alert.alert_id not in found or alert.seq > found[alert.alert_id].seq):
            found[alert.alert_id] = alert
    return sorted(found.values(), key=lambda alert: (alert.opened_at, alert.camera_id, alert.roi, alert.label))


def compare(before: Sequence[Alert], after: Sequence[Alert]) -> tuple[Difference, ...]:
    """Every alert of both sides once, in the order of time. Both are lists as `last_phases` gives them."""
    sides: defaultdict[SubjectKey, tuple[list[Alert], list[Alert]]] = defaultdict(lambda: ([], []))
    for side, alerts in enumerate((before, after)):
        for alert in alerts:
            sides[alert.camera_id, alert.roi, alert.label][side].append(alert)
    found = [difference for key, (ours, theirs) in sides.items() for difference in _subject(key, ours, theirs)]
    return tuple(sorted(found, key=lambda each: (each.at, each.camera_id, each.roi, each.label)))


def _subject(key: SubjectKey, before: list[Alert], after: list[Alert]) -> Iterable[Difference]:
    opened: defaultdict[int, list[Alert]] = defaultdict(list)
    for alert in after:
        opened[alert.opened_at].append(alert)
    pairs: list[tuple[Alert, Alert]] = []
    unpaired: list[Alert] = []
    for alert in before:
        at_once = opened[alert.opened_at]
        if at_once:
            pairs.append((alert, at_once.pop(0)))
        else:
            unpaired.append(alert)
    rest = [alert for at_once in opened.values() for alert in at_once]
    alone: list[Alert] = []
    for alert in unpaired:
        partner = next((other for other in rest if _overlap(alert, other)), None)
        if partner is None:
            alone.append(alert)
        else:
            rest.remove(partner)
            pairs.append((alert, partner))
    for ours, theirs in pairs:
        kind: Kind = "same" if _times(ours) == _times(theirs) else "changed"
        yield Difference(kind, *key, ours, theirs, identical=_decided(ours) == _decided(theirs))
    for alert in alone:
        yield Difference("removed", *key, alert, None)
    for alert in rest:
        yield Difference("added", *key, None, alert)


def _overlap(one: Alert, other: Alert) -> bool:
    return _begins_before(one, other) and _begins_before(other, one)


def _begins_before(one: Alert, other: Alert) -> bool:
    """Whether ``one`` had begun when ``other`` was over."""
    return other.resolved_at is None or one.first_hit_at <= other.resolved_at


def _times(alert: Alert) -> tuple[object, ...]:
    return alert.opened_at, alert.resolved_at, alert.severity


def _decided(alert: Alert) -> Alert:
    model = structs.replace(alert.model, name="", version="", sha256="")
    return structs.replace(alert, alert_id="", roi_revision="", model=model)


def changes(difference: Difference) -> tuple[str, ...]:
    """What changed, in words; empty unless the kind is `changed`."""
    before, after = difference.before, difference.after
    if before is None or after is None or difference.kind != "changed":
        return ()
    said = []
    if before.opened_at != after.opened_at:
        said.append(f"opened {_moved(after.opened_at - before.opened_at)}")
    if before.resolved_at is None or after.resolved_at is None:
        if before.resolved_at != after.resolved_at:
            said.append("not resolved any more" if after.resolved_at is None else "now resolved")
    elif before.resolved_at != after.resolved_at:
        said.append(f"resolved {_moved(after.resolved_at - before.resolved_at)}")
    if before.severity != after.severity:
        said.append(f"severity {before.severity} → {after.severity}")
    return tuple(said)


def _moved(by_ms: int) -> str:
    return f"{abs(by_ms) / 1000:g} s {'later' if by_ms > 0 else 'earlier'}"
