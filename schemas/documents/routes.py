"""`routes.yaml`: who is told of which alerts, through which sinks, and when."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from schemas.documents.reading import Document
from schemas.documents.rois import Active, TimeZone
from schemas.messages import Severity
from schemas.problems import Problem

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
LABELS = ("kind", "site", "camera", "roi", "label", "severity")
"""What a matcher may ask for. ``kind`` is `alert`, or `system` for alerts about Backsight itself."""
GroupLabel = Literal["kind", "site", "camera", "roi", "label", "severity"]

VALUES: Final = {"kind": ("alert", "system"), "severity": get_args(Severity)}
"""All the values of those labels that have only some."""

MATCHER = re.compile(r"^\s*(?P<label>[a-z_]+)\s*(?P<operator>=~|!~|!=|=)\s*(?P<value>.*?)\s*$", re.DOTALL)


def _written_well(text: str) -> str:
    found = MATCHER.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no matcher; expected LABEL = VALUE with one of = != =~ !~")
    if found["label"] not in LABELS:
        raise ValueError(f"{text!r}: there is no label {found['label']!r}; known: {', '.join(LABELS)}")
    return text


MatcherText = Annotated[str, AfterValidator(_written_well)]


class SinkDocument(Document):
    """What every sink has. Each kind of sink adds its own keys (one file of `router/sinks` each).

    ``max_age_seconds``: an alert older than this is not told any more (`expired`); by default the kind's own, 120 s for
    what moves something, 72 h for the rest.
    """

    name: Name
    kind: Name
    max_age_seconds: float | None = Field(default=None, gt=0)
    timeout_seconds: float = Field(default=15.0, gt=0, le=300, description="for a whole attempt")
    lanes: int = Field(default=16, ge=1, le=256, description="attempts under way at once")


class TimeInterval(Document):
    """A named list of wall-clock ranges, each in a zone of its own."""

    name: Name
    ranges: tuple[Active, ...] = Field(min_length=1)


class Flood(Document):
    """When a route is flooded (ISA-18.2: more than 10 alerts in 10 minutes, until there are fewer than 5).

    While it is, everything but critical alerts is folded into one summary every ``summary_every_seconds``.
    """

    above: int = Field(default=10, ge=1)
    below: int = Field(default=5, ge=0)
    within_seconds: float = Field(default=600.0, gt=0, le=86_400)
    summary_every_seconds: float = Field(default=60.0, gt=0, le=3600)

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.below >= self.above:
            raise ValueError(f"below {self.below} must be less than above {self.above}")
        return self


class RouteDocument(Document):
    """One node of the tree. What is left out is taken from the node above.

    ``match``: all of them must hold, e.g. ``severity = critical``, ``camera =~ gate_.*``; regular expressions are RE2's
    and match the whole value. ``active``: only within one of these time intervals; ``mute``: not within any of these.
    """

    name: Name | None = None
    match: tuple[MatcherText, ...] = ()
    sinks: tuple[Name, ...] | None = None
    continue_: bool = Field(default=False, alias="continue")
    send_resolved: bool | None = Field(default=None, description="at the root: true")
    repeat_every_seconds: float | None = Field(
        default=None, ge=60, le=7 * 86_400, description="an open alert is told again; at the root: never"
    )
    group_by: tuple[GroupLabel, ...] | None = Field(default=None, description="at the root: camera")
    group_wait_seconds: float | None = Field(
        default=None, ge=0, le=3600, description="for company, but critical alerts; at the root: 0"
    )
    active: tuple[Name, ...] | None = None
    mute: tuple[Name, ...] | None = None
    flood: Flood | Literal[False] | None = None
    routes: tuple["RouteDocument", ...] = ()


class Watchdog(Document):
    """When, every day, each sink but actuators is told that the router lives."""

    at: Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "08:00"
    timezone: TimeZone


class SystemAlerts(Document):
    """From when on something about Backsight itself is an alert.

    ``camera_offline_seconds``: without a picture; ``lag_seconds``: for which a record has waited for a stage;
    ``steady_seconds``: how long a thing must be well again before its alert resolves.
    """

    camera_offline_seconds: float = Field(default=30.0, ge=1, le=86_400)
    lag_seconds: float = Field(default=60.0, ge=1, le=86_400)
    dead_letters_per_minute: int = Field(default=10, ge=0)
    steady_seconds: float = Field(default=10.0, ge=0, le=3600)
    watchdog: Watchdog | None = None


class Routes(Document):
    """The whole of `routes.yaml`. ``sinks`` are checked by their kinds (`router.sinks`).

    ``allowed_targets``: hosts and networks that sinks may reach; webhook and alertmanager may have lists of their own.
    ``system``: alerts about Backsight itself; without it there are none.
    """

    allowed_targets: tuple[str, ...] | None = None
    sinks: tuple[dict[str, Any], ...] = ()
    time_intervals: tuple[TimeInterval, ...] = ()
    system: SystemAlerts | None = None
    route: RouteDocument = RouteDocument()

    def problems(self, name: str = "routes.yaml") -> list[Problem]:
        """What the shape alone cannot tell: names given twice or never, routes that nothing can reach."""
        found: list[Problem] = []
        sinks = _names([sink.get("name") for sink in self.sinks], f"{name}: sinks", found)
        intervals = _names([each.name for each in self.time_intervals], f"{name}: time_intervals", found)
        for place, route, above in _walk(self.route, f"{name}: route", ()):
            for sink in route.sinks or ():
                if sink not in sinks:
                    found.append(Problem(f"{place}.sinks", f"there is no sink {sink!r}"))
            for key in ("active", "mute"):
                for interval in getattr(route, key) or ():
                    if interval not in intervals:
                        found.append(Problem(f"{place}.{key}", f"there is no time interval {interval!r}"))
            if not route.routes and not any(each.sinks for each in (*above, route)):
                found.append(Problem(f"{place}.sinks", "is missing here and in every route above: it tells nobody"))
            for number, child in enumerate(route.routes[:-1]):
                if not child.match and not child.continue_:
                    found.append(
                        Problem(f"{place}.routes[{number}]", "matches everything: the routes after it are dead")
                    )
        if self.route.match:
            found.append(Problem(f"{name}: route.match", "the first route takes every alert; match in its `routes`"))
        return found

    def used_sinks(self) -> frozenset[str]:
        """The sinks that some route names."""
        return frozenset(sink for _, route, _ in _walk(self.route, "", ()) for sink in route.sinks or ())


def _names(given: list[Any], place: str, found: list[Problem]) -> set[str]:
    known: set[str] = set()
    for number, name in enumerate(given):
        if not isinstance(name, str) or not name:
            found.append(Problem(f"{place}[{number}].name", "is missing"))
        elif name in known:
            found.append(Problem(f"{place}[{number}].name", f"{name!r} is given twice"))
        else:
            known.add(name)
    return known


def _walk(
    route: RouteDocument, place: str, above: tuple[RouteDocument, ...]
) -> Iterator[tuple[str, RouteDocument, tuple[RouteDocument, ...]]]:
    yield place, route, above
    for number, child in enumerate(route.routes):
        yield from _walk(child, f"{place}.routes[{number}]", (*above, route))
