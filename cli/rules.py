"""`backsight rules …`."""

import sys
from pathlib import Path

import click

from cli.options import read_settings, stage_options
from runtime.lifecycle import stop_on_signals
from runtime.logs import configure_logs


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
