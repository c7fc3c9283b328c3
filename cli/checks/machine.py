"""Memory, disk, clock and ports of this machine."""

import os
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx

from cli.checks.finding import Finding, fault, note, ok, warning
from cli.checks.readings import Readings
from demos.rtsp_server import RtspServer
from runtime.broker.ports import is_free
from runtime.settings import Settings

GIB: Final = 1024**3
LEAST_MEMORY: Final = GIB // 4
LITTLE_MEMORY: Final = GIB
LEAST_DISK: Final = GIB
LITTLE_DISK: Final = 10 * GIB
SOONEST: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""A clock that shows an earlier time than this program was written in was never set."""

_EXTRAS: Final = {
    "archive": "pyarrow",
    "notify": "apprise",
    "s3": "s3fs",
    "tracing": "opentelemetry",
    "ultralytics": "ultralytics",
}


def memory(readings: Readings) -> Finding:
    """Whether the stages will find memory."""
    said = f"{_size(readings.memory_available)} of {_size(readings.memory_total)} available"
    if readings.memory_available < LEAST_MEMORY:
        return fault("memory", said, "end other programs, raise the container's limit, or lower inference.batch_size")
    if readings.memory_available < LITTLE_MEMORY:
        return warning("memory", said, "a stage takes 0.2 to 0.6 GB: give the machine or container more")
    return ok("memory", said)


def disks(readings: Readings, folders: dict[str, Path]) -> list[Finding]:
    """Whether what is kept (``folders``: what for, and where) can be written, and for how long."""
    return [_disk(readings, what, folder) for what, folder in folders.items()]


def _disk(readings: Readings, what: str, folder: Path) -> Finding:
    subject = f"disk for {what}"
    space = readings.space(folder)
    said = f"{folder}: {_size(space.free)} of {_size(space.total)} free"
    if not space.writable:
        return fault(subject, f"{folder}: this user may not write there", f"chown it to user {os.getuid()}")
    if space.free < LEAST_DISK:
        return fault(subject, said, "free some: a full disk stops Kafka; `backsight plan` says what cameras need")
    if space.free < LITTLE_DISK:
        return warning(subject, said, "`backsight plan --cameras N` says what N cameras need")
    return ok(subject, said)


def clock(readings: Readings) -> Finding:
    """Whether `captured_at` will be right: ingest stamps frames with this machine's clock."""
    local = datetime.fromtimestamp(readings.now).astimezone()
    said = f"{datetime.fromtimestamp(readings.now, UTC):%Y-%m-%d %H:%M:%S} UTC, local zone {local.tzname()}"
    if readings.now < SOONEST:
        return fault("clock", f"{said}: it was never set", "set it, and install chrony or systemd-timesyncd")
    if readings.synchronized is False:
        do = "install chrony or systemd-timesyncd: frames are stamped with this clock, and several machines must agree"
        return warning("clock", f"{said}: follows no time server", do)
    return ok("clock", said if readings.synchronized is None else f"{said}, follows a time server")


def parts() -> Finding:
    """Which optional parts are installed; none is needed to run."""
    here = ", ".join(f"{name} {'yes' if find_spec(module) else 'no'}" for name, module in _EXTRAS.items())
    server = "yes" if RtspServer.available() else "no, so that `backsight demo` plays files"
    return note("optional parts", f"{here}; GStreamer's RTSP server {server}")


def ports(settings: Settings) -> list[Finding]:
    """Whether the ports that are to be served are free, or served by us already."""
    wanted = {"API_PORT": settings.services.api.port, "BACKSIGHT_HEALTH_PORT": settings.health_port}
    return [_port(name, port) for name, port in wanted.items() if port]


def _port(name: str, port: int) -> Finding:
    subject = f"port {port}"
    if is_free(port):
        return ok(subject, f"free ({name}); nothing of Backsight serves it now")
    if _is_ours(port):
        return ok(subject, f"served by Backsight ({name})")
    return fault(subject, "taken by another program", f"end that program, or set {name} to a free port")


def _is_ours(port: int) -> bool:
    for scheme in ("http", "https"):
        try:
            # Not to be trusted, only recognised: the certificate is for another name.
            answer = httpx.get(f"{scheme}://127.0.0.1:{port}/livez", timeout=2, trust_env=False, verify=False)  # noqa: S501
            return "status" in answer.json()
        except (httpx.HTTPError, ValueError, TypeError):
            continue
    return False


def programs() -> Finding:
    """What is installed, for a report."""
    names = ("backsight", "confluent-kafka", "faust-streaming", "onnxruntime", "av", "opencv-python")
    return note("versions", ", ".join(f"{name} {version(name)}" for name in names))


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GB" if count >= GIB else f"{count / 1024**2:.0f} MB"
