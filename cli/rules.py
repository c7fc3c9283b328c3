"""`backsight rules …`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cli.options import read_settings, refuse, stage_options
from replay.explained import lines
from replay.explaining import Tracer
from replay.judging import Timeline
from replay.spans import Span
from rules.scenario import begins_at, events_of, play, revisions_of, side_by_side
from rules.state import Subject
from runtime.lifecycle import EXIT_CONFIG, EXIT_FAULT, EXIT_OK, stop_on_signals
from runtime.logs import configure_logs
from schemas.documents.reading import read_yaml
from schemas.documents.scenario_lines import LONGEST_MS, time_in_words
from schemas.documents.scenarios import Scenario
from schemas.problems import BadDocument, Problem


@click.group()
def rules() -> None:
    """Judge detections against the ROIs of each camera."""


@rules.command()
@stage_options
def run(configs: Path, prefix: str) -> None:
    """Detections to alerts, until told to stop. `faust -A rules.app worker` is the same thing without our logs.

    Follows the ROI revisions on the topic roi-revisions (`backsight config apply` writes them). Several processes share
    the partitions, and with them the cameras. State is kept in two changelog topics: a process that is killed loses
    nothing, and the one that takes over opens no alert twice under another id. What cannot be read or judged goes to
    the topic dead-letters.

    Ctrl-C or SIGTERM ends it within ten seconds.

    Exit codes: 0 stopped, 1 a fault that a restart may mend, 2 a setting does not check, 3 Kafka cannot be reached or a
    topic is missing.
    """
    settings, _ = read_settings(configs, prefix)
    configure_logs("rules")
    from rules.stage import run as run_stage  # Faust takes half a second to import

    sys.exit(run_stage(settings, stop_on_signals()))


@rules.command()
@click.argument("scenarios", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--explain", is_flag=True, help="Of those that fail, tell every step of every subject and why.")
def test(scenarios: tuple[Path, ...], explain: bool) -> None:
    """Play SCENARIOS (files, or folders of .yaml files) through the rules, and say which alerts came otherwise.

    A scenario says in a few lines what a camera sees, which ROIs hold and which alerts are expected: docs/scenarios.md.
    It needs no Kafka.

    Exit codes: 0 all as expected, 1 not, 2 a file does not check (the others are played all the same).
    """
    code = EXIT_OK
    for file in _files(scenarios):
        try:
            scenario = Scenario.read(read_yaml(_text(file), str(file)), str(file))
        except BadDocument as bad:
            for problem in bad.problems:
                click.secho(f"error: {problem}", err=True, fg="red")
            code = EXIT_CONFIG
            continue
        played = play(scenario)
        if played.as_expected:
            click.echo(f"ok      {file}: {scenario.what}")
            continue
        click.secho(f"FAILED  {file}: {scenario.what}", fg="red")
        for line in side_by_side(played.rows):
            click.echo(f"      {line}")
        for line in _explained(scenario) if explain else ():
            click.echo(f"        {line}")
        code = code or EXIT_FAULT
    sys.exit(code)


def _explained(scenario: Scenario) -> Iterator[str]:
    """The way of every subject through the scenario, in the scenario's own times."""
    timeline, events, start = Timeline(revisions_of(scenario)), list(events_of(scenario)), begins_at(scenario)
    span = Span(start, start + LONGEST_MS + 1)
    documents = [revision.document for revision in timeline.revisions]
    for subject in dict.fromkeys(
        Subject(roi.name, label) for each in documents for roi in each.rois for label in each.alert_classes
    ):
        tracer = Tracer(scenario.camera_id, subject, timeline, span, None, lambda at: time_in_words(at - start))
        tracer.feed(events)
        yield f"{subject.label} in {subject.roi}:"
        yield from lines(tracer.explanation(), lambda at: time_in_words(at - start))


def _files(places: tuple[Path, ...]) -> list[Path]:
    found: list[Path] = []
    for place in places:
        some = sorted(place.glob("*.yaml")) if place.is_dir() else [place]
        if not some:
            refuse([Problem(str(place), "no .yaml file lies in this folder")])
        found += some
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadDocument([Problem(str(file), f"cannot be read: {error}")]) from None
