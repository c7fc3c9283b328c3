"""`/livez`, `/readyz`, `/health` and `/metrics` of a process that only speaks Kafka."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], str | None]
"""Answers None when well, else what is wrong in a few words."""

HEARTBEAT_SECONDS: Final = 30.0


class Health:
    """Collects a stage's checks and serves them.

    `/livez` looks at the heartbeat alone (restart me?), `/readyz` and `/health` at every check.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._checks: dict[str, Check] = {}
        self._started = time.monotonic()
        self._beat = self._started
        self._server: ThreadingHTTPServer | None = None

    def check(self, name: str, well: Check) -> None:
        """Adds a check."""
        self._checks[name] = well

    def uncheck(self, *names: str) -> None:
        """Takes checks away."""
        for name in names:
            self._checks.pop(name, None)

    def beat(self) -> None:
        """The stage's loop calls this at every turn; it must do so at least every 30 s."""
        self._beat = time.monotonic()

    def faults(self) -> dict[str, str]:
        """Every check that fails, with its words."""
        return {name: fault for name, check in list(self._checks.items()) if (fault := check()) is not None}

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body for ``path``."""
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest()
        if path == "/livez":
            silent = time.monotonic() - self._beat
            alive = silent < HEARTBEAT_SECONDS
            beat = {"status": "ok" if alive else "stuck", "silent_seconds": round(silent, 1)}
            return (200 if alive else 503), "application/json", json.dumps(beat).encode()
        if path in ("/readyz", "/health"):
            faults = self.faults()
            body: dict[str, object] = {
                "status": "failing" if faults else "ok",
                "stage": self._stage,
                "uptime_seconds": round(time.monotonic() - self._started, 1),
                "checks": {name: faults.get(name, "ok") for name in list(self._checks)},
            }
            return (503 if faults else 200), "application/json", json.dumps(body).encode()
        return 404, "application/json", b'{"status": "no such path"}'

    def serve(self, port: int, host: str = "127.0.0.1") -> int:
        """Serves in a thread; answers the port (``port`` 0 takes a free one)."""
        health = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, body = health.answer(self.path.split("?")[0])
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer((host, port), Answering)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stops serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
