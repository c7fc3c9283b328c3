"""Who is told of an alert: the tree of routes, its matchers, and what a routes document must not say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.matchers import BadMatcher, matcher
from router.routing import Node, compile_routes, labels_of, legs, one_sink, waits
from schemas.documents.reading import read_document
from schemas.documents.routes import Routes
from schemas.problems import BadDocument
from tests.support.alerts import opened

SINKS = [{"name": name, "kind": "stdout"} for name in ("desk", "nvr", "mail", "chat")]


def tree(route: dict[str, Any], **more: Any) -> Node:
    document = read_document(Routes, {"sinks": SINKS, "route": route, **more}, "routes.yaml")
    assert document.problems() == []
    compiled, problems = compile_routes(document)
    assert problems == []
    return compiled


def told(node: Node, **labels: str) -> list[str]:
    return [leg.sink for leg in legs(node, {"kind": "alert", "site": "", **labels})]


def test_without_a_routes_document_everything_goes_to_the_one_sink() -> None:
    assert told(one_sink("webhook"), **labels_of(opened())) == ["webhook"]


def test_the_first_child_that_matches_wins_unless_it_continues() -> None:
    node = tree(
        {
            "sinks": ["desk"],
            "routes": [
                {"match": ["severity = critical"], "sinks": ["nvr"], "continue": True},
                {"match": ["camera =~ gate_.*"], "sinks": ["chat"]},
                {"match": ["label = worker"], "sinks": ["mail"]},
            ],
        }
    )
    assert told(node, severity="critical", camera="gate_1", label="worker") == ["nvr", "chat"]
    assert told(node, severity="info", camera="gate_1", label="worker") == ["chat"]
    assert told(node, severity="info", camera="yard", label="worker") == ["mail"]
    assert told(node, severity="info", camera="yard", label="object") == ["desk"]


def test_a_sink_is_told_once_by_the_first_route_that_leads_to_it() -> None:
    node = tree(
        {
            "sinks": ["desk"],
            "routes": [
                {"name": "night", "sinks": ["desk", "mail"], "continue": True, "match": ["severity != info"]},
                {"name": "rest", "sinks": ["mail", "chat"]},
            ],
        }
    )
    found = legs(node, {"severity": "critical"})
    assert [(leg.sink, leg.route) for leg in found] == [
        ("desk", "route/night"), ("mail", "route/night"), ("chat", "route/rest"),
    ]  # fmt: skip


def test_what_a_route_leaves_out_it_takes_from_the_one_above() -> None:
    shift = {"name": "shift", "ranges": [{"from": "06:00", "to": "14:00", "timezone": "Europe/Madrid"}]}
    node = tree(
        {
            "sinks": ["desk"],
            "group_wait_seconds": 10,
            "flood": {"above": 20},
            "routes": [
                {"match": ["roi = a"], "send_resolved": False, "routes": [{"match": ["label = x"], "sinks": ["nvr"]}]},
                {"match": ["roi = b"], "flood": False, "active": ["shift"], "repeat_every_seconds": 600},
            ],
        },
        time_intervals=[shift],
    )
    (deep,) = legs(node, {"roi": "a", "label": "x"})
    assert (deep.sink, deep.terms.send_resolved, deep.terms.group_wait_ms) == ("nvr", False, 10_000)
    assert deep.terms.flood is not None
    assert deep.terms.flood.above == 20
    assert (waits(deep, "warning"), waits(deep, "critical")) == (10_000, 0)
    (other,) = legs(node, {"roi": "b"})
    assert (other.sink, other.terms.send_resolved, other.terms.flood) == ("desk", True, None)
    assert other.terms.repeat_every_ms == 600_000
    assert other.terms.active is not None
    assert other.terms.active[0].timezone == "Europe/Madrid"


LABELS = {"camera": st.sampled_from(["gate", "yard"]), "roi": st.sampled_from(["a", "b"])}
_matches = st.lists(
    st.sampled_from(["camera = gate", "camera != gate", "roi =~ a|c", "roi !~ a", "site = "]), max_size=2
)


def _routes(depth: int) -> st.SearchStrategy[dict[str, Any]]:
    children = st.lists(_routes(depth - 1), max_size=3) if depth else st.just([])
    return st.fixed_dictionaries(
        {"match": _matches, "continue": st.booleans(), "routes": children},
        optional={"sinks": st.lists(st.sampled_from(["desk", "nvr", "mail", "chat"]), max_size=2, unique=True)},
    )


def plainly(route: dict[str, Any], sinks: list[str], labels: dict[str, str]) -> list[str] | None:
    """The same once more, from Alertmanager's words; None: it does not match."""
    operators = {"=": lambda a, b: a == b, "!=": lambda a, b: a != b}
    operators |= {"=~": lambda a, b: bool(re.fullmatch(b, a)), "!~": lambda a, b: not re.fullmatch(b, a)}
    for text in route["match"]:
        label, operator, value = (*text.split(" ", 2), "")[:3]
        if not operators[operator](labels.get(label, ""), value):
            return None
    sinks = route.get("sinks", sinks)
    below: list[list[str]] = []
    for child in route["routes"]:
        found = plainly(child, sinks, labels)
        if found is not None:
            below.append(found)
            if not child["continue"]:
                break
    return [sink for found in below for sink in found] if below else list(sinks)


