"""`backsight config check|apply|pull|history|choose`."""

import sys
import time
from pathlib import Path

import click
import yaml

from cli.config_choose import choose
from cli.config_history import history
from cli.options import configs_option, prefix_option, read_settings, refuse, warn
from inference import model_labels
from runtime.configs import Checked, check_configs
from runtime.kafka import BrokerUnreachable
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_FAULT
from runtime.revision_acks import await_acks
from runtime.revisions import RevisionLog, publish_revisions
from runtime.roi_apply import plan_revisions
from runtime.settings import Settings, environment
from schemas.effective import RoiRevision
from schemas.instants import in_words
from schemas.problems import BadDocument, Problem


@click.group()
def config() -> None:
    """Check and apply the documents in the configuration folder."""


for also in (history, choose):
    config.add_command(also)


def check_folder(configs: Path, environ: dict[str, str]) -> Checked:
    """Everything wrong or doubtful in the folder; the model's labels are looked up where its file is readable."""
    checked = check_configs(configs, environ)
    if checked.problems or checked.settings is None:
        return checked
    model = Path(checked.settings.services.inference.model_path)
    if not model.exists():
        doubt = Problem("services.yaml: inference.model_path", f"there is no {model}")
        return checked._replace(warnings=[*checked.warnings, doubt])
    return check_configs(configs, environ, model_labels(model))


@config.command()
@configs_option
def check(configs: Path) -> None:
    """Say every mistake and every doubt in cameras.yaml, rois.yaml and services.yaml at once, each with its place.

    routes.yaml, whose secrets the router alone has, is checked by `backsight routes check`.

    Exit code 0: sound (warnings may remain), 2: not.
    """
    checked = check_folder(configs, environment())
    warn(checked.warnings)
    if checked.problems:
        refuse(checked.problems)
    rois = sum(len(entry.forbidden_rois) for entry in checked.rois.cameras)
    click.echo(f"sound: {len(checked.cameras)} camera(s), {rois} ROI(s)")


@config.command()
@configs_option
@prefix_option
@click.option("--force", is_flag=True, help="Let the file overrule what came through the API since.")
@click.option(
    "--keep-api", is_flag=True, help="Let what came through the API since stay, with a warning, as `up` does."
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Wait until the rules worker of every camera has acknowledged its revision.",
)
def apply(configs: Path, prefix: str, force: bool, keep_api: bool, wait: float | None) -> None:
    """Publish the ROIs of rois.yaml that changed, and say when they take effect.

    A camera's first document holds for its whole history; a change takes effect at least 10 s ahead, never back in
    time. Exit code 2: the documents do not check, or the active ones came through the API (see --force, --keep-api
    and `backsight config pull`). Exit code 3: Kafka cannot be reached. Exit code 1: with --wait, somebody did not
    acknowledge in time; what was published stays.
    """
    settings, environ = read_settings(configs, prefix)
    checked = check_folder(configs, environ)
    warn(checked.warnings)
    if checked.problems:
        refuse(checked.problems)
    log = RevisionLog(settings.kafka, settings.prefix)
    try:
        log.refresh()
        plan = plan_revisions(log.history, checked.rois, settings.roi_defaults, round(time.time() * 1000), force=force)
        for camera_id in plan.overruled:
            click.echo(
                f"{camera_id}: the active document came through the API after the file was last applied"
                f"{' and stays active' if keep_api else ''}; "
                "`backsight config pull` writes it to the file, --force overrules it",
                err=True,
            )
        if plan.overruled and not keep_api:
            sys.exit(EXIT_CONFIG)
        try:
            publish_revisions(settings.kafka, settings.prefix, plan.publish)
        except BadDocument as bad:
            refuse(bad.problems)
        for revision in plan.publish:
            click.echo(f"{revision.camera_id}: revision {revision.revision} {_effect(revision.effective_from)}")
        for camera_id in plan.unchanged:
            click.echo(f"{camera_id}: unchanged")
        if wait is not None:
            log.refresh()
            newest = [log.history.newest(camera_id) for camera_id in log.history.cameras()]
            _await_acks(settings, [each for each in newest if each is not None], wait)
    except BrokerUnreachable as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_BROKER)
    finally:
        log.close()


@config.command()
@configs_option
@prefix_option
@click.option("--to", type=click.Path(path_type=Path), help="Another file than rois.yaml of the folder; - for stdout.")
def pull(configs: Path, prefix: str, to: Path | None) -> None:
    """Write the active ROI documents from Kafka to rois.yaml. The file before is kept as rois.yaml.before."""
    settings, _ = read_settings(configs, prefix)
    log = RevisionLog(settings.kafka, settings.prefix)
    try:
        log.refresh()
    except BrokerUnreachable as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_BROKER)
    finally:
        log.close()
    newest = [log.history.newest(camera_id) for camera_id in log.history.cameras()]
    text = yaml.safe_dump(
        {"cameras": [each.written for each in newest if each is not None and each.written]},
        sort_keys=False,
        allow_unicode=True,
    )
    if to == Path("-"):
        click.echo(text, nl=False)
        return
    target = to or configs / "rois.yaml"
    if target.exists():
        target.replace(target.with_name(target.name + ".before"))
    target.write_text(text, encoding="utf-8")
    click.echo(f"wrote {target}")


def _await_acks(settings: Settings, revisions: list[RoiRevision], seconds: float) -> None:
    missing = await_acks(settings.kafka, settings.prefix, revisions, seconds)
    for revision, worker in missing:
        who = "no rules worker judges it now" if worker is None else f"{worker} did not acknowledge"
        click.echo(f"{revision.camera_id}: revision {revision.revision}: {who} (waited {seconds:g} s)", err=True)
    if missing:
        sys.exit(EXIT_FAULT)
    click.echo(f"acknowledged: {len(revisions)} camera(s)")


def _effect(effective_from: int) -> str:
    return f"takes effect at {in_words(effective_from)}" if effective_from else "holds from the beginning"
