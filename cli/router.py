"""`backsight router`."""

import sys
from pathlib import Path

import click

from cli.options import read_settings, stage_options
from router.stage import run
from runtime.lifecycle import stop_on_signals
from runtime.logs import configure_logs


@click.command()
@stage_options
def router(configs: Path, prefix: str) -> None:
    """Tell people of alerts: the topic alerts, to where configs/routes.yaml says, else ALERTING_PROTOCOL.

    \b
    stdout   a readable line per alert on a terminal, the exact alert as a JSON line when piped
    webhook  a JSON POST to ALERTING_WEBHOOK_URL, tried again until it is taken or too old
    others   `backsight sinks list` names the kinds, docs/sinks says what each does

    Every alert is delivered at least once and always under the same id (the header webhook-id); how each delivery
    ended is on the topic deliveries, and what could not be delivered on dead-letters. Ctrl-C or SIGTERM lets the
    attempts under way end and sends nothing twice.

    Exit codes: 0 stopped, 1 the sink is gone (nobody reads our stdout) or a fault, 2 a setting does not check,
    3 Kafka cannot be reached or the topic alerts is missing.
    """
    settings, _ = read_settings(configs, prefix)
    configure_logs("router")
    sys.exit(run(settings, stop_on_signals()))