def _path(place: str) -> str:
    """`routes.yaml: route.routes[0].routes[1]` as `route/0/1`."""
    return "/".join(["route", *re.findall(r"\[(\d+)\]", place)])


@given(st.lists(_routes(2), max_size=4), st.fixed_dictionaries(LABELS))
def test_the_tree_tells_whom_alertmanagers_words_say(routes: list[dict[str, Any]], labels: dict[str, str]) -> None:
    root = {"sinks": ["desk"], "routes": routes}
    compiled, problems = compile_routes(read_document(Routes, {"sinks": SINKS, "route": root}, "routes.yaml"))
    assert all("is dead" in problem.message for problem in problems), "routes made by chance may be dead"
    taken = {leg.route for leg in legs(compiled, labels)}
    assert not taken & {_path(problem.place) for problem in problems}, "what is called dead is never taken"
    expected = plainly({"match": [], "continue": False, **root}, [], labels)
    assert [leg.sink for leg in legs(compiled, labels)] == list(dict.fromkeys(expected or []))


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("camera = gate", "gate", True),
        ('camera="gate one"', "gate one", True),
        ("camera != gate", "gate", False),
        ("camera =~ ga", "gate", False),
        ("camera =~ ga.*", "gate", True),
        ("camera =~ ''", "", True),
        ("camera !~ (?i)GATE", "gate", False),
        ("camera = a=b", "a=b", True),
        ("camera =~ .", "\n", False),
    ],
)
def test_a_matcher_is_held_against_the_whole_value(text: str, value: str, holds: bool) -> None:
    assert matcher(text).holds({"camera": value}) is holds


@pytest.mark.parametrize(
    "text",
    [
        "camera",
        "camera =~ (",
        "camera =~ (?=a)",
        "camera =~ " + "a" * 1001,
        "= x",
        "camera == x",
        "camera = ~x",
        "severity = kritical",
        "severity != kritical",
        "severity =~ crit",
        "kind = rule",
    ],
)
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(BadMatcher):
        matcher(text)


def test_a_matcher_that_could_be_meant_otherwise_says_how() -> None:
    with pytest.raises(BadMatcher, match=r"'camera == x': == is no operator; expected one of = != =~ !~ \(quotes"):
        matcher("camera == x")
    assert matcher("camera = '=x'").holds({"camera": "=x"})
    with pytest.raises(BadMatcher, match="severity is never that; expected one of info, warning, critical"):
        matcher("severity = high")
    assert matcher("severity !~ warn.*|info").holds({"severity": "critical"})


def test_a_hostile_regular_expression_takes_linear_time() -> None:
    assert not matcher("camera =~ (a+)+b").holds({"camera": "a" * 50_000})


