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
        self._url = url
        self._trusted = trusting(ca_file)
        self._connect_seconds = min(CONNECT_SECONDS, deadline_seconds / 3)
        self._client: httpx.AsyncClient | None = None

    async def post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        """One attempt. The status decides; a body that hangs or breaks after it does not change the answer."""
        if self._client is None:
            # Only connecting has a limit of its own: a limit per read does not stop a receiver that drips, so the
            # whole attempt has a deadline, kept by the caller. Connecting gets a third of it: the TLS handshake has as
            # much again, and httpcore leaves a socket open whose handshake is cancelled.
            self._client = httpx.AsyncClient(
                transport=_Checked(self._allowed, self._trusted),
                trust_env=False,
                follow_redirects=False,
                timeout=httpx.Timeout(None, connect=self._connect_seconds),
            )
        sent = {"user-agent": "backsight", **headers}
        try:
            async with self._client.stream("POST", self._url, content=content, headers=sent) as response:
                answer = answer_of(response.status_code, response.headers.get("retry-after"), now=time.time())
                with contextlib.suppress(TimeoutError, httpx.HTTPError):
                    await _read_some(response)
                return answer
        except httpx.HTTPError as error:
            return failure_of(error)

    async def close(self) -> None:
        """Closes the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class _Checked(httpx.AsyncHTTPTransport):
    """Resolves names itself, so that the address that was checked is the one that is connected to."""

    def __init__(self, allowed: Allowed, trusted: ssl.SSLContext) -> None:
        super().__init__(verify=trusted, trust_env=False)
        self._allowed = allowed
        self._resolved: dict[str, tuple[float, list[Address]]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.raw_host.decode("ascii")
        if literal(host) is not None:
            return await super().handle_async_request(request)
        addresses = await self._addresses(host)
        for number, address in enumerate(addresses):
            wrong = wrong_address(host, address, self._allowed)
            if wrong is not None:
                raise TargetRefused(wrong)
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
                    self._resolved.pop(host, None)
                    raise
        raise httpx.ConnectError("the name has no address") from socket.gaierror()

    async def _addresses(self, host: str) -> list[Address]:
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
