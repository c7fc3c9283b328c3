"""`backsight shadow …`: a candidate live beside the active rules."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from cli.options import read_settings, stage_options
from cli.replay_options import show, shown_progress, told_plainly
from replay.shadow import follow, prepare
from replay.shadow_log import CANDIDATE, Candidate, ShadowLog, shadow_client, write_records
from replay.shadow_promote import plan_promotion, promotion_in_words
from replay.shadow_report import report as make_report
from replay.spans import in_words, instant
from replay.trial import Refused, read_history
from runtime.configs import read_rois
from runtime.lifecycle import EXIT_OK, stop_on_signals
from runtime.logs import configure_logs
from runtime.revisions import publish_revisions
from runtime.settings import Settings


@click.group()
def shadow() -> None:
    """Run a candidate rois.yaml live beside the active rules: judged by the same engine, told to nobody.

    Exit codes: 0 well (report: the same alerts), 3 report: different ones, 2 an option or document does not check,
    5 Kafka cannot be reached, 1 a fault or not confirmed.
    """


@shadow.command()
@click.option(
    "--rois", type=click.Path(path_type=Path), help="The candidate. Default: goes on with the one in the shadow."
)
@click.option(
    "--from",
    "begins",
    metavar="INSTANT",
    help="Where a new shadow begins: now unless given; -2d, 2026-11-16T08:00Z catches up from there.",
)
@click.option("--restart", is_flag=True, help="Give up the shadow that there is and begin anew with --rois.")
@stage_options
def run(rois: Path | None, begins: str | None, restart: bool, configs: Path, prefix: str) -> None:
    """Judge what comes by a candidate, to the topic alerts.shadow, until told to stop.

    Run again with the same document, or with none, it goes on where it was, whatever ended it. Writes to no live topic
    and reaches no sink. Ctrl-C or SIGTERM ends it within seconds.

    \b
    backsight shadow run --rois candidate.yaml
    backsight shadow report --report what-differs

    Exit codes: 0 stopped, 2 an option or document does not check or another candidate is there, 5 Kafka cannot be
    reached, 1 a fault.
    """
    follow_candidate(rois, begins, configs=configs, prefix=prefix, restart=restart)


def follow_candidate(rois: Path | None, begins: str | None, *, configs: Path, prefix: str, restart: bool) -> NoReturn:
    """`shadow run`, and `replay rules --follow`."""
    settings, _ = read_settings(configs, prefix)
    configure_logs("shadow")
    with told_plainly(), _shadow_log(settings) as shadow_log:
        document = None if rois is None else read_rois(rois, needed=True)
        started_at = None if begins is None else instant(begins, round(time.time() * 1000))
        with shown_progress("reading what was before") as progress:
            candidate = prepare(
                settings, shadow_log, document, str(rois), started_at, restart=restart, progress=progress
            )
    click.echo(f"{candidate.name} in the shadow, since {in_words(candidate.started_at)}", err=True)
    with told_plainly():
        if not follow(settings, shadow_log, candidate, stop_on_signals()):
            click.echo("the candidate was stopped or replaced", err=True)
    sys.exit(EXIT_OK)


@shadow.command()
@click.option("--json", "as_plain_json", is_flag=True, help="As JSON; instants are milliseconds UTC.")
@stage_options
def status(as_plain_json: bool, configs: Path, prefix: str) -> None:
    """Say which candidate is in the shadow, and how far it has judged."""
    settings, _ = read_settings(configs, prefix)
    with told_plainly(), _shadow_log(settings) as shadow_log:
        candidate = _candidate(shadow_log)
        told = _status(candidate, shadow_log)
    if as_plain_json:
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"{told['candidate']} in the shadow, since {in_words(told['started_at'])}")
    click.echo(f"told of its progress at {in_words(told['written_at'])}; records left out: {told['left_out']}")
    for camera in told["cameras"]:
        up_to = "nothing yet" if camera["last_at"] is None else f"up to {in_words(camera['last_at'])}"
        click.echo(f"{camera['camera_id']}: {up_to}, {camera['judged']} events, {camera['hits']} hits")


@shadow.command()
@click.option("--json", "as_plain_json", is_flag=True, help="The whole comparison as JSON.")
@click.option(
    "--report",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a report (HTML) to this folder.",
)
@stage_options
def report(as_plain_json: bool, folder: Path | None, configs: Path, prefix: str) -> None:
    """Show which alerts differ between the active rules and the shadow, as far as both have judged.

    Exit codes: 0 the same alerts, 3 different ones, 2 nothing to compare, 5 Kafka cannot be reached, 1 a fault.
    """
    settings, _ = read_settings(configs, prefix)
    with told_plainly(), _shadow_log(settings) as shadow_log:
        candidate = _candidate(shadow_log)
        comparison = make_report(settings, candidate, shadow_log.progress(candidate.shadow), read_history(settings))
        code = show(settings, comparison, as_plain_json=as_plain_json, report=folder)
    sys.exit(code)


@shadow.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@stage_options
def promote(yes: bool, configs: Path, prefix: str) -> None:
    """Make the candidate in the shadow the active document, exactly as it was tried.

    It takes effect at least 10 s later, as every change. rois.yaml keeps what it says: `backsight config pull` writes
    the active documents to it, and `config apply` does not overrule them unasked meanwhile.

    Exit codes: 0 published, or active already; 1 not confirmed or a fault; 2 there is no candidate; 5 Kafka cannot be
    reached.
    """
    settings, _ = read_settings(configs, prefix)
    with told_plainly(), _shadow_log(settings) as shadow_log:
        candidate = _candidate(shadow_log)
        history = read_history(settings)
        plan = plan_promotion(candidate, history, _now())
        for line in promotion_in_words(plan, history):
            click.echo(line)
        if not plan.publish:
            click.echo(f"{candidate.name} is active already")
            sys.exit(EXIT_OK)
        if not yes:
            _confirm(candidate)
            # Planned again: the change must lie ahead of now, and of whatever was applied in the meantime.
            plan = plan_promotion(candidate, read_history(settings), _now())
        publish_revisions(settings.kafka, settings.prefix, plan.publish)
    for revision in plan.publish:
        effect = f"takes effect at {in_words(revision.effective_from)}" if revision.effective_from else "holds always"
        click.echo(f"{revision.camera_id}: revision {revision.revision} {effect}")
    click.echo(f"{configs / 'rois.yaml'} is as it was: `backsight config pull` writes the active documents to it")
    click.echo("the shadow goes on: `backsight shadow stop` ends it")


@shadow.command()
@stage_options
def stop(configs: Path, prefix: str) -> None:
    """End the shadow and forget its candidate. Its alerts stay on alerts.shadow for 30 days."""
    settings, _ = read_settings(configs, prefix)
    with told_plainly(), _shadow_log(settings) as shadow_log:
        records = [(CANDIDATE, None), *shadow_log.forgotten()]
        write_records(shadow_client(settings), settings.prefix, records)
    click.echo("no candidate is in the shadow any more; a process that follows it ends by itself")


@contextlib.contextmanager
def _shadow_log(settings: Settings) -> Iterator[ShadowLog]:
    shadow_log = ShadowLog(settings.kafka, settings.prefix)
    try:
        shadow_log.refresh()
        yield shadow_log
    finally:
        shadow_log.close()


def _candidate(shadow_log: ShadowLog) -> Candidate:
    candidate = shadow_log.candidate()
    if candidate is None:
        raise Refused("no candidate is in the shadow; `backsight shadow run --rois FILE` begins one")
    return candidate


def _confirm(candidate: Candidate) -> None:
    if not sys.stdin.isatty():
        raise Refused("nobody is there to ask; --yes says that you mean it")
    click.confirm(f"Make {candidate.name} the active document?", abort=True, err=True)


def _status(candidate: Candidate, shadow_log: ShadowLog) -> dict[str, Any]:
    progress = shadow_log.progress(candidate.shadow).values()
    return {
        "candidate": candidate.name,
        "shadow": candidate.shadow,
        "started_at": candidate.started_at,
        "begun_at": candidate.begun_at,
        "written_at": max((each.written_at for each in progress), default=candidate.begun_at),
        "left_out": sum(each.left_out for each in progress),
        "cameras": [
            {"camera_id": each.camera_id, "last_at": each.last_at, "judged": each.judged, "hits": each.hits}
            for each in sorted((c.facts for p in progress for c in p.cameras), key=lambda facts: facts.camera_id)
        ],
    }


def _now() -> int:
    return round(time.time() * 1000)
