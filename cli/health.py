"""`backsight health`: what a container's health check runs."""

import http.client
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from runtime.lifecycle import EXIT_FAULT, EXIT_OK

HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 9100
WAIT_SECONDS: Final = 5.0
"""Less than what a container's health check is given."""


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_PORT,
    envvar="BACKSIGHT_HEALTH_PORT",
    show_default=True,
    show_envvar=True,
    help="Where the process serves its health.",
)
def health(port: int) -> None:
    """Ask the process that runs beside this command, in this container or on this machine, whether it is well.

    \b
    ingest     at least one camera gives pictures
    inference  the model is loaded, and partitions are assigned
    rules      partitions are assigned and read back
    router     partitions are assigned; deliveries move, or none waits
    evidence   pictures can be kept
    api        the model is loaded

    Says what fails, each check with its reason. Exit codes: 0 well, 1 not well, or nobody answers.
    """
    try:
        status, body = _ask(port)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        click.echo(f"nobody answers at {HOST}:{port}: {reason}", err=True)
        sys.exit(EXIT_FAULT)
    well = status == http.client.OK
    stage = body.get("stage", "the process")
    click.echo(f"{stage} is well" if well else f"{stage} is not well ({status})", err=not well)
    for trouble in _troubles(body):
        click.echo(f"{stage}: {trouble}", err=not well)
    sys.exit(EXIT_OK if well else EXIT_FAULT)


def _ask(port: int) -> tuple[int, dict[str, Any]]:
    """Status and body of `/health`, straight from this machine, whatever proxies the environment names."""
    asking = http.client.HTTPConnection(HOST, port, timeout=WAIT_SECONDS)
    try:
        asking.request("GET", "/health")
        answer = asking.getresponse()
        content = answer.read()
    finally:
        asking.close()
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    return answer.status, body if isinstance(body, dict) else {}


def _troubles(body: Mapping[str, Any]) -> Iterator[str]:
    """Each check that is not ok, with its words."""
    for name, found in body.get("checks", {}).items():
        if "detail" in found:
            yield f"{name} {found['detail']}"
