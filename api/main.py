"""`uvicorn api.main:app`: the API with the settings of the environment.

Nothing is read when the module is imported; the application is made when the server asks for it first.
"""

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from api.app import from_settings
from runtime.logs import configure_logs
from runtime.settings import environment, load_settings


class _Lazy:
    """The application, made at its first call, which is the server's start-up."""

    def __init__(self) -> None:
        self._app: FastAPI | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            self._app = made()
        await self._app(scope, receive, send)


def made() -> FastAPI:
    """The application of `BACKSIGHT_CONFIGS` (or `configs`) and the environment; raises `BadDocument`."""
    configure_logs("api")
    environ = environment()
    return from_settings(load_settings(Path(environ.get("BACKSIGHT_CONFIGS") or "configs"), environ), environ)


app: Final = _Lazy()

__all__ = ["app", "made"]
