"""`backsight api`."""

import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Final

import click
import uvicorn

from api.access import is_loopback
from api.app import from_settings
from api.tokens import TokenFile
from cli.options import read_settings, refuse, stage_options
from runtime.health import CannotServe, Health
from runtime.lifecycle import EXIT_FAULT, EXIT_OK, stop_on_signals
from runtime.logs import OnPurpose, configure_logs, get_logger
from schemas.documents.services import ApiSettings
from schemas.problems import BadDocument, Problem

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

    Whoever asks needs a token (`backsight tokens`); as long as there are none, this machine needs none. Where the API
    is to listen beyond this machine and there is none, one is made and shown once in the log. API_AUTH=off lets
    everybody in. API_TLS_CERTIFICATE and API_TLS_KEY make it HTTPS.

    Exit codes: 0 stopped, 1 a port is taken, 2 a setting does not check.
    """
    settings, environ = read_settings(configs, prefix)
    configure_logs("api")
    log = get_logger("cli.api")
    told = settings.services.api
    address = (told.host if host is None else host, told.port if port is None else port)
    try:
        _check_tls(told)
        if told.auth == "tokens" and not is_loopback(address[0]):
            _first_token(told)
        health = Health("api", draining=lambda: server.should_exit)
        application = from_settings(settings, environ, health)
    except BadDocument as bad:
        refuse(bad.problems)
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
            ssl_certfile=told.tls_certificate,
            ssl_keyfile=told.tls_key,
            ssl_keyfile_password=None if told.tls_key_password is None else told.tls_key_password.get_secret_value(),
        )
    )
    try:
        health.serve(settings.health_port, settings.health_host)
    except CannotServe as taken:
        log.error("cannot_listen", reason=str(taken))
        sys.exit(EXIT_FAULT)
    try:
        listening = _listen(*address)
    except OSError as error:
        log.error("cannot_listen", host=address[0], port=address[1], reason=error.strerror or str(error))
        sys.exit(EXIT_FAULT)
    log.info("api_listens", host=address[0], port=listening.getsockname()[1], tls=told.tls_certificate is not None)
    stop_on_signals()  # uvicorn raises the signal again when it has drained; the exit code is to be ours
    server.run(sockets=[listening])
    sys.exit(EXIT_OK if server.started else EXIT_FAULT)


def _first_token(told: ApiSettings) -> None:
    made = TokenFile(Path(told.tokens_file)).first(round(time.time() * 1000))
    if made is not None:
        get_logger("cli.api").warning(
            "first_token_made",
            token=OnPurpose(made),
            role="admin",
            use=OnPurpose("send it as `Authorization: Bearer TOKEN`; it is shown this once and kept as a hash alone"),
            others="`backsight tokens create NAME --role read`; `backsight tokens revoke first` ends this one",
        )


def _check_tls(told: ApiSettings) -> None:
    if told.tls_certificate is None or told.tls_key is None:
        return
    password = "" if told.tls_key_password is None else told.tls_key_password.get_secret_value()
    try:
        # Without a password the library would ask at the terminal.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            told.tls_certificate, told.tls_key, lambda: password
        )
    except OSError as error:  # an ssl.SSLError too
        reason = error.strerror or type(error).__name__
        raise BadDocument([Problem("API_TLS_CERTIFICATE, API_TLS_KEY", f"cannot be used: {reason}")]) from None


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
