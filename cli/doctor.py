"""`backsight doctor`."""

import json
import sys
from pathlib import Path

import click

from cli.checks import checks_of, run_checks
from cli.checks.finding import Finding
from cli.checks.readings import take_readings
from cli.config import check_folder
from cli.options import configs_option, plain, prefix_option
from runtime.lifecycle import EXIT_FAULT
from runtime.logs import configure_logs
from runtime.settings import environment

COLOURS = {"ok": "green", "note": "bright_black", "warning": "yellow", "fault": "red"}


@click.command()
@configs_option
@prefix_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout in place of lines.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var"),
    show_default=True,
    help="Folder of `backsight up`, whose disk is looked at.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=600),
    default=20.0,
    show_default=True,
    help="For each check, which run side by side; one that takes longer is a fault.",
)
@click.option("--no-cameras", is_flag=True, help="Do not connect to the cameras.")
def doctor(configs: Path, prefix: str, as_json: bool, data: Path, seconds: float, no_cameras: bool) -> None:
    """Look at everything that can be wrong, and say what to do, a line each.

    Documents, model, GPU and driver, Kafka and its topics, lag, each camera (codec, size, frames a second, clock),
    memory, disk, clock and ports. Only looks: nothing is changed, sent or started. Run it on each machine (in a
    container: in each container) that a stage runs on.

    Exit code 0: no fault (warnings may remain), 1: a fault.
    """
    configure_logs("doctor", "ERROR")
    environ = environment()
    if prefix:
        environ["BACKSIGHT_PREFIX"] = prefix
    checked = check_folder(configs, environ)
    watch = 0.0 if no_cameras else min(3.0, seconds / 4)
    checks = checks_of(checked, environ, take_readings(), data=data, seconds=seconds, watch=watch)
    found: list[Finding] = []
    for each in run_checks(checks, seconds):
        found += each
        if not as_json:
            for finding in each:
                click.secho(plain(str(finding)), fg=COLOURS[finding.state])
    faults = sum(finding.state == "fault" for finding in found)
    if as_json:
        click.echo(json.dumps({"well": not faults, "findings": [finding._asdict() for finding in found]}, indent=2))
    else:
        doubts = sum(finding.state == "warning" for finding in found)
        click.echo(f"{faults} fault(s), {doubts} warning(s)")
    sys.exit(EXIT_FAULT if faults else 0)
