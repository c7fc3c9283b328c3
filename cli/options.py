"""What several commands share: the folder of documents, the topic prefix, and how a refusal is shown."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

import click
from rich.console import Console

from runtime.lifecycle import EXIT_CONFIG
from runtime.settings import Settings, environment, load_settings, redis_notice
from schemas.problems import BadDocument, Problem

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")

configs_option = click.option(
    "--configs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("configs"),
    envvar="BACKSIGHT_CONFIGS",
    show_default=True,
    help="Folder with cameras.yaml, rois.yaml and services.yaml.",
)
prefix_option = click.option(
    "--prefix",
    default="",
    envvar="BACKSIGHT_PREFIX",
    metavar="NAME",
    help="Begins the name of every topic and consumer group, so that runs on one cluster stay apart.",
)


def stage_options(command: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
    """`--configs` and `--prefix`."""
    return configs_option(prefix_option(command))


def read_settings(configs: Path, prefix: str) -> tuple[Settings, dict[str, str]]:
    """The settings and the environment they came from; a mistake ends the process with every problem on stderr."""
    environ = environment()
    if prefix:
        environ["BACKSIGHT_PREFIX"] = prefix
    notice = redis_notice(environ)
    if notice:
        click.echo(notice, err=True)
    try:
        return load_settings(configs, environ), environ
    except BadDocument as bad:
        refuse(bad.problems)


def refuse(problems: Iterable[Problem]) -> NoReturn:
    """Shows every problem on stderr, a line each, and ends the process with the exit code for a wrong document."""
    for problem in problems:
        click.secho(f"error: {problem}", err=True, fg="red")
    sys.exit(EXIT_CONFIG)


def warn(warnings: Iterable[Problem]) -> None:
    """Shows every doubt on stderr, a line each."""
    for warning in warnings:
        click.secho(f"warning: {warning}", err=True, fg="yellow")


def table_console() -> Console:
    """As wide as the terminal; piped, as wide as a table needs, since a cut id is of no use to a program."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 300)


def plain(text: str) -> str:
    """Control characters as `?`: a terminal obeys them."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
