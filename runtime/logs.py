"""Logs: one JSON object a line (or readable on a terminal), on stderr, credentials taken out of every value."""

import logging
import sys
import threading
from types import TracebackType
from typing import Any

import structlog
from structlog.stdlib import BoundLogger
from structlog.typing import EventDict, WrappedLogger

from runtime.redact import HIDDEN, names_a_secret, redact


class OnPurpose(str):
    """A secret that is to stand in the log: the one time that it is told."""

    __slots__ = ()


def get_logger(name: str) -> BoundLogger:
    """A logger; events are a few snake_case words, facts are keys."""
    logger: BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def redacted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The net under structural redaction: no text value leaves with a credential, however deep it lies."""
    return {key: _named(key, value) for key, value in event.items()}


def _named(key: Any, value: Any) -> Any:
    if isinstance(key, str) and names_a_secret(key) and isinstance(value, str | bytes):
        return HIDDEN
    return _clean(value)


def _clean(value: Any) -> Any:
    if isinstance(value, OnPurpose):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _named(key, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    if isinstance(value, BaseException):
        return redact(f"{type(value).__name__}: {value}")
    return value


def _crashed(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    get_logger(__name__).critical("crashed", exc_info=(kind, error, trace))


def configure_logs(stage: str, level: str = "INFO", *, readable: bool | None = None) -> None:
    """Sets up logging of the whole process; ``stage`` stands in every line.

    ``readable`` None: readable where stderr is a terminal, JSON elsewhere. Other libraries' records (Faust, uvicorn,
    aiokafka) go the same way.
    """
    if readable is None:
        readable = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        lambda _logger, _method, event: {"stage": stage, **event},
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redacted,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer(default=str)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Python itself would print what nobody caught, as it is.
    sys.excepthook = _crashed
    threading.excepthook = lambda told: _crashed(told.exc_type, told.exc_value, told.exc_traceback)
    # The clients' own talk at INFO says nothing that our events do not.
    for chatty in ("aiokafka", "faust", "mode", "httpx", "httpcore", "asyncio", "libav", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
