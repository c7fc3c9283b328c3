"""`backsight replay rules`: another document on last week's detections."""

import sys
from pathlib import Path

import click
from click.core import ParameterSource

from cli.options import read_settings, refuse
from cli.replay_options import open_source, read_span, show, shown_progress, span_options, told_plainly
from cli.shadow import follow_candidate
from replay.run import Side
from replay.runs import check_new, publish_run, run_name
from replay.spans import instant
from replay.trial import Trial, compare_sides, read_history
from runtime.configs import read_rois
from runtime.revisions import RevisionHistory
from runtime.settings import Settings
from schemas.problems import Problem


@click.command()
@click.option("--rois", type=click.Path(path_type=Path), help="The candidate. Default: the documents as they held.")
@click.option(
    "--baseline",
    default="recorded",
    show_default=True,
    metavar="recorded|active|FILE",
    help="recorded: the alerts that were sent; active: today's documents on the whole span; FILE: another rois.yaml.",
)
@span_options
@click.option(
    "--warm-up", metavar="TIME", help="Read at most so far back before the span, e.g. 2h. Default: as needed."
)
@click.option("--json", "as_plain_json", is_flag=True, help="The whole comparison as JSON.")
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False), help="Write a report (HTML) to this folder."
)
@click.option("--publish", is_flag=True, help="Write the candidate's alerts to the topic replay.RUN.alerts.")
@click.option("--run", metavar="NAME", help="The run's name. Default: made from the time.")
@click.option(
    "--follow", is_flag=True, help="Run the candidate live beside the active rules, as `backsight shadow run` does."
)
def rules(
    rois: Path | None,
    baseline: str,
    begin: str,
    end: str,
    cameras: frozenset[str] | None,
    partial: bool,
    configs: Path,
    prefix: str,
    source_words: str,
    warm_up: str | None,
    as_plain_json: bool,
    report: Path | None,
    publish: bool,
    run: str | None,
    follow: bool,
) -> None:
    """Judge a span of history again, under a candidate document, and show which alerts would differ.

    Reads detections up to the log end of this moment, with as much of what was before as judging needs. Writes nothing
    to live topics and reaches no sink.

    \b
    backsight replay rules --rois candidate.yaml --from -7d
    backsight replay rules --rois candidate.yaml --from 2026-11-16T06:00Z --to 2026-11-16T22:00Z --report what-if
    backsight replay rules --rois candidate.yaml --follow

    Exit codes: 0 the same alerts, 3 different ones, 2 an option or document does not check or part of the span is
    gone, 5 Kafka cannot be reached, 1 a fault.
    """
    if follow:
        given = _given()
        follow_candidate(rois, begin if "begin" in given else None, configs=configs, prefix=prefix, restart=False)
    settings, _ = read_settings(configs, prefix)
    span = read_span(begin, end)
    name = run or run_name(span)
    with told_plainly():
        if publish:
            check_new(settings, name)
        history = read_history(settings)
        candidate = (
            Side.recorded("the documents as they held", history)
            if rois is None
            else Side.of_rois(str(rois), read_rois(rois, needed=True), settings.roi_defaults)
        )
        source = open_source(settings, source_words)
        try:
            trial = Trial(
                run=name,
                span=span,
                source=source,
                source_words=source_words,
                candidate=candidate,
                baseline=_baseline(baseline, settings, history),
                cameras=cameras,
                partial=partial,
                most_warm_up_ms=None if warm_up is None else _warm_up(warm_up),
            )
            with shown_progress("judging") as progress:
                comparison, alerts = compare_sides(settings, trial, history, progress)
        finally:
            source.close()
        if publish:
            publish_run(settings, comparison, alerts)
            click.echo(f"published as {name}: `backsight replay list`, `backsight replay remove {name}`", err=True)
        code = show(settings, comparison, as_plain_json=as_plain_json, report=report)
    sys.exit(code)


def _given() -> set[str]:
    """What was asked for beside `--follow`; ends the process where it does not go with it."""
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    strangers = given - {"follow", "rois", "begin", "configs", "prefix"}
    if strangers:
        refuse(
            Problem(each.opts[0], "does not go with --follow")
            for each in context.command.params
            if each.name in strangers
        )
    return given


def _baseline(words: str, settings: Settings, history: RevisionHistory) -> Side | None:
    if words == "recorded":
        return None
    if words == "active":
        return Side.active("active", history)
    return Side.of_rois(words, read_rois(Path(words), needed=True), settings.roi_defaults)


def _warm_up(words: str) -> int:
    now = 1 << 53
    return now - instant(f"-{words}", now)
