"""`backsight demo`: the pipeline on the synthetic yard."""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from cli.config import check_folder
from cli.options import read_settings, refuse
from cli.up import told_sinks
from demos.yard_demo import CAMERAS, YardDemo, yards_of
from router.sinks.stdout import readable_line
from runtime.broker.ports import is_free, pick_free
from runtime.lifecycle import EXIT_FAULT, EXIT_OK, stop_on_signals
from runtime.pipeline.run import UpOptions, run_up
from runtime.settings import KafkaSettings
from schemas.codec import decode
from schemas.messages import Alert

OWN = (
    "INFERENCE_MODEL_PATH",
    "INFERENCE_CONFIDENCE",
    "ALERTING_PROTOCOL",
    "ALERTING_WEBHOOK_URL",
    "PICTURE_MEMORY_URL",
    "EVIDENCE_URL",
    "BACKSIGHT_PREFIX",
)


@click.command()
@click.option("--duration", type=click.FloatRange(20, 900), default=60, show_default=True, metavar="SECONDS")
@click.option("--cameras", type=click.IntRange(1, len(CAMERAS)), default=2, show_default=True)
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed is another yard.")
@click.option("--keep", is_flag=True, help="Keep clips, documents, Kafka data and logs, and say where.")
@click.option("--rtsp/--files", default=None, help="Ask for RTSP, or for files; the default is RTSP where it is there.")
def demo(duration: float, cameras: int, seed: int, keep: bool, rtsp: bool | None) -> None:
    """Watch a synthetic yard: cameras, alerts, and at the end a table against the scene's truth.

    Foreign objects come into a forbidden ROI and leave it: those alert. Logs (pine) and workers pass through it all the
    time: those do not. Everything is the real pipeline: Kafka, RTSP where GStreamer's server is installed, the shipped
    detector, the Faust rules. Exit code 0: every alert as the truth expects, 1: not.
    """
    stop = stop_on_signals()
    console = Console(stderr=True)
    folder = Path(tempfile.mkdtemp(prefix="backsight-demo-"))
    scene = YardDemo(folder, yards_of(seed, cameras), duration)
    try:
        scene.prepare(lambda text: console.print(text, highlight=False), rtsp=rtsp)
        settings, environ = read_settings(scene.configs, "")
        environ = {name: value for name, value in environ.items() if name not in OWN}
        if not environ.get("API_PORT") and not is_free(settings.services.api.port):
            environ["API_PORT"] = str(pick_free())
        prefix = f"demo-{datetime.now(UTC):%Y%m%dT%H%M%S}." if settings.kafka_is_given else ""
        environ["BACKSIGHT_PREFIX"] = prefix
        checked = check_folder(scene.configs, environ)
        if checked.problems:
            refuse(checked.problems)
        assert checked.settings is not None, "documents that check"
        show = None
        if sys.stdout.isatty():

            def show(line: bytes) -> None:
                console.print(readable_line(decode(Alert, line)), markup=False, highlight=False)

        def before_end(kafka: KafkaSettings) -> None:
            scene.look_back(kafka, prefix)

        options = UpOptions(
            configs=scene.configs,
            data=folder,
            checked=checked,
            environ=environ,
            sinks=told_sinks(checked.settings, environ),
            prefix=prefix,
            duration=duration,
            broker_port=0,
            show_alert=show,
            console=console,
            before_end=before_end,
        )
        code = run_up(options, stop)
        if scene.rows:
            scene.show(console)
        if code == EXIT_OK and not stop.is_set() and not scene.well:
            code = EXIT_FAULT
    finally:
        scene.close()
        if keep:
            console.print(f"kept: {folder}; its Kafka again: backsight kafka up --data {folder}/kafka", highlight=False)
        else:
            scene.remove()
    sys.exit(code)
