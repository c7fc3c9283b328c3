"""One device over HTTP: digest login, one request at a time, and no second try of a login that was refused.

Every request fetches a challenge of its own. Some firmware takes a nonce twice only and then answers 401 without a
challenge, or as if the password were wrong; an unauthenticated request costs nothing, a mistaken 401 costs a lock-out.
"""

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import httpx

from router.isapi.answers import MOST_BYTES, Reply, lock_of, login_refused, reply_of
from router.isapi.profile import Request
from router.posting import failure_of, trusting
from router.retry import Answer

ASK_SECONDS: Final = 5.0
TURN_SECONDS: Final = 0.01


class Address(NamedTuple):
    """Where a device is. ``username`` and ``password`` are secret; empty where none are given."""

    origin: str
    prefix: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Address({self.origin})"


class _Door:
    """What is shared by everybody in this process who asks one device as one user."""

    def __init__(self) -> None:
        self.busy = threading.Lock()
        self.closed_until = 0.0
        self.closed_by = ""
        self.trusted = False


_DOORS: Final[dict[Address, _Door]] = {}
_DOORS_LOCK: Final = threading.Lock()


def address_of(url: str, username: str | None = None, password: str | None = None) -> Address:
    """The address in a URL whose user and password may stand before the host, percent-encoded, or beside it.

    Raises `ValueError`; the text never repeats the URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        raise ValueError("url: is no URL (a special character of the password is written %XX)") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("url: expected http://USER:PASSWORD@HOST or https://…, without a query")
    if username is not None and parts.username is not None:
        raise ValueError("username: stands in the url too")
    user = username if username is not None else unquote(parts.username or "")
    secret = password if password is not None else unquote(parts.password or "")
    if bool(user) != bool(secret):
        raise ValueError("username and password: one without the other")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    origin = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
    return Address(origin, parts.path.rstrip("/"), user, secret)


class Device:
    """Asks one device. ``tls_name``: the name in its certificate, where that is not the host's."""

    def __init__(
        self,
        address: Address,
        *,
        ask_seconds: float = ASK_SECONDS,
        trusted: ssl.SSLContext | None = None,
        tls_name: str | None = None,
    ) -> None:
        self._address = address
        self._seconds = ask_seconds
        self._extensions = {"sni_hostname": tls_name} if tls_name else {}
        # The whole request has one deadline: a limit per read would not stop a device that drips. Connecting has its
        # own, since httpcore leaves a socket open whose TLS handshake is cancelled.
        self._client = httpx.AsyncClient(
            verify=trusted or trusting(),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=ask_seconds / 3),
            limits=httpx.Limits(max_connections=1),
            headers={"user-agent": "backsight", "accept-encoding": "identity"},
        )
        with _DOORS_LOCK:
            self._door = _DOORS.setdefault(address, _Door())

    async def ask(self, request: Request) -> Reply:
        """One request to its answer, within five seconds of its turn. What goes wrong outside is a reply too.

        While a refused login must not be repeated nothing is sent.
        """
        async with self._turn():
            left = self._door.closed_until - time.monotonic()
            if left > 0:
                detail = f"{self._door.closed_by}; not tried again for {left:.0f} s"
                return Reply("login", Answer("later", "unauthorized", detail, round(left * 1000)))
            try:
                async with asyncio.timeout(self._seconds):
                    return await self._logged_in(request)
            except TimeoutError:
                return Reply("unreached", Answer("later", "timeout", f"no answer within {self._seconds:g} s"))
            except httpx.HTTPError as error:
                return Reply("unreached", failure_of(error))

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.aclose()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        # A thread's lock, because sinks live in a thread each; looked at, because a wait for it cannot be cancelled.
        while not self._door.busy.acquire(blocking=False):  # noqa: ASYNC110
            await asyncio.sleep(TURN_SECONDS)
        try:
            yield
        finally:
            self._door.busy.release()

    async def _logged_in(self, request: Request) -> Reply:
        """Once more where the device says that only its nonce was stale, or where this login was taken before."""
        for again in (True, False):
            response, body, tried = await self._exchange(request)
            if response.status_code != 401:
                self._door.trusted = self._door.trusted or tried
                return reply_of(response.status_code, body)
            lock = lock_of(body)
            if not tried and not lock.locked:
                return reply_of(401, body)  # no password was sent: nothing that could lock us out
            stale = "stale=true" in response.headers.get("www-authenticate", "").lower().replace('"', "")
            last_try = lock.locked or lock.tries_left in (0, 1)
            if not again or last_try or not (stale or self._door.trusted):
                break
        reply, seconds = login_refused(401, body)
        self._door.trusted = False
        self._door.closed_until, self._door.closed_by = time.monotonic() + seconds, reply.answer.detail
        return reply

    async def _exchange(self, request: Request) -> tuple[httpx.Response, bytes, bool]:
        """The last response of a challenge and its answer, and whether a password was part of it."""
        address = self._address
        outgoing = self._client.build_request(
            request.method,
            f"{address.origin}{address.prefix}{request.path}",
            content=request.body,
            headers={"content-type": request.content_type} if request.body else None,
            extensions=self._extensions,
        )
        response, body = await self._send(outgoing)
        if response.status_code != 401 or not address.username:
            return response, body, False
        answering = httpx.DigestAuth(address.username, address.password).auth_flow(outgoing)
        next(answering)
        try:
            outgoing = answering.send(response)
        except StopIteration:  # no digest is asked for
            return response, body, False
        except (KeyError, ValueError, NotImplementedError, httpx.ProtocolError):
            # An algorithm or a challenge that httpx does not know, of which it makes a bare KeyError.
            return response, body, False
        response, body = await self._send(outgoing)
        return response, body, True

    async def _send(self, outgoing: httpx.Request) -> tuple[httpx.Response, bytes]:
        """The response and what of its body is worth reading."""
        response = await self._client.send(outgoing, stream=True)
        body = bytearray()
        try:
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MOST_BYTES:
                    break
        finally:
            await response.aclose()
        return response, bytes(body)
