"""`backsight routes …`: who would be told."""

from pathlib import Path

import click
from rich.console import Console
from rich.tree import Tree

from cli.options import read_settings, refuse, stage_options, warn
from router.configuration import Configuration, load_router
from router.routing import Node, legs
from schemas.documents.routes import LABELS
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
    tree = Tree(f"{configuration.words}: {len(configuration.sinks)} sink(s)")
    _grow(tree, configuration.tree)
    Console().print(tree)


@routes.command()
@stage_options
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="camera=…, roi=…, label=…, severity=…")
def test(configs: Path, prefix: str, labels: tuple[str, ...]) -> None:
    """Print who would be told of an alert with these labels, and by which route.

    \b
    backsight routes test --label camera=gate_1 --label severity=critical

    Exit code 0: somebody, 1: nobody, 2: routes.yaml does not check.
    """
    configuration = load(configs, prefix)
    given = {"kind": "alert", **dict(_label(text) for text in labels)}
    given.setdefault("site", configuration.site_of(given.get("camera", "")))
    found = legs(configuration.tree, given)
    kinds = {sink.name: sink.kind for sink in configuration.sinks}
    for leg in found:
        click.echo(f"{leg.sink} ({kinds[leg.sink]}) by {leg.route}")
    if not found:
        click.echo("nobody is told", err=True)
        raise SystemExit(1)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name not in LABELS:
        refuse([Problem(f"--label {text}", f"expected NAME=VALUE with one of the names {', '.join(LABELS)}")])
    return name, value


def _grow(tree: Tree, node: Node) -> None:
    for child in node.children:
        words = ", ".join(map(str, child.matchers)) or "everything else"
        goes_on = " … and goes on" if child.goes_on else ""
        _grow(tree.add(f"{words} → {', '.join(child.sinks) or 'nobody'}{goes_on}"), child)
    if node.children:
        tree.add(f"else → {', '.join(node.sinks) or 'nobody'}", style="dim")
    else:
        tree.label = f"{tree.label} → {', '.join(node.sinks)}" if node.path == "route" else tree.label
