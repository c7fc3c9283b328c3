"""`backsight archive run|status|check`."""

import json
import re
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

import click

from cli.options import read_settings, stage_options
from replay.archive import BadArchive, needing_pyarrow
from replay.spans import BadInstant, instant
from runtime.health import CannotServe, Health
from runtime.kafka import BrokerUnreachable, topic_id, wait_for_broker
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_FAULT, stop_on_signals
from runtime.logs import configure_logs, get_logger
from schemas.topics import DETECTIONS

_UNITS: Final = {"s": 1, "m": 60, "h": 3600}

folder_argument = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


class Duration(click.ParamType):
    """`90s`, `10m`, `1h`: seconds."""

    name = "duration"

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smh])", str(value))
        if found is None or float(found[1]) == 0:
            self.fail(f"{value!r} is no duration; expected 90s, 10m or 1h", parameter, context)
        return float(found[1]) * _UNITS[found[2]]


@click.group()
def archive() -> None:
    """Keep detections in Parquet files for longer than Kafka does: for replay, and for DuckDB, Polars or Spark."""


@archive.command()
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="The archive.")
@click.option(
    "--follow/--until-end",
    default=True,
    help="Go on until told to stop (the default), or end when everything that is there now is archived.",
)
@click.option(
    "--from",
    "begin",
    metavar="INSTANT",
    help="Where a new archive begins: 2026-11-16, -7d. Default: the oldest record.",
)
@click.option(
    "--every",
    type=Duration(),
    default="10m",
    show_default=True,
    help="A file per camera is added as often: 90s, 10m, 1h. Nothing that is not yet in a file is in the archive.",
)
@click.option("--accept-gap", is_flag=True, help="Go on where records were deleted before they were archived.")
@stage_options
def run(
    folder: Path, follow: bool, begin: str | None, every: float, accept_gap: bool, configs: Path, prefix: str
) -> None:
    """Write the topic detections to Parquet files, each event exactly once, whatever happens in between.

    Files are FOLDER/day=2026-11-16/camera=cam_1/….parquet; their columns are in docs/archive.md. Run it again and it
    goes on where it stopped; killed, it begins the newest files again. Ctrl-C or SIGTERM writes what was read first.

    Exit codes: 0 stopped or at the end, 1 the disk takes no more or a fault, 2 an option does not check, the folder is
    another topic's archive, or records are gone that it lacks (--accept-gap), 3 Kafka cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    configure_logs("archive")
    log = get_logger("archive")
    stop = stop_on_signals()
    try:
        since = None if begin is None else instant(begin, round(time.time() * 1000))
        writing, loop = needing_pyarrow("replay.archive.writer"), needing_pyarrow("replay.archive.run")
        wait_for_broker(settings.kafka)
        topic = DETECTIONS.full_name(settings.prefix)
        with writing.Writer(folder, topic, topic_id(settings.kafka, topic)) as writer:
            if begin is not None and writer.ledger.partitions:
                _fail(f"{folder}: goes on where it stopped; --from is for a new archive", EXIT_CONFIG)
            log.info("archiving", topic=topic, folder=str(folder))
            told = loop.Told(follow, every, accept_gap, since)
            health = Health("archive", stop.is_set)
            health.serve(settings.health_port if follow else None, settings.health_host)
            try:
                loop.archive(
                    settings.kafka, told, writer, stop, lambda batch: log.info("archived", **batch._asdict()), health
                )
            except loop.GapRefused as refused:
                _fail(str(refused), EXIT_CONFIG)
            finally:
                health.close()
    except (BadArchive, BadInstant) as bad:
        _fail(str(bad), EXIT_CONFIG)
    except BrokerUnreachable as error:
        _fail(str(error), EXIT_BROKER)
    except CannotServe as error:
        _fail(str(error), EXIT_FAULT)
    except OSError as error:
        _fail(f"{error.filename or folder}: {error.strerror or error}", EXIT_FAULT)


@archive.command()
@folder_argument
@click.option("--json", "as_json", is_flag=True, help="As one JSON document.")
def status(folder: Path, as_json: bool) -> None:
    """What an archive holds, and how far it has got. Reads names only; needs no Kafka.

    Exit codes: 0 shown, 2 the folder is no archive.
    """
    try:
        found = needing_pyarrow("replay.archive.status").status_of(folder)
    except BadArchive as bad:
        _fail(str(bad), EXIT_CONFIG)
    if as_json:
        click.echo(json.dumps(found.plain(), indent=1))
    else:
        click.echo("\n".join(found.lines()))


@archive.command()
@folder_argument
def check(folder: Path) -> None:
    """Read every file, and say where the offsets inside do not agree with the files' names and the ledger.

    Exit codes: 0 all agree, 1 some do not, 2 the folder is no archive.
    """
    try:
        audit = needing_pyarrow("replay.archive.audit").audit(folder)
    except BadArchive as bad:
        _fail(str(bad), EXIT_CONFIG)
    for problem in audit.problems:
        click.echo(f"error: {problem}", err=True)
    click.echo(f"{audit.files} files, {audit.events} events, {len(audit.problems)} problems")
    sys.exit(EXIT_FAULT if audit.problems else 0)


def _fail(text: str, code: int) -> NoReturn:
    click.echo(f"error: {text}", err=True)
    sys.exit(code)
