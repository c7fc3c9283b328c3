"""What the replay commands share: their options, how trouble ends them, and how a comparison is shown."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TaskID, TextColumn

from cli.options import configs_option, prefix_option, refuse
from replay.archive import BadArchive
from replay.archive import open_source as open_archive
from replay.comparison import Comparison, as_json
from replay.history import Source
from replay.judging import BelowFloor
from replay.kafka_source import KafkaSource
from replay.report.write import write_report
from replay.run import Progress
from replay.spans import BadInstant, Span, in_words, span_of
from replay.sweep import BadVary
from replay.terminal import comparison_lines
from replay.trial import Refused
from runtime.health import CannotServe
from runtime.kafka import BrokerUnreachable
from runtime.lifecycle import EXIT_CONFIG, EXIT_FAULT, EXIT_OK
from runtime.settings import Settings
from schemas.problems import BadDocument, Problem
from schemas.topics import DETECTIONS

EXIT_DIFFERENT: Final = 3
EXIT_UNREACHABLE: Final = 5
"""Kafka; 3 is taken by a difference, which is what a pipeline asks for."""

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


class Cameras(click.ParamType):
    """`--cameras a,b,c`: a set of camera ids."""

    name = "cameras"

    def convert(
        self, value: object, _parameter: click.Parameter | None, _context: click.Context | None
    ) -> frozenset[str]:
        return value if isinstance(value, frozenset) else frozenset(filter(None, str(value).split(",")))


def span_options(command: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
    """`--from`, `--to`, `--cameras`, `--source`, `--partial`, `--configs`, `--prefix`."""
    options = (
        click.option(
            "--from",
            "begin",
            default="-7d",
            show_default=True,
            metavar="INSTANT",
            help="2026-11-16T08:00:00Z, 2026-11-16 (local), or before now: -7d, -90m.",
        ),
        click.option("--to", "end", default="now", show_default=True, metavar="INSTANT", help="Not included."),
        click.option(
            "--cameras", type=Cameras(), metavar="ID,ID", help="Only these cameras. Default: all in the history."
        ),
        click.option(
            "--source",
            "source_words",
            default="kafka",
            show_default=True,
            metavar="kafka|archive:FOLDER",
            help="Where the events are read from.",
        ),
        click.option("--partial", is_flag=True, help="Go on where part of the span is already deleted."),
        configs_option,
        prefix_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def read_span(begin: str, end: str) -> Span:
    """The span asked for; a mistake ends the process."""
    try:
        return span_of(begin, end, round(time.time() * 1000))
    except BadInstant as bad:
        click.echo(f"error: {bad}", err=True)
        sys.exit(EXIT_CONFIG)


def open_source(settings: Settings, words: str) -> Source:
    """The history that `--source` names. Raises `BrokerUnreachable`, `BadArchive`, and `BadInstant` for other words."""
    if words == "kafka":
        return KafkaSource(settings.kafka, settings.prefix, DETECTIONS.name)
    kind, _, place = words.partition(":")
    if kind == "archive" and place:
        return open_archive(Path(place))
    raise BadInstant(f"--source {words}: expected kafka or archive:FOLDER")


@contextlib.contextmanager
def told_plainly() -> Iterator[None]:
    """Turns what a replay may raise into a sentence on stderr and an exit code."""
    try:
        yield
    except BadDocument as bad:
        for problem in bad.problems:
            click.echo(f"error: {problem}", err=True)
        sys.exit(EXIT_CONFIG)
    except (Refused, BelowFloor, BadArchive, BadInstant, BadVary) as refused:
        click.echo(f"error: {refused}", err=True)
        sys.exit(EXIT_CONFIG)
    except BrokerUnreachable as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_UNREACHABLE)
    except CannotServe as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_FAULT)


@contextlib.contextmanager
def shown_progress(words: str) -> Iterator[Progress]:
    """A line on stderr, where that is a terminal: events, events a second, and how many times as fast as they came."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield _Line(bar, bar.add_task(words, total=None), words)


class _Line:
    """Writes the line anew, ten times a second at most: it is told of every few events."""

    def __init__(self, bar: Bar, task: TaskID, words: str) -> None:
        self._bar, self._task, self._words = bar, task, words
        self._began = time.monotonic()
        self._shown = 0.0
        self._first_at: int | None = None

    def __call__(self, events: int, captured_at: int) -> None:
        now = time.monotonic()
        if self._first_at is None:
            self._first_at = captured_at
        if now - self._shown < 0.1:
            return
        self._shown = now
        spent = max(1e-3, now - self._began)
        pace = max(0.0, (captured_at - self._first_at) / 1000 / spent)
        said = f"{self._words}: {events:,} events, {events / spent:,.0f}/s, {pace:,.0f}× real time"
        self._bar.update(self._task, description=f"{said}, at {in_words(captured_at)}")


def show(settings: Settings, comparison: Comparison, *, as_plain_json: bool, report: Path | None) -> int:
    """Shows a comparison on the terminal or as JSON, writes its report, and answers the exit code.

    The report's place goes to stderr, so that stdout stays what was asked for.
    """
    if as_plain_json:
        click.echo(json.dumps(as_json(comparison), indent=2))
    else:
        Console().print(*comparison_lines(comparison), sep="\n", soft_wrap=True)
    if report is not None:
        try:
            page = write_report(settings, comparison, report)
        except OSError as error:
            refuse([Problem(f"--report {report}", f"cannot be written: {error.strerror}")])
        click.echo(f"report: {page}", err=True)
    return EXIT_DIFFERENT if comparison.different else EXIT_OK
