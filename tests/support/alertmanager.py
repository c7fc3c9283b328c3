"""Prometheus Alertmanager, the real one, on a port of its own.

Debian's package `prometheus-alertmanager`; another binary by `BACKSIGHT_ALERTMANAGER`.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CONFIGURATION = """
route: {{receiver: ours, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: ours, webhook_configs: [{{url: '{url}', send_resolved: true}}]}}]
"""


def binary() -> str | None:
    """Where it is, or None."""
    return os.environ.get("BACKSIGHT_ALERTMANAGER") or shutil.which("prometheus-alertmanager")


class Alertmanager:
    """A running one. ``url`` is where it listens."""

    def __init__(self, folder: Path, tells: str) -> None:
        self._folder = folder
        (folder / "alertmanager.yml").write_text(CONFIGURATION.format(url=tells))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begins, and waits until it answers."""
        found = binary()
        assert found is not None
        command = [
            found,
            f"--config.file={self._folder}/alertmanager.yml",
            f"--storage.path={self._folder}/data",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--cluster.listen-address=",
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5):
                    return
            except OSError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < until, "alertmanager did not begin"
                time.sleep(0.05)

    def stop(self) -> None:
        """Ends; what it was told is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)

    def active(self) -> list[dict[str, Any]]:
        """The alerts that it holds for active."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found


@contextmanager
def alertmanager(folder: Path, tells: str) -> Iterator[Alertmanager]:
    """One that tells ``tells`` at once of everything, one POST per alert."""
    running = Alertmanager(folder, tells)
    running.start()
    try:
        yield running
    finally:
        running.stop()