@pytest.mark.parametrize(
    ("route", "place", "said"),
    [
        ({"sinks": ["nobody"]}, "route.sinks", "there is no sink 'nobody'"),
        ({"routes": [{"match": ["roi = a"]}]}, "route.routes[0].sinks", "tells nobody"),
        ({"sinks": ["desk"], "routes": [{}, {"match": ["roi = a"]}]}, "route.routes[0]", "are dead"),
        ({"sinks": ["desk"], "active": ["x"]}, "route.active", "no time interval 'x'"),
        ({"sinks": ["desk"], "match": ["roi = a"]}, "route.match", "takes every alert"),
    ],
)
def test_a_document_that_cannot_be_meant_is_refused_with_its_place(
    route: dict[str, Any], place: str, said: str
) -> None:
    problems = read_document(Routes, {"sinks": SINKS, "route": route}, "routes.yaml").problems()
    assert [(problem.place, said in problem.message) for problem in problems] == [(f"routes.yaml: {place}", True)]


@pytest.mark.parametrize(
    ("route", "place"),
    [
        ({"sinks": ["desk"], "routes": [{"match": ["colour = red"]}]}, "route.routes[0].match"),
        ({"sinks": ["desk"], "routes": [{"match": ["camera ~ x"]}]}, "route.routes[0].match"),
        ({"sinks": ["desk"], "repeat_every_seconds": 1}, "route.repeat_every_seconds"),
        ({"sinks": ["desk"], "colour": 1}, "route.colour"),
        ({"sinks": ["desk"], "flood": {"above": 3, "below": 3}}, "route.flood"),
    ],
)
def test_a_wrong_key_is_refused_with_its_place(route: dict[str, Any], place: str) -> None:
    with pytest.raises(BadDocument) as caught:
        read_document(Routes, {"sinks": SINKS, "route": route}, "routes.yaml")
    assert any(place in problem.place for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("routes", "place", "said"),
    [
        ([["camera = a"], ["camera = a"]], "route.routes[1]", "is dead: routes[0] takes all that it matches"),
        ([["roi = r"], ["camera = a", "roi = r"]], "route.routes[1]", "is dead: routes[0] takes"),
        ([["camera = a", "camera = b"]], "route.routes[0]", "is dead: camera = b and camera = a never hold together"),
        ([["camera = a", "camera !~ a|b"]], "route.routes[0]", "is dead: camera = a and camera !~ a|b never"),
    ],
)
def test_a_route_that_no_alert_can_take_is_refused_with_its_place(
    routes: list[list[str]], place: str, said: str
) -> None:
    route = {"sinks": ["desk"], "routes": [{"match": match} for match in routes]}
    _, problems = compile_routes(read_document(Routes, {"sinks": SINKS, "route": route}, "routes.yaml"))
    assert [(each.place, each.message.startswith(said)) for each in problems] == [(f"routes.yaml: {place}", True)]


def test_a_route_below_one_that_asks_for_something_else_is_dead() -> None:
    inner = {"match": ["severity = info"]}
    route = {"sinks": ["desk"], "routes": [{"match": ["severity = critical"], "routes": [inner]}]}
    _, problems = compile_routes(read_document(Routes, {"sinks": SINKS, "route": route}, "routes.yaml"))
    assert [str(each) for each in problems] == [
        "routes.yaml: route.routes[0].routes[0]: is dead: severity = critical and severity = info never hold together"
    ]


def test_what_goes_on_or_asks_for_more_leaves_the_rest_alive() -> None:
    tree({"sinks": ["desk"], "routes": [{"match": ["roi = a"], "continue": True}, {"match": ["roi = a"]}]})
    tree({"sinks": ["desk"], "routes": [{"match": ["roi = a", "site = n"]}, {"match": ["roi = a"]}]})
    tree({"sinks": ["desk"], "routes": [{"match": ["roi = a", "roi =~ a|b", "roi != c"]}]})


def test_a_regular_expression_that_does_not_read_is_refused_with_its_place() -> None:
    document = read_document(
        Routes, {"sinks": SINKS, "route": {"sinks": ["desk"], "routes": [{"match": ["roi =~ ("]}]}}, "routes.yaml"
    )
    _, problems = compile_routes(document)
    assert [problem.place for problem in problems] == ["routes.yaml: route.routes[0].match[0]"]
