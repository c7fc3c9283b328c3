"""`backsight up` as a child process, and what it wrote to the topics."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from demos.truth import read_topic
from runtime.settings import KafkaSettings

REPOSITORY = Path(__file__).parents[2]


class Record(NamedTuple):
    """One record of a topic."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: dict[str, bytes]


def records(bootstrap: str, topic: str) -> list[Record]:
    """Every record of the topic, in partition and offset order."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    return sorted(
        Record(partition, offset, key, value, dict(headers))
        for partition, offset, key, value, headers in read_topic(kafka, topic)
    )


def environment(bootstrap: str | None, **extra: str) -> Mapping[str, str]:
    """The environment of a child, without settings of the person who runs the tests."""
    ours = ("KAFKA_", "INFERENCE_", "ALERTING_", "PICTURE_", "API_", "BACKSIGHT_", "REDIS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    for name in ("BACKSIGHT_CACHE", "BACKSIGHT_MAVEN_REPOSITORY"):
        if name in os.environ:
            kept[name] = os.environ[name]
    given = {} if bootstrap is None else {"KAFKA_BOOTSTRAP_SERVERS": bootstrap}
    return {**kept, **given, **extra}


class Up:
    """A running `backsight` command with its output in files."""

    def __init__(self, arguments: list[str], environ: Mapping[str, str], folder: Path) -> None:
        self.folder = folder
        self._out = (folder / "stdout").open("wb")
        self._err = (folder / "stderr").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            env=dict(environ),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
        )

    @property
    def stdout(self) -> str:
        """So far."""
        return (self.folder / "stdout").read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        """So far."""
        return (self.folder / "stderr").read_text(encoding="utf-8")

    def children(self) -> dict[str, psutil.Process]:
        """The running stages by name."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                line = child.cmdline()
                if "cli.main" in line:
                    found[line[line.index("cli.main") + 1]] = child
        return found

    def logs(self, data: Path) -> str:
        """The end of every stage's log, for a failing test to show."""
        parts = [self.stderr[-4000:]]
        for log in sorted((data / "logs").glob("*.log")):
            parts.append(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")
        return "\n".join(parts)

    def wait(self, seconds: float) -> int:
        """The exit code."""
        return self.process.wait(seconds)

    def close(self) -> None:
        """Ends it, kindly first."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._out.close()
        self._err.close()


@contextlib.contextmanager
def running(arguments: list[str], environ: Mapping[str, str], folder: Path) -> Iterator[Up]:
    """Starts `backsight ARGUMENTS`; ends it when the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    up = Up(arguments, environ, folder)
    try:
        yield up
    finally:
        up.close()


def until(condition, seconds: float, what: str, instead=lambda: "") -> None:  # type: ignore[no-untyped-def]
    """Waits for an event by looking every 50 ms; ``instead`` says what there is when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}; instead: {instead()}"
        time.sleep(0.05)
