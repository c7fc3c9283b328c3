"""Stages as supervised processes: one that dies is reported and started again, with backoff."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from runtime.broker.ports import pick_free
from runtime.lifecycle import EXIT_CONFIG, EXIT_DEVICE, EXIT_OK, SUPERVISOR

BACKOFF_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_SECONDS: Final = 60.0
"""A process that ran for as long begins the backoff anew."""
STOP_SECONDS: Final = 20.0
"""A stage drains within 10 s of SIGTERM, the router within its sink's deadline of 15 s; after this it is killed."""

HOPELESS: Final = frozenset({EXIT_CONFIG, EXIT_DEVICE})
"""Exit codes after which a restart mends nothing."""

Say = Callable[[str], None]


class StageProcess:
    """One stage: its command, its log, its health port, and how often it was started."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
        stdout: int | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.health_port = pick_free()
        self.starts = 0
        self.finished = False
        self._command = [sys.executable, "-m", "cli.main", *arguments]
        self._environ = {**environ, "BACKSIGHT_HEALTH_PORT": str(self.health_port), SUPERVISOR: str(os.getpid())}
        self._stdout = stdout
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._start_again_at: float | None = None
        self._failures = 0

    @property
    def pid(self) -> int | None:
        """Of the running process, or None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Starts the process. It must be the main thread that calls: the child dies with the thread that began it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=dict(self._environ),
                stdin=subprocess.DEVNULL,
                stdout=self._stdout if self._stdout is not None else log,
                stderr=log,
                # A Ctrl-C on the terminal reaches only us: we stop the stages in order.
                start_new_session=True,
            )
        self.starts += 1
        self._started_at = time.monotonic()
        self._start_again_at = None

    def watch(self, say: Say) -> int | None:
        """Looks once. Answers an exit code after which nothing helps, else None; restarts when it is time."""
        if self.finished:
            return None
        now = time.monotonic()
        if self._start_again_at is not None:
            if now >= self._start_again_at:
                self.start()
            return None
        code = None if self._process is None else self._process.poll()
        if code is None:
            return None
        if code == EXIT_OK and self.name == "ingest":
            self.finished = True
            return None
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if code in HOPELESS:
            say(f"{self.name} {how}:\n{self.tail()}")
            return code
        if now - self._started_at > STEADY_SECONDS:
            self._failures = 0
        pause = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
        self._failures += 1
        self._start_again_at = now + pause
        say(f"{self.name} {how}; starting it again in {pause:g} s (log: {self.log})")
        return None

    def tell_to_stop(self) -> None:
        """SIGTERM: drain and end."""
        self._start_again_at = None
        if self.pid is not None and self._process is not None:
            self._process.terminate()

    def wait_stopped(self, seconds: float = STOP_SECONDS) -> int | None:
        """Waits for the end, kills after ``seconds``; answers the exit code."""
        if self._process is None:
            return None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def tail(self, lines: int = 12) -> str:
        """The end of its log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])
