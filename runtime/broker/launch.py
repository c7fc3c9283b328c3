"""Start Kafka's two programs: StorageTool (formats the data folder, once) and the broker itself."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from runtime.broker.errors import BrokerError
from runtime.broker.java import Java
from runtime.broker.ports import answers
from runtime.broker.properties import HOST, LOG_FOLDER, jvm_options
from runtime.broker.trouble import LOG_FILE, mark_start, why_it_died

PROPERTIES_FILE = "server.properties"
_LOG_KEPT_BYTES = 8 * 2**20
_FORMAT_SECONDS = 120.0


@dataclass(frozen=True)
class Installation:
    """A Java, the jars, and (where it was made) the class-data archive of both."""

    java: Java
    jars: Sequence[Path]
    archive: Path | None = None

    def command(self, main: str, options: Sequence[str], arguments: Sequence[str]) -> list[str]:
        """An argv. The class path is spelt out: a class-data archive holds for one order of jars only."""
        class_path = os.pathsep.join(str(jar) for jar in self.jars)
        return [str(self.java.path), *options, "-cp", class_path, main, *arguments]


def is_formatted(data: Path) -> bool:
    """Whether a broker has been set up in the folder before."""
    return (data / LOG_FOLDER / "meta.properties").is_file()


def format_folder(installation: Installation, data: Path) -> None:
    """Give the folder a cluster id; server.properties must lie in it."""
    cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode("ascii")
    while cluster_id.startswith("-"):  # StorageTool would read it as an option
        cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode("ascii")
    arguments = ["format", "--ignore-formatted", "-t", cluster_id, "-c", PROPERTIES_FILE]
    command = installation.command("kafka.tools.StorageTool", jvm_options(data, installation.archive), arguments)
    with (data / LOG_FILE).open("ab") as log:
        try:
            done = subprocess.run(
                command,
                cwd=data,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=_FORMAT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BrokerError(f"Formatting {data} took more than {_FORMAT_SECONDS:.0f} s; is the disk stuck?") from None
    if done.returncode:
        raise BrokerError(f"Kafka could not be set up in {data}: {why_it_died(data, done.returncode)}")


def spawn(
    installation: Installation, data: Path, options: Sequence[str] = (), *, bound: bool = False
) -> subprocess.Popen[bytes]:
    """Start the broker in a session of its own (a Ctrl-C in our terminal is not for it), its output in the log file.

    `bound`: it gets SIGTERM when the thread that started it ends. setpriv becomes Java, so the pid is Java's.
    """
    log_path = data / LOG_FILE
    if log_path.exists() and log_path.stat().st_size > _LOG_KEPT_BYTES:
        log_path.replace(log_path.with_suffix(".log.1"))
    mark_start(data)
    command = installation.command(
        "kafka.Kafka", [*jvm_options(data, installation.archive), *options], [PROPERTIES_FILE]
    )
    if bound and (setpriv := shutil.which("setpriv")) is not None:
        command = [setpriv, "--pdeathsig", "TERM", *command]
    with log_path.open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=data,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_until_ready(port: int, is_alive: Callable[[], bool], seconds: float) -> bool:
    """True once an admin client is answered with a broker in the list; False when the process died or time is up."""
    deadline = time.monotonic() + seconds
    while not answers(port):
        if not is_alive() or time.monotonic() > deadline:
            return False
        time.sleep(0.03)
    admin = AdminClient(client_settings(port))
    while is_alive() and time.monotonic() < deadline:
        if _lists_a_broker(admin):
            return True
        time.sleep(0.03)
    return False


def responds(port: int, seconds: float = 3.0) -> bool:
    """Whether the broker answers an admin client within some seconds."""
    return answers(port) and _lists_a_broker(AdminClient(client_settings(port)), seconds)


def client_settings(port: int) -> dict[str, Any]:
    """librdkafka settings of a client that asks once and keeps quiet about it."""
    return {
        "bootstrap.servers": f"{HOST}:{port}",
        "log_level": 0,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 100,
        "socket.connection.setup.timeout.ms": 2000,
    }


def _lists_a_broker(admin: AdminClient, seconds: float = 1.0) -> bool:
    from confluent_kafka import KafkaException

    try:
        # A KRaft broker answers before its registration is through; then the list is empty and topics cannot be made.
        return bool(admin.list_topics(timeout=seconds).brokers)
    except KafkaException:
        return False


def _environment() -> Mapping[str, str]:
    # Options meant for other Java programs (a debugger's port, another heap) must not reach the broker.
    return {key: value for key, value in os.environ.items() if key not in {"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS"}}
