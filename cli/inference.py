"""`backsight inference`."""

import sys
from pathlib import Path

import click

from cli.options import read_settings, refuse, stage_options
from inference.stage import run
from runtime.lifecycle import stop_on_signals
from runtime.logs import configure_logs
from schemas.documents.reading import read_document
from schemas.documents.services import InferenceSettings
from schemas.problems import BadDocument


@click.command()
@stage_options
@click.option(
    "--device",
    metavar="DEVICE",
    help="auto, cpu, cuda or cuda:N; wins over INFERENCE_DEVICE and services.yaml. Run one process for each GPU.",
)
def inference(configs: Path, prefix: str, device: str | None) -> None:
    """Look at frames: the topic frames to the topic detections, one event for each frame, also when nothing is seen.

    The model is that of INFERENCE_MODEL_PATH: an ONNX file, or any that Ultralytics loads where the extra is
    installed. Another model in services.yaml (`backsight models promote`) takes over without a restart and without
    losing a frame. Processes share the cameras as one consumer group; on one machine each takes a GPU of its own. Live
    frames older than inference.staleness_seconds are not looked at but recorded as skipped; frames of a file that is
    played without loss are all looked at, one by one. Ctrl-C or SIGTERM ends the batch under way and sends nothing
    twice.

    Exit codes: 0 stopped, 1 too many bad frames in a row or a fault, 2 a setting or the model does not check, 3 Kafka
    cannot be reached or a topic is missing, 4 the GPU asked for is not there, taken, or broken.
    """
    settings, environ = read_settings(configs, prefix)
    if device is not None:
        written = {**settings.services.inference.model_dump(), "device": device}
        try:
            told = read_document(InferenceSettings, written, "--device")
        except BadDocument as bad:
            refuse(bad.problems)
        services = settings.services.model_copy(update={"inference": told})
        settings = settings.model_copy(update={"services": services})
    configure_logs("inference")
    sys.exit(run(settings, stop_on_signals(), environ))
