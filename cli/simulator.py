"""`backsight simulator`."""

import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from demos.rtsp_server import RtspServer
from demos.simulator import simulate
from demos.yard_demo import CAMERAS, yards_of
from runtime.lifecycle import EXIT_FAULT, stop_on_signals
from runtime.logs import configure_logs
from runtime.settings import environment, load_settings

PORT: Final = 8554
SEED: Final = 7
"""That of demos/configs/rois.yaml."""


@click.command()
@click.option("--cameras", type=click.IntRange(1, len(CAMERAS)), default=2, show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(10, 900), default=60, show_default=True, help="Of film, again and again."
)
@click.option("--seed", type=int, default=SEED, show_default=True, help="Another seed is another yard.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True)
def simulator(cameras: int, seconds: float, seed: int, host: str, port: int) -> None:
    """Play the synthetic yard over RTSP, as cameras would: rtsp://HOST:PORT/yard_gate, …/yard_dock, …

    Foreign objects come into the forbidden ROI and leave it; what is forbidden is in demos/configs/rois.yaml. Needs
    GStreamer's RTSP server.

    Exit codes: 0 stopped, 1 GStreamer is missing, or the port is taken.
    """
    if not RtspServer.available():
        click.echo(
            "error: no GStreamer RTSP server on this machine; on Debian: apt-get install gir1.2-gst-rtsp-server-1.0 "
            "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad python3-gi",
            err=True,
        )
        sys.exit(EXIT_FAULT)
    configure_logs("simulator")
    stop = stop_on_signals()
    settings = load_settings(Path("configs"), environment())
    with tempfile.TemporaryDirectory(prefix="backsight-clips-") as folder:
        code = simulate(yards_of(seed, cameras), Path(folder), seconds, host, port, settings, stop)
    sys.exit(code)
