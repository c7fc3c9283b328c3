"""Who may change anything through the API, while there is no authentication."""

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request

from api.problems import ApiProblem, Mistake

JSON: Final = "application/json"
MOST_BYTES: Final = 1024 * 1024
"""Of a body that is a document."""

PASSED_ON: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Headers of a proxy, whose own address says nothing of who asks."""

REFUSED: Final = (
    "changes are taken from this machine alone; api.writable (API_WRITABLE) true lets everybody who reaches the API "
    "change what it serves, so put something that authenticates in front of it"
)


def writers(writable: bool | None) -> Callable[[Request], Awaitable[None]]:
    """A dependency that raises `ApiProblem` 403 for a request that may not change anything.

    ``writable`` None: a request may that comes from this machine and is meant for it. A page that a browser on this
    machine shows is neither trusted for its name (it could have been made to point here) nor let send anything but
    JSON, for which browsers ask first.
    """

    async def check(request: Request) -> None:
        if writable is False:
            raise ApiProblem(403, "changes are switched off (api.writable)")
        if writable is None and not from_this_machine(request):
            raise ApiProblem(403, REFUSED)

    return check


def from_this_machine(request: Request) -> bool:
    """Whether the request comes from this machine and is meant for it, and no proxy passed it on."""
    peer = request.client.host if request.client is not None else ""
    passed_on = any(name in request.headers for name in PASSED_ON)
    return not passed_on and is_loopback(peer) and is_loopback(request.url.hostname or "")


def is_loopback(host: str) -> bool:
    """Whether the name or address means this machine."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


async def read_body(request: Request) -> bytes:
    """The body of a request that sends JSON, at most 1 MiB; raises `ApiProblem` 413, 415 or 422."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != JSON:
        raise ApiProblem(415, f"expected {JSON}")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise ApiProblem(413, f"expected at most {MOST_BYTES} bytes", headers={"Connection": "close"})
    if not body:
        raise ApiProblem(422, "there is no document", errors=[Mistake(place="body", message="is empty")])
    return bytes(body)
