"""One log line per request, without its query, with the name of the token. Probes are quiet unless they fail."""

import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.logs import get_logger
from runtime.metrics import API_REQUESTS, API_SECONDS

QUIET: Final = frozenset({"/health", "/livez", "/readyz", "/metrics"})

LONGEST_PATH: Final = 200
"""Letters that are logged of a path: what strangers send may have 64 kB."""

log = get_logger("api.access")


class AccessLog:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything through and notes the status on its way out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            if scope["path"] not in QUIET:
                seconds = time.perf_counter() - started
                milliseconds = round(seconds * 1000, 1)
                API_REQUESTS.labels(str(status)).inc()
                API_SECONDS.observe(seconds)
                caller = scope.get("state", {}).get("caller")
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"][:LONGEST_PATH],
                    status=status,
                    ms=milliseconds,
                    caller=caller,
                )
