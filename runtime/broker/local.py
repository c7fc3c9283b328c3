"""LocalBroker: start, stop, kill and look at one broker in one data folder."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from runtime.broker import ports, state
from runtime.broker.errors import BrokerError
from runtime.broker.installation import install
from runtime.broker.jars import Say, exclusive
from runtime.broker.launch import (
    PROPERTIES_FILE,
    Installation,
    format_folder,
    is_formatted,
    responds,
    spawn,
    wait_until_ready,
)
from runtime.broker.properties import HOST, server_properties, write_properties
from runtime.broker.state import BrokerState
from runtime.broker.trouble import why_it_died

DEFAULT_PORT = 9092
START_SECONDS = 60.0
STOP_SECONDS = 20.0
_PORT_TRIES = 5


@dataclass(frozen=True)
class BrokerStatus:
    """What is known of the broker of a folder.

    `up` answers; `stuck` runs and does not answer; `died` ended without being asked; `down` was stopped or never ran.
    """

    state: Literal["up", "stuck", "died", "down"]
    pid: int | None = None
    port: int | None = None
    controller_port: int | None = None
    started_at: int | None = None  # ms UTC
    why: str = ""  # for `died`: a sentence and the end of the log


class LocalBroker:
    """A Kafka broker whose data lives in `data`, listening on 127.0.0.1 only.

    `port` None is 9092; 0 is a free one, kept for the folder's next start where it is still free then.
    `controller_port` (KRaft's own) is a free one unless given. `overrides` are further server.properties.
    `bound`: it ends with the thread that started it, even by kill -9 (Linux's `setpriv`; elsewhere it does nothing).
    Several objects, also in several processes, may name the same folder: they speak of the same broker.
    """

    def __init__(
        self,
        data: Path | str,
        port: int | None = None,
        controller_port: int | None = None,
        *,
        overrides: Mapping[str, str] | None = None,
        bound: bool = False,
        start_seconds: float = START_SECONDS,
        say: Say = lambda _: None,
    ) -> None:
        self.data = Path(data).expanduser().absolute()
        self._wanted_port = DEFAULT_PORT if port is None else port
        self._wanted_controller_port = controller_port or 0
        self._overrides = dict(overrides or {})
        self._bound = bound
        self._start_seconds = start_seconds
        self._say = say

    @property
    def port(self) -> int:
        """The port clients connect to; BrokerError before the first start with `port=0`."""
        known = state.read_state(self.data)
        if known is not None and (self._wanted_port in (0, known.port) or state.is_alive(known)):
            return known.port
        if self._wanted_port:
            return self._wanted_port
        raise BrokerError(f"The broker of {self.data} has no port yet: start it first.")

    @property
    def bootstrap(self) -> str:
        """For KAFKA_BOOTSTRAP_SERVERS: "127.0.0.1:PORT"."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        known = state.read_state(self.data)
        return known.pid if known is not None and state.is_alive(known) else None

    def start(self) -> bool:
        """Start and wait until it answers. True if this call started it, False if it was up. BrokerError says why not.

        Data of earlier starts is kept. The broker outlives this process unless it is stopped (or `bound`).
        """
        try:
            (self.data / "tmp").mkdir(parents=True, exist_ok=True)
            with exclusive(self.data / "start.lock"):
                known = state.read_state(self.data)
                if known is not None and state.is_alive(known):
                    self._wait_for_running(known)
                    return False
                self._launch(install(say=self._say), known)
                return True
        except OSError as error:
            raise BrokerError(f"The local Kafka cannot use {self.data}: {error.strerror or error}.") from None

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """End it cleanly (SIGTERM; SIGKILL after `seconds`). False if it was not running."""
        known = state.read_state(self.data)
        if known is None:
            return False
        was_alive = state.is_alive(known)
        if was_alive and not self._end(known, signal.SIGTERM, seconds):
            self._end(known, signal.SIGKILL, seconds)
        state.write_state(self.data, replace(known, wanted=False))
        return was_alive

    def kill(self) -> None:
        """SIGKILL, as a power cut would: for chaos tests. Returns when the process is gone."""
        known = state.read_state(self.data)
        if known is not None and state.is_alive(known):
            self._end(known, signal.SIGKILL, STOP_SECONDS)

    def status(self) -> BrokerStatus:
        """Ask the process and the broker."""
        known = state.read_state(self.data)
        if known is None:
            return BrokerStatus("down")
        if state.is_alive(known):
            answer: Literal["up", "stuck"] = "up" if responds(known.port) else "stuck"
            return BrokerStatus(answer, known.pid, known.port, known.controller_port, known.started_at)
        if known.wanted:
            why = why_it_died(self.data, state.exit_status(known))
            return BrokerStatus("died", None, known.port, known.controller_port, known.started_at, why)
        return BrokerStatus("down", None, known.port, known.controller_port)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, installation: Installation, known: BrokerState | None) -> None:
        for _ in range(_PORT_TRIES):
            port, controller_port = self._choose_ports(known)
            self._prepare(installation, port, controller_port)
            child = spawn(installation, self.data, bound=self._bound)
            fresh = BrokerState(
                pid=child.pid,
                born=state.adopt(child),
                port=port,
                controller_port=controller_port,
                started_at=time.time_ns() // 1_000_000,
                java=f"{installation.java.major} {installation.java.path}",
            )
            state.write_state(self.data, fresh)
            if wait_until_ready(port, partial(state.is_alive, fresh), self._start_seconds):
                return
            if state.is_alive(fresh):
                self._end(fresh, signal.SIGKILL, STOP_SECONDS)
                why = why_it_died(self.data)
                raise BrokerError(f"The local Kafka did not answer within {self._start_seconds:.0f} s: {why}")
            if ports.is_free(port) and ports.is_free(controller_port):
                break
            known = None  # somebody took a port between our look and Kafka's: try others, unless it was asked for
        raise BrokerError(f"The local Kafka died while starting: {why_it_died(self.data, state.exit_status(fresh))}")

    def _prepare(self, installation: Installation, port: int, controller_port: int) -> None:
        for leftover in (self.data / "tmp").iterdir():  # native libraries of a broker that was killed
            leftover.unlink(missing_ok=True)
        write_properties(self.data / PROPERTIES_FILE, server_properties(port, controller_port, self._overrides))
        if not is_formatted(self.data):
            format_folder(installation, self.data)

    def _wait_for_running(self, known: BrokerState) -> None:
        if self._wanted_port not in (0, known.port):
            raise BrokerError(
                f"The broker of {self.data} is up on port {known.port}, not {self._wanted_port}. "
                "Stop it first, or use another data folder."
            )
        if not wait_until_ready(known.port, lambda: state.is_alive(known), self._start_seconds):
            raise BrokerError(f"The broker of {self.data} (process {known.pid}) runs but does not answer.")

    def _choose_ports(self, known: BrokerState | None) -> tuple[int, int]:
        remembered = (known.port, known.controller_port) if known is not None else (0, 0)
        port = self._one_port(self._wanted_port, remembered[0], frozenset(), "--port")
        taken = frozenset({port})
        controller = self._one_port(self._wanted_controller_port, remembered[1], taken, "--controller-port")
        if port == controller:
            raise BrokerError(f"Port {port} cannot be both the client's and the controller's.")
        return port, controller

    def _one_port(self, wanted: int, remembered: int, avoid: frozenset[int], option: str) -> int:
        if wanted:
            if not ports.is_free(wanted):
                raise BrokerError(
                    f"Port {wanted} on {HOST} is taken by another program. "
                    f"Choose another with {option} ({option} 0 finds a free one), or end that program."
                )
            return wanted
        if remembered and remembered not in avoid and ports.is_free(remembered):
            return remembered
        return ports.pick_free(avoid)

    @staticmethod
    def _end(known: BrokerState, number: signal.Signals, seconds: float) -> bool:
        """Signal the process and wait for its end; False when it still runs after `seconds`."""
        try:
            os.kill(known.pid, number)
        except ProcessLookupError:
            return True
        deadline = time.monotonic() + seconds
        while state.is_alive(known):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True
