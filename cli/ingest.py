"""`backsight ingest`."""

import sys
from pathlib import Path

import click

from cli.options import read_settings, refuse, stage_options
from runtime.lifecycle import stop_on_signals
from runtime.logs import configure_logs
from schemas.problems import BadDocument


@click.command()
@stage_options
def ingest(configs: Path, prefix: str) -> None:
    """Read the cameras of cameras.yaml and publish sampled frames on the topic frames.

    One process serves many cameras. Start it more than once, on one machine or several, and the processes share the
    cameras: no camera is read twice, and those of a process that dies move to the others within about 15 s. Changes in
    cameras.yaml take effect within seconds.

    Ends by itself when every camera is a file that has been played. Exit codes: 0 stopped or played to the end,
    1 a fault or the health port is taken, 2 cameras.yaml does not check or a file with `realtime: false` cannot be
    played, 3 Kafka cannot be reached or the topics are missing.
    """
    settings, _ = read_settings(configs, prefix)
    configure_logs("ingest")
    # Only here: `--help` need not wait for the video libraries.
    from ingest.stage import run

    try:
        sys.exit(run(settings, stop_on_signals()))
    except BadDocument as bad:
        refuse(bad.problems)
