"""Who is told of an alert: its labels in, legs out. Pure.

The tree is Alertmanager's (https://prometheus.io/docs/alerting/latest/configuration/#route): depth first, the first
child that matches wins unless it says ``continue``; a node's own sinks are told where no child matches; what a node
leaves out it takes from the one above.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final

from msgspec import Struct, structs

from router.matchers import BadMatcher, Matcher, matcher
from schemas.documents.rois import active_range
from schemas.documents.routes import Flood, RouteDocument, Routes
from schemas.effective import ActiveRange
from schemas.messages import Alert, Severity
from schemas.problems import Problem

Labels = Mapping[str, str]


class Terms(Struct, frozen=True):
    """How a sink is told by a route. Times are milliseconds; None: never.

    ``group_wait_ms`` is for what is not critical: critical alerts never wait for company. ``active``: only within one
    of these ranges (None: always); ``mute``: not within any of these.
    """

    send_resolved: bool = True
    repeat_every_ms: int | None = None
    group_by: tuple[str, ...] = ("camera",)
    group_wait_ms: int = 0
    active: tuple[ActiveRange, ...] | None = None
    mute: tuple[ActiveRange, ...] = ()
    flood: Flood | None = None


class Leg(Struct, frozen=True):
    """One way that an alert takes: to a sink, by a route (its path in the tree), on its terms."""

    sink: str
    route: str
    terms: Terms


class Node(Struct, frozen=True):
    """One route with everything that it inherits filled in."""

    path: str
    matchers: tuple[Matcher, ...]
    sinks: tuple[str, ...]
    goes_on: bool
    terms: Terms
    children: tuple["Node", ...] = ()
    needs: tuple[Matcher, ...] = ()
    """Its matchers and those of every route above it."""


SYSTEM: Final = "system/"
"""Begins the ``roi`` of every alert about Backsight itself; a ROI that people draw has no slash in its name."""


def is_system(alert: Alert) -> bool:
    """Whether the alert is about Backsight itself."""
    return alert.roi.startswith(SYSTEM)


def labels_of(alert: Alert, site: str = "") -> dict[str, str]:
    """What matchers are held against."""
    return {
        "kind": "system" if is_system(alert) else "alert",
        "site": site,
        "camera": alert.camera_id,
        "roi": alert.roi,
        "label": alert.label,
        "severity": alert.severity,
    }


def one_sink(name: str) -> Node:
    """The tree of an installation without `routes.yaml`: everything to ``name``."""
    return Node("route", (), (name,), False, Terms())


def legs(tree: Node, labels: Labels) -> tuple[Leg, ...]:
    """The ways that an alert with these labels takes; each sink once, by the first route that leads to it."""
    found: dict[str, Leg] = {}
    for node in _reached(tree, labels):
        for sink in node.sinks:
            found.setdefault(sink, Leg(sink, node.path, node.terms))
    return tuple(found.values())


def nodes(tree: Node) -> Iterator[Node]:
    """Every route, the root first."""
    yield tree
    for child in tree.children:
        yield from nodes(child)


def waits(leg: Leg, severity: Severity) -> int:
    """How long an alert waits for company, in milliseconds."""
    return 0 if severity == "critical" else leg.terms.group_wait_ms


def compile_routes(document: Routes, name: str = "routes.yaml") -> tuple[Node, list[Problem]]:
    """The tree made ready, every matcher that does not read, and every route that no alert can take.

    ``document`` has passed `Routes.problems`.
    """
    intervals = {each.name: tuple(map(active_range, each.ranges)) for each in document.time_intervals}
    problems: list[Problem] = []
    return _node(document.route, "route", None, intervals, f"{name}: route", problems), problems


def _reached(node: Node, labels: Labels) -> list[Node]:
    reached: list[Node] = []
    for child in node.children:
        if all(each.holds(labels) for each in child.matchers):
            reached += _reached(child, labels)
            if not child.goes_on:
                break
    return reached or [node]


def _node(
    document: RouteDocument,
    path: str,
    above: Node | None,
    intervals: Mapping[str, tuple[ActiveRange, ...]],
    place: str,
    problems: list[Problem],
) -> Node:
    matchers = []
    for number, text in enumerate(document.match):
        try:
            matchers.append(matcher(text))
        except BadMatcher as bad:
            problems.append(Problem(f"{place}.match[{number}]", str(bad)))
    inherited = Terms() if above is None else above.terms
    sinks = document.sinks if document.sinks is not None else (() if above is None else above.sinks)
    node = Node(path, tuple(matchers), sinks, document.continue_, _terms(document, inherited, intervals))
    above_it = () if above is None else above.needs
    against = next((pair for pair in product(matchers, (*above_it, *matchers)) if _never_both(*pair)), None)
    if against is not None:
        problems.append(Problem(place, f"is dead: {against[1]} and {against[0]} never hold together"))
    node = structs.replace(node, needs=(*above_it, *matchers))
    children = tuple(
        _node(child, f"{path}/{child.name or number}", node, intervals, f"{place}.routes[{number}]", problems)
        for number, child in enumerate(document.routes)
    )
    for number, child in enumerate(children):
        taker = next((each for each in range(number) if _takes_all_of(children[each], child)), None)
        if taker is not None:
            problems.append(Problem(f"{place}.routes[{number}]", f"is dead: routes[{taker}] takes all that it matches"))
    return structs.replace(node, children=children)


def _takes_all_of(earlier: Node, later: Node) -> bool:
    """Whether nothing is left for the later of two siblings: it asks for all that the earlier asks for, and more."""
    asked = {str(each) for each in earlier.matchers}
    # One that asks for nothing is told of by `Routes.problems`, once for all that come after it.
    return bool(asked) and not earlier.goes_on and asked <= {str(each) for each in later.matchers}


def _never_both(one: Matcher, other: Matcher) -> bool:
    return one.label == other.label and other.operator == "=" and not one.test(other.value)


def _terms(document: RouteDocument, above: Terms, intervals: Mapping[str, tuple[ActiveRange, ...]]) -> Terms:
    changes: dict[str, object] = {}
    if document.send_resolved is not None:
        changes["send_resolved"] = document.send_resolved
    if document.repeat_every_seconds is not None:
        changes["repeat_every_ms"] = round(document.repeat_every_seconds * 1000)
    if document.group_by is not None:
        changes["group_by"] = document.group_by
    if document.group_wait_seconds is not None:
        changes["group_wait_ms"] = round(document.group_wait_seconds * 1000)
    if document.active is not None:
        changes["active"] = _ranges(document.active, intervals) or None
    if document.mute is not None:
        changes["mute"] = _ranges(document.mute, intervals)
    if document.flood is not None:
        changes["flood"] = document.flood or None
    return structs.replace(above, **changes)


def _ranges(names: Sequence[str], intervals: Mapping[str, tuple[ActiveRange, ...]]) -> tuple[ActiveRange, ...]:
    return tuple(one for name in names for one in intervals.get(name, ()))
