"""POSTs as the sinks that speak HTTP make them: TLS verified, no redirect followed, no proxy from the environment,
little of an answer read, and only to targets that the configuration allows.
"""

import asyncio
import contextlib
import email.utils
import ssl
import time
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Final
from urllib.parse import urlsplit

import httpcore
import httpx

from router import outside
from router.connecting import BROKEN, Connection, Names, Receiver, TargetRefused
from router.retry import ACCEPTED, Answer, Reason
from router.targets import Allowed, wrong_host

CONNECT_SECONDS: Final = 5.0
BODY_SECONDS: Final = 1.0
"""The answer's body only serves to use the connection again, so it gets no longer."""
MAX_BODY_BYTES: Final = 64 * 1024

PERMANENT: Final[dict[int, Reason]] = {
    400: "rejected",
    404: "not_found",
    405: "rejected",
    410: "gone",
    413: "too_large",
    415: "rejected",
    422: "rejected",
}
"""Answers that trying again does not change. Everything else that is no success is tried again."""


class Poster:
    """POSTs to one URL. May be used again after `close`."""

    def __init__(
        self, url: str, *, deadline_seconds: float, allowed: Allowed | None = None, ca_file: str | None = None
    ) -> None:
        """Raises `ValueError`, naming the key, where URL, target or CA file do not check."""
        wrong = check_url(url)
        allowed = Allowed() if allowed is None else allowed
        wrong = wrong or wrong_host(host_of(url), allowed)
        if wrong is not None:
            raise ValueError(f"url: {wrong}")
        to = httpx.URL(url)
        self._receiver = _receiver(to, trusting(ca_file))
        self._url = httpcore.URL(scheme=to.raw_scheme, host=to.raw_host, port=self._receiver.port, target=to.raw_path)
        login = _login(to)
        self._headers = _ascii(
            [("host", to.netloc.decode("ascii")), ("user-agent", "backsight"), ("accept", "*/*"), *login.items()]
        )
        # A limit per read does not stop a receiver that drips, so the whole attempt has a deadline, kept by the caller.
        # Connecting gets a third of it, so that another address of the name may be tried.
        self._connect_seconds = min(CONNECT_SECONDS, deadline_seconds / 3)
        self._names = Names(allowed)
        self._idle: list[Connection] = []

    async def post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        """One attempt. The status decides; a body that hangs or breaks after it does not change the answer."""
        length = ("content-length", str(len(content)))
        sent = [*self._headers, *_ascii([length, *headers.items()])]
        request = httpcore.Request(b"POST", self._url, headers=sent, content=content)
        connection = (
            self._idle.pop()
            if self._idle
            else Connection(self._receiver, self._names, connect_seconds=self._connect_seconds)
        )
        try:
            response = await connection.ask(request)
            try:
                answer = answer_of(response.status, _header(response, b"retry-after"), now=time.time())
                with contextlib.suppress(TimeoutError, *BROKEN):
                    await _read_some(response)
                return answer
            finally:
                await response.aclose()
        except (OSError, *BROKEN) as error:
            return failure_of(error)
        finally:
            self._idle.append(connection)

    async def close(self) -> None:
        """Closes the connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()


def _receiver(url: httpx.URL, trusted: ssl.SSLContext) -> Receiver:
    host = url.raw_host.decode("ascii")
    if url.scheme == "http":
        return Receiver(host, url.port or 80, None)
    trusted.set_alpn_protocols(["http/1.1"])
    return Receiver(host, url.port or 443, trusted)


def _ascii(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


def _login(url: httpx.URL) -> dict[str, str]:
    """The header for the login that a URL holds, if it does."""
    if not (url.username or url.password):
        return {}
    request = next(httpx.BasicAuth(url.username, url.password).auth_flow(httpx.Request("POST", url)))
    return {"authorization": request.headers["authorization"]}


def trusting(ca_file: str | None = None) -> ssl.SSLContext:
    """Trusts the usual authorities and the certificates of ``ca_file``. Raises `ValueError` where it is none."""
    trusted = httpx.create_ssl_context()
    trusted.load_default_certs()  # the machine's own authorities beside those that httpx brings
    if ca_file is not None:
        try:
            trusted.load_verify_locations(ca_file)
        except OSError as error:  # an ssl.SSLError too
            raise ValueError(f"ca_file: cannot be read ({type(error).__name__})") from None
    return trusted


def check_url(url: str) -> str | None:
    """What is wrong with a webhook's URL, or None. The answer never repeats the URL."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises on a port that is no number
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        return "is no URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "expected https://host/path or http://host/path"
    return None


def host_of(url: str) -> str:
    """The host of a URL that checks, as it is asked of the DNS."""
    return httpx.URL(url).raw_host.decode("ascii")


def answer_of(status: int, retry_after: str | None, *, now: float) -> Answer:
    """What an HTTP status says of the attempt. ``now``: Unix seconds, for a `Retry-After` that is a date."""
    shown = str(status)
    if 200 <= status < 300:
        return ACCEPTED
    if 300 <= status < 400:
        return Answer("never", "redirect", shown)
    if status in PERMANENT:
        return Answer("never", PERMANENT[status], shown)
    if status in (401, 403):
        return Answer("later", "unauthorized", shown)
    reason: Reason = "rate_limited" if status == 429 else "server_error" if status >= 500 else "client_error"
    return Answer("later", reason, shown, retry_after_ms(retry_after, now=now))


def retry_after_ms(value: str | None, *, now: float) -> int | None:
    """`Retry-After` (seconds, or an HTTP date) as milliseconds from ``now``; None where it says nothing."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return int(value[:9]) * 1000  # nine digits are thirty years
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0, round((date.timestamp() - now) * 1000))


def failure_of(error: Exception) -> Answer:
    """An attempt without an answer. The texts are ours: a client's error may hold the whole URL."""
    if isinstance(error, TargetRefused):
        return Answer("later", "forbidden_target", str(error))
    answer = outside.failure_of(error)
    if answer.reason in ("dns", "tls"):
        return answer
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return Answer("later", "timeout", "no connection in time")
    if isinstance(error, httpx.ConnectError | OSError):
        return Answer("later", "unreachable", "no connection")
    return Answer("later", "broken", f"{type(error).__name__} before an answer")


async def _read_some(response: httpcore.Response) -> None:
    read = 0
    async with asyncio.timeout(BODY_SECONDS):
        async for piece in response.aiter_stream():
            read += len(piece)
            if read >= MAX_BODY_BYTES:
                return
