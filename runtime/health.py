"""`/livez`, `/readyz`, `/health` and `/metrics` of every process, on BACKSIGHT_HEALTH_PORT."""

import errno
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from platform import python_version
from typing import Final, Literal, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from runtime.metrics import BUILD_INFO, READY, UPTIME
from runtime.version import version

Check = Callable[[], str | None]
"""Answers None when well, else what is wrong in a few words."""

Weight = Literal["degraded", "ready", "alive"]
"""What a failing check means: something is amiss and the rest goes on; no work can be done now; and only a new process
helps."""

HEARTBEAT_SECONDS: Final = 30.0
CLIENT_SECONDS: Final = 10.0
"""What a client gets to send its request."""


class CannotServe(RuntimeError):
    """The health port is not to be had. The words name the settings, and what to do."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        if error.errno == errno.EADDRINUSE:
            words = (
                f"BACKSIGHT_HEALTH_PORT: port {port} of {host} is taken by another process; "
                "end that one, or set it to a free port"
            )
        else:
            reason = error.strerror or str(error)
            words = f"BACKSIGHT_HEALTH_HOST, BACKSIGHT_HEALTH_PORT: cannot serve at {host}:{port} ({reason})"
        super().__init__(words)


class Health:
    """Collects a process's checks and serves them.

    `/livez` (restart me?) looks at the heartbeat and the checks of weight ``alive``, and at nothing outside the
    process. `/readyz` and `/health` look at every check; those of weight ``degraded`` are shown and fail neither. A
    process that is ``draining`` is not ready.
    """

    def __init__(self, stage: str, draining: Callable[[], bool] = lambda: False) -> None:
        self._stage = stage
        self._checks: dict[str, tuple[Check, Weight]] = {}
        self._since: dict[str, tuple[bool, float]] = {}
        self._facts: dict[str, Callable[[], object]] = {}
        self._started = time.monotonic()
        self._beat: float | None = None
        self._before_metrics: list[Callable[[], None]] = []
        self._server: ThreadingHTTPServer | None = None
        self.check("heartbeat", self._silent, "alive")
        self.check("draining", lambda: "is being stopped" if draining() else None)
        BUILD_INFO.labels(stage, version(), python_version()).set(1)

    def check(self, name: str, well: Check, weight: Weight = "ready") -> None:
        """Adds a check."""
        self._checks[name] = (well, weight)

    def uncheck(self, *names: str) -> None:
        """Takes checks away."""
        for name in names:
            self._checks.pop(name, None)

    def tell(self, name: str, fact: Callable[[], object]) -> None:
        """Adds something to `/health` that decides nothing; ``fact`` answers what JSON can hold."""
        self._facts[name] = fact

    def beat(self) -> None:
        """The stage's loop calls this at every turn; from the first on it must do so at least every 30 s."""
        self._beat = time.monotonic()

    def before_metrics(self, look: Callable[[], None]) -> None:
        """``look`` is called at each scrape, for what is only worth asking then."""
        self._before_metrics.append(look)

    def faults(self) -> dict[str, str]:
        """Every check that fails and lets no work be done, with its words."""
        return {each.name: each.detail for each in self._look() if each.detail and each.weight != "degraded"}

    def answer(self, target: str) -> tuple[int, str, bytes]:
        """Status, content type and body for the path (and query) ``target``."""
        path, _, query = target.partition("?")
        if path == "/metrics":
            for look in self._before_metrics:
                look()
            UPTIME.labels(self._stage).set(time.monotonic() - self._started)
            READY.labels(self._stage).set(not self.faults())
            return 200, CONTENT_TYPE_LATEST, generate_latest()
        if path not in ("/livez", "/readyz", "/health"):
            return 404, "application/json", b'{"status": "no such path"}'
        found = [each for each in self._look() if path != "/livez" or each.weight == "alive"]
        failing = any(each.detail and each.weight != "degraded" for each in found)
        degraded = any(each.detail for each in found)
        body: dict[str, object] = {"status": "failing" if failing else "degraded" if degraded else "ok"}
        if path == "/health":
            uptime = round(time.monotonic() - self._started, 1)
            body |= {"stage": self._stage, "version": version(), "uptime_seconds": uptime}
            body |= {name: fact() for name, fact in list(self._facts.items())}
        if path == "/health" or "verbose" in query:
            body["checks"] = {each.name: each.shown() for each in found}
        return (503 if failing else 200), "application/json", json.dumps(body).encode()

    def serve(self, port: int | None, host: str = "127.0.0.1") -> int | None:
        """Serves in a thread; answers the port (0 takes a free one). None: not at all. Raises `CannotServe`."""
        if port is None:
            return None
        health = self

        class Answering(BaseHTTPRequestHandler):
            timeout = CLIENT_SECONDS

            def do_GET(self) -> None:
                status, kind, body = health.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        try:
            self._server = ThreadingHTTPServer((host, port), Answering)
        except OSError as error:
            raise CannotServe(host, port, error) from None
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stops serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _silent(self) -> str | None:
        silent = 0.0 if self._beat is None else time.monotonic() - self._beat
        return None if silent < HEARTBEAT_SECONDS else f"the loop has not turned for {silent:.0f} s"

    def _look(self) -> "list[_Seen]":
        now = time.time()
        found = []
        for name, (check, weight) in list(self._checks.items()):
            detail = check()
            well, since = self._since.get(name, (None, now))
            if well is not (detail is None):
                self._since[name] = detail is None, now
                since = now
            found.append(_Seen(name, weight, detail, since))
        return found


class _Seen(NamedTuple):
    """A check as it was seen now; ``since`` (seconds UTC) is when it was first seen so."""

    name: str
    weight: Weight
    detail: str | None
    since: float

    def shown(self) -> dict[str, object]:
        status = "ok" if self.detail is None else "degraded" if self.weight == "degraded" else "failing"
        shown: dict[str, object] = {"status": status, "since": round(self.since * 1000)}
        return shown if self.detail is None else {**shown, "detail": self.detail}
