"""POSTs as the sinks that speak HTTP make them: TLS verified, no redirect followed, no proxy from the environment,
little of an answer read, and only to targets that the configuration allows.
"""

import asyncio
import contextlib
import email.utils
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from datetime import UTC
from typing import Final
from urllib.parse import urlsplit

import httpx

from router import outside
from router.retry import ACCEPTED, Answer, Reason
from router.targets import Address, Allowed, literal, wrong_address, wrong_host

CONNECT_SECONDS: Final = 5.0
BODY_SECONDS: Final = 1.0
"""The answer's body only serves to use the connection again, so it gets no longer."""
MAX_BODY_BYTES: Final = 64 * 1024
RESOLVED_SECONDS: Final = 10.0
"""How long a name's addresses are kept."""

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


class TargetRefused(httpx.ConnectError):
    """The name resolves to an address that is not allowed. The text holds no URL."""


class Poster:
    """POSTs to one URL. May be used again after `close`."""

    def __init__(
        self, url: str, *, deadline_seconds: float, allowed: Allowed | None = None, ca_file: str | None = None
    ) -> None:
        """Raises `ValueError`, naming the key, where URL, target or CA file do not check."""
        wrong = check_url(url)
        self._allowed = Allowed() if allowed is None else allowed
        wrong = wrong or wrong_host(host_of(url), self._allowed)
        if wrong is not None:
            raise ValueError(f"url: {wrong}")
        self._url = httpx.URL(url)
        self._headers = {"user-agent": "backsight", "accept": "*/*", **_login(self._url)}
        self._trusted = trusting(ca_file)
        # Only connecting has a limit of its own: a limit per read does not stop a receiver that drips, so the whole
        # attempt has a deadline, kept by the caller. Connecting gets a third of it: the TLS handshake has as much
        # again, and httpcore leaves a socket open whose handshake is cancelled.
        connect = min(CONNECT_SECONDS, deadline_seconds / 3)
        self._extensions = {"timeout": httpx.Timeout(None, connect=connect).as_dict()}
        self._names = _Names(self._allowed)
        self._idle: list[_Connection] = []

    async def post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        """One attempt. The status decides; a body that hangs or breaks after it does not change the answer."""
        request = httpx.Request(
            "POST", self._url, content=content, headers={**self._headers, **headers}, extensions=self._extensions
        )
        connection = self._idle.pop() if self._idle else _Connection(self._trusted, self._names)
        try:
            response = await connection.handle_async_request(request)
            try:
                answer = answer_of(response.status_code, response.headers.get("retry-after"), now=time.time())
                with contextlib.suppress(TimeoutError, httpx.HTTPError):
                    await _read_some(response)
                return answer
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            return failure_of(error)
        finally:
            self._idle.append(connection)

    async def close(self) -> None:
        """Closes the connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.aclose()


class _Names:
    """The addresses of names, kept for a while."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._resolved: dict[str, tuple[float, list[Address]]] = {}

    def check(self, host: str, address: Address) -> None:
        """Raises `TargetRefused`."""
        wrong = wrong_address(host, address, self._allowed)
        if wrong is not None:
            raise TargetRefused(wrong)

    def forget(self, host: str) -> None:
        """So that it is asked for again."""
        self._resolved.pop(host, None)

    async def addresses(self, host: str) -> list[Address]:
        """Raises `httpx.ConnectError`."""
        until, addresses = self._resolved.get(host, (0.0, []))
        if time.monotonic() < until:
            return addresses
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpx.ConnectError("the name does not resolve") from error
        addresses = list(dict.fromkeys(ipaddress.ip_address(each[4][0]) for each in found))
        self._resolved[host] = (time.monotonic() + RESOLVED_SECONDS, addresses)
        return addresses


class _Connection(httpx.AsyncHTTPTransport):
    """One connection, made again where it ended. Resolves names itself, so that the address that was checked is the one
    that is connected to.

    A pool of one each, and without a client around it: httpcore's pool looks at every connection at every step of every
    request, and the client builds anew what is always the same. Together that was two thirds of what a POST costs.
    """

    def __init__(self, trusted: ssl.SSLContext, names: _Names) -> None:
        super().__init__(verify=trusted, trust_env=False, limits=httpx.Limits(max_connections=1))
        self._names = names

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.raw_host.decode("ascii")
        if literal(host) is not None:
            return await super().handle_async_request(request)
        addresses = await self._names.addresses(host)
        for number, address in enumerate(addresses):
            self._names.check(host, address)
            there = httpx.Request(
                request.method,
                request.url.copy_with(host=str(address)),
                headers=request.headers,  # with the name as Host
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},  # the certificate is the name's
            )
            try:
                return await super().handle_async_request(there)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if number == len(addresses) - 1:
                    self._names.forget(host)
                    raise
        raise httpx.ConnectError("the name has no address") from socket.gaierror()


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


def failure_of(error: httpx.HTTPError) -> Answer:
    """An attempt without an answer. The texts are ours: a client's error may hold the whole URL."""
    answer = outside.failure_of(error)
    if answer.reason in ("dns", "tls"):
        return answer
    if isinstance(error, TargetRefused):
        return Answer("later", "forbidden_target", str(error))
    if isinstance(error, httpx.TimeoutException):
        return Answer("later", "timeout", "no connection in time")
    if isinstance(error, httpx.ConnectError):
        return Answer("later", "unreachable", "no connection")
    return Answer("later", "broken", f"{type(error).__name__} before an answer")


async def _read_some(response: httpx.Response) -> None:
    read = 0
    async with asyncio.timeout(BODY_SECONDS):
        async for piece in response.aiter_raw():
            read += len(piece)
            if read >= MAX_BODY_BYTES:
                return
