"""Who is told of an alert: alert in, names of sinks out. Pure.

Without a `routes.yaml` there is one route, to the sink that `ALERTING_PROTOCOL` names.
"""

from msgspec import Struct

from schemas.messages import Alert


class Route(Struct, frozen=True):
    """What an alert is matched against. A route without matchers takes every alert to each of its sinks."""

    sinks: tuple[str, ...]


def one_sink(name: str) -> tuple[Route, ...]:
    """The routes of an installation without `routes.yaml`: everything to ``name``."""
    return (Route(sinks=(name,)),)


def sinks_for(_alert: Alert, routes: tuple[Route, ...]) -> tuple[str, ...]:
    """The sinks that are told, in the routes' order; each once, however many routes lead to it."""
    return tuple(dict.fromkeys(sink for route in routes for sink in route.sinks))
