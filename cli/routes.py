"""`backsight routes …`: who would be told."""

import time
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from cli.options import read_settings, refuse, stage_options, warn
from router.configuration import ROUTES, Configuration, load_router
from router.routing import Leg, Node, legs
from schemas.active import ActiveTimes
from schemas.documents.routes import LABELS, VALUES
from schemas.problems import BadDocument, Problem


@click.group()
def routes() -> None:
    """Check routes.yaml, and ask it who would be told."""


def load(configs: Path, prefix: str) -> Configuration:
    """The configuration of the router; every mistake at once ends the process."""
    settings, environ = read_settings(configs, prefix)
    try:
        return load_router(settings, environ)
    except BadDocument as bad:
        refuse(bad.problems)


@routes.command()
@stage_options
def check(configs: Path, prefix: str) -> None:
    """Say every mistake and every doubt in routes.yaml at once, each with its place, and show the tree.

    Exit code 0: sound (warnings may remain), 2: not.
    """
    configuration = load(configs, prefix)
    warn(configuration.warnings)
    without = "" if configuration.words == ROUTES else f" (there is no {configs / ROUTES})"
    tree = Tree(Text(f"{configuration.words}: {len(configuration.sinks)} sink(s){without}"))
    _grow(tree, configuration.tree)
    Console().print(tree)


@routes.command()
@stage_options
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="camera=…, roi=…, label=…, severity=…")
def test(configs: Path, prefix: str, labels: tuple[str, ...]) -> None:
    """Print who would be told of an alert with these labels, by which route, and whether its times allow it now.

    Silences are not looked at (`backsight silences list`).

    \b
    backsight routes test --label camera=gate_1 --label severity=critical

    Exit code 0: somebody, 1: nobody, 2: routes.yaml does not check.
    """
    configuration = load(configs, prefix)
    given = {"kind": "alert", **dict(_label(text) for text in labels)}
    given.setdefault("site", configuration.site_of(given.get("camera", "")))
    sinks = {sink.name: sink for sink in configuration.sinks}
    # What moves something in the world is never told of Backsight's own troubles (`router.stage.Router.leg`).
    found = [
        leg for leg in legs(configuration.tree, given) if given["kind"] != "system" or not sinks[leg.sink].actuates
    ]
    now = round(time.time() * 1000)
    for leg in found:
        when = "" if _is_told_at(leg, now) else "; not at this hour: when it is over, if the alert is still open"
        click.echo(f"{leg.sink} ({sinks[leg.sink].kind}) by {leg.route}{when}")
    if not found:
        click.echo("nobody is told", err=True)
        raise SystemExit(1)


def _is_told_at(leg: Leg, now: int) -> bool:
    terms = leg.terms
    return (terms.active is None or ActiveTimes(terms.active).at(now)) and not ActiveTimes(terms.mute).at(now)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name not in LABELS:
        refuse([Problem(f"--label {text}", f"expected NAME=VALUE with one of the names {', '.join(LABELS)}")])
    known = VALUES.get(name)
    if known is not None and value not in known:
        refuse([Problem(f"--label {text}", f"expected one of {', '.join(known)}")])
    return name, value


def _grow(tree: Tree, node: Node) -> None:
    for child in node.children:
        words = ", ".join(map(str, child.matchers)) or "everything else"
        goes_on = " … and goes on" if child.goes_on else ""
        # As text: in a plain string rich would take `[a-z]` of a regular expression for a style.
        _grow(tree.add(Text(f"{words} → {', '.join(child.sinks) or 'nobody'}{goes_on}")), child)
    if node.children:
        tree.add(f"else → {', '.join(node.sinks) or 'nobody'}", style="dim")
    elif node.path == "route":
        tree.label = Text(f"{tree.label} → {', '.join(node.sinks)}")
