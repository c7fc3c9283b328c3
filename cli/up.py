"""`backsight up`: the main job on one machine."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from cli.config import check_folder
from cli.options import configs_option, prefix_option, read_settings, refuse, warn
from router.configuration import load_router
from runtime.lifecycle import stop_on_signals
from runtime.pipeline.run import UpOptions, run_up
from runtime.settings import Settings
from schemas.codec import decode
from schemas.messages import Alert
from schemas.problems import BadDocument


@click.command()
@configs_option
@prefix_option
@click.option("--duration", type=click.FloatRange(min=1), metavar="SECONDS", help="End by itself after this long.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var"),
    show_default=True,
    help="Folder for the local Kafka's data, the logs of every stage, and the picture memory.",
)
@click.option("--kafka-port", type=click.IntRange(0, 65535), help="Of the local Kafka; 9092, or a free one if taken.")
@click.option("--no-api", is_flag=True, help="Do not run the HTTP API.")
def up(configs: Path, prefix: str, duration: float | None, data: Path, kafka_port: int | None, no_api: bool) -> None:
    """Run every stage on this machine with your cameras, ROIs and model.

    Starts a local Kafka unless KAFKA_BOOTSTRAP_SERVERS is set, checks the configuration, creates the topics, publishes
    the ROIs, and runs ingest, inference, rules, router, evidence and API, each as a process of its own. A stage that
    dies is reported and started again. Alerts are printed on stdout, as JSON lines when it is piped; everything else
    goes to stderr and to DATA/logs.

    Ends on Ctrl-C, after --duration, or when every source is a file that has ended (everything read is judged and
    delivered first).
    """
    settings, environ = read_settings(configs, prefix)
    checked = check_folder(configs, environ)
    warn(checked.warnings)
    if checked.problems:
        refuse(checked.problems)
    if not checked.cameras:
        click.echo(f"error: {configs}/cameras.yaml has no enabled camera", err=True)
        sys.exit(2)
    try:
        sinks = told_sinks(settings, environ)
    except BadDocument as bad:
        refuse(bad.problems)
    name = settings.prefix
    if not name and any(not each.camera.realtime for each in checked.cameras):
        # A file played fast has times of its own; among live topics it would be late or far ahead.
        name = f"run-{datetime.now(UTC):%Y%m%dT%H%M%S}."
        click.echo(f"topics of this run begin with {name}", err=True)
    show = None
    if sys.stdout.isatty():
        from router.sinks.stdout import readable_line

        console = Console()

        def show(line: bytes) -> None:
            console.print(readable_line(decode(Alert, line)), markup=False, highlight=False)

    options = UpOptions(
        configs=configs,
        data=data,
        checked=checked,
        environ=environ,
        sinks=sinks,
        prefix=name,
        duration=duration,
        broker_port=kafka_port,
        api=not no_api,
        show_alert=show,
    )
    sys.exit(run_up(options, stop_on_signals()))


def told_sinks(settings: Settings, environ: Mapping[str, str]) -> Callable[[], Sequence[str]]:
    """Answers, whenever asked, the names of the sinks that the router tells. Raises `BadDocument` at once.

    As the router does, it stays with what was where `routes.yaml` was changed and does not check.
    """
    known = load_router(settings, environ)

    def names() -> Sequence[str]:
        nonlocal known
        with suppress(BadDocument):
            known = load_router(settings, environ, known)
        return [sink.name for sink in known.sinks]

    return names
