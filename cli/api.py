"""`backsight api`."""

import socket
import sys
from pathlib import Path
from typing import Final

import click
import uvicorn

from api.app import from_settings
from cli.options import read_settings, refuse, stage_options
from runtime.lifecycle import EXIT_FAULT, EXIT_OK, stop_on_signals
from runtime.logs import configure_logs, get_logger
from schemas.problems import BadDocument

DRAIN_SECONDS: Final = 10


@click.command()
@stage_options
@click.option("--host", help="Address to listen at; API_HOST, else 127.0.0.1, unless given.")
@click.option("--port", type=click.IntRange(0, 65535), help="API_PORT, else 8000, unless given; 0 takes a free one.")
def api(configs: Path, prefix: str, host: str | None, port: int | None) -> None:
    """Serve the HTTP API: /health, /infer, /config/rois, /config/cameras, /metrics, /openapi.json.

    It runs a detector of its own on INFERENCE_DEVICE, so /infer needs no Kafka. /health is 200 once the model is
    loaded; until then, and when it cannot be, 503 with the reason.

    \b
    curl -s localhost:8000/health
    curl -s --data-binary @picture.jpg -H 'Content-Type: image/jpeg' 'localhost:8000/infer?camera_id=NAME'
    curl -s -F file=@picture.jpg -H 'Accept: image/jpeg' -o annotated.jpg localhost:8000/infer

    There is no authentication: listen beyond this machine only behind something that has. ROIs are replaced and alerts
    marked from this machine alone unless API_WRITABLE says otherwise.

    Exit codes: 0 stopped, 1 the port is taken, 2 a setting does not check.
    """
    settings, _ = read_settings(configs, prefix)
    configure_logs("api")
    log = get_logger("cli.api")
    try:
        application = from_settings(settings, draining=lambda: server.should_exit)
    except BadDocument as bad:
        refuse(bad.problems)
    told = settings.services.api
    address = (told.host if host is None else host, told.port if port is None else port)
    try:
        listening = _listen(*address)
    except OSError as error:
        log.error("cannot_listen", host=address[0], port=address[1], reason=error.strerror or str(error))
        sys.exit(EXIT_FAULT)
    log.info("api_listens", host=address[0], port=listening.getsockname()[1])
    # log_config None leaves uvicorn's records to our handler; the access log is ours too (api.access_log).
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            timeout_keep_alive=5,
            limit_concurrency=256,
        )
    )
    stop_on_signals()  # uvicorn raises the signal again when it has drained; the exit code is to be ours
    server.run(sockets=[listening])
    sys.exit(EXIT_OK if server.started else EXIT_FAULT)


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening
