"""What a connection that failed is called, whatever was spoken over it."""

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from router.retry import Answer

_UNREACHABLE: Final = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


def failure_of(error: BaseException) -> Answer:
    """A connection that did not come about, or ended, by its causes. The texts are ours: a client's may hold a URL."""
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Answer("later", "dns", "the host name is not known")
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Answer("later", "tls", f"certificate refused: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError):
            return Answer("later", "tls", cause.reason or "TLS failed")
    for cause in causes:
        if isinstance(cause, TimeoutError):
            return Answer("later", "timeout", "no answer in time")
        if isinstance(cause, ConnectionRefusedError) or getattr(cause, "errno", None) in _UNREACHABLE:
            return Answer("later", "unreachable", "no connection")
    return Answer("later", "broken", "the connection ended before an answer")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
