"""One HTTP/1.1 connection to a receiver: only to an address that the configuration allows, TLS verified, made again
where it ended.

HTTP itself is httpcore's (what httpx stands on), the bytes are asyncio's. The pool, the client and anyio that httpx has
around the two cost more than half of a POST; see docs/decisions/router.md, "Measured".
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import time
from typing import Any, Final, NamedTuple

import httpcore

from router.targets import Address, Allowed, literal, wrong_address

RESOLVED_SECONDS: Final = 10.0
"""How long a name's addresses are kept."""

BROKEN: Final = (httpcore.ProtocolError, httpcore.NetworkError)
"""What a connection that ends in the middle raises. One that does not come about raises an `OSError`."""


class TargetRefused(OSError):
    """The name resolves to an address that is not allowed. The text holds no URL."""


class HandshakeEnded(ssl.SSLError):
    """The other side ended the connection where TLS was to begin: it may speak none."""

    reason = "the connection ended in the handshake"


class Names:
    """The addresses of names, kept for a while, and only such as are ``allowed``."""

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
        """Where ``host`` is: itself, where it is an address. Raises `socket.gaierror`."""
        itself = literal(host)
        if itself is not None:
            return [itself]
        until, addresses = self._resolved.get(host, (0.0, []))
        if time.monotonic() < until:
            return addresses
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(ipaddress.ip_address(each[4][0]) for each in found))
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        self._resolved[host] = (time.monotonic() + RESOLVED_SECONDS, addresses)
        return addresses


class Receiver(NamedTuple):
    """Where to connect to. ``trusted`` None: without TLS."""

    host: str
    port: int
    trusted: ssl.SSLContext | None


class Connection:
    """A connection to one receiver, for one request after the other."""

    def __init__(self, to: Receiver, names: Names, *, connect_seconds: float) -> None:
        self._to = to
        self._names = names
        self._seconds = connect_seconds
        self._origin = httpcore.Origin(b"http" if to.trusted is None else b"https", to.host.encode(), to.port)
        self._http: httpcore.AsyncHTTP11Connection | None = None

    @property
    def is_over(self) -> bool:
        """Whether there was a connection that cannot be used any more."""
        return self._http is not None and (self._http.is_closed() or self._http.has_expired())

    async def ask(self, request: httpcore.Request) -> httpcore.Response:
        """Sends the request; the answer's body is still to be read, and the answer to be closed.

        Raises `OSError` where no connection comes about (`TimeoutError` and `ssl.SSLError` among them) and `BROKEN`.
        """
        if self.is_over:
            await self.close()
        if self._http is None:
            self._http = httpcore.AsyncHTTP11Connection(self._origin, await self._connect())
        response = await self._http.handle_async_request(request)
        if response.extensions["network_stream"].unsent:
            await self.close()
            raise httpcore.RemoteProtocolError("there was an answer before the request went out")
        return response

    async def close(self) -> None:
        """Ends the connection. May be used again."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _connect(self) -> "_Bytes":
        """By the first address that lets itself be connected to: the address that was checked."""
        host, _, _ = self._to
        addresses = await self._names.addresses(host)
        for address in addresses[:-1]:
            with contextlib.suppress(OSError):
                return await self._connect_to(address)
        try:
            return await self._connect_to(addresses[-1])
        except OSError:
            self._names.forget(host)
            raise

    async def _connect_to(self, address: Address) -> "_Bytes":
        host, port, trusted = self._to
        self._names.check(host, address)
        name = None if trusted is None else host  # the certificate is the name's
        try:
            async with asyncio.timeout(self._seconds):
                return _Bytes(*await asyncio.open_connection(str(address), port, ssl=trusted, server_hostname=name))
        except (ConnectionResetError, ConnectionAbortedError) as error:
            if trusted is None:
                raise
            raise HandshakeEnded from error


class _Bytes(httpcore.AsyncNetworkStream):
    """The bytes of a connection. What is written goes out when an answer is awaited: head and body of a request in one
    system call and one packet. Time limits are the caller's, those that httpcore passes on are None.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.unsent: list[bytes] = []
        """Still there after an answer, it was none to this request: a receiver had answered the one before it twice."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109, ARG002
        if self.unsent:
            self._writer.write(b"".join(self.unsent))
            self.unsent.clear()
        try:
            return await self._reader.read(max_bytes)
        except OSError as error:
            raise httpcore.ReadError from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109, ARG002
        self.unsent.append(buffer)

    async def aclose(self) -> None:
        # At once: a receiver that reads no more, or says no goodbye in TLS, would hold the socket.
        self._writer.transport.abort()

    def get_extra_info(self, info: str) -> Any:
        # httpcore asks an idle connection whether it is readable, that is, whether the other side has ended it.
        return self._reader.at_eof() if info == "is_readable" else None
