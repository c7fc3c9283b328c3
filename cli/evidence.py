"""`backsight evidence`."""

import sys
from pathlib import Path

import click

from cli.options import read_settings, stage_options
from evidence.process import run
from runtime.lifecycle import stop_on_signals
from runtime.logs import configure_logs


@click.command()
@stage_options
def evidence(configs: Path, prefix: str) -> None:
    """Keep the picture of every opened alert: the topics alerts and frames, to evidence.url.

    Of the frame that confirmed the alert a JPEG is kept with polygon, box, anchor point and words drawn in, and the
    frame itself beside it, for evidence.days. The API serves both, and makes a clip while the frames are there.

    Exit codes: 0 stopped, 1 a fault, 2 a setting does not check, 3 Kafka cannot be reached or a topic is missing.
    """
    settings, _ = read_settings(configs, prefix)
    configure_logs("evidence")
    sys.exit(run(settings, stop_on_signals()))
