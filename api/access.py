"""Who asks, and whether they may: the one place where that is decided.

Every route depends on exactly one `Decision` (`undecided` finds those that do not, and `create_app` refuses them):
`ANYBODY`, `Reading`, `Inferring`, `Changing`, `Evidence` (a token or a signed link). What belongs to a camera the route
then asks of the `Caller`.
"""

import ipaddress
import math
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, NamedTuple

from fastapi import Depends, FastAPI, Path, Query, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.security import APIKeyQuery, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr
from starlette.routing import BaseRoute

from api.access_log import LONGEST_PATH
from api.pace import Pace
from api.problems import ApiProblem
from api.tokens import Role, Tokens
from runtime.logs import get_logger
from runtime.repeated import Repeated
from runtime.signing import BadLink, check_link

ALERT_ID: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
FAILURES_A_MINUTE: Final = 20
"""Of one address; then they are answered 429. A right token is let in all the same: nobody can guess one, and many may
share an address."""
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="backsight"'}
PASSED_ON: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Headers of a proxy, whose own address says nothing of who asks."""
NO_TOKEN: Final = "expected `Authorization: Bearer TOKEN`; `backsight tokens create` makes one"  # noqa: S105
NONE_YET: Final = "there are no tokens yet, so only this machine may ask; `backsight tokens create` makes one"

BEARER: Final = HTTPBearer(auto_error=False, scheme_name="token", description="`backsight tokens create` makes one")
LINK: Final = APIKeyQuery(name="signature", auto_error=False, scheme_name="link", description="of a signed link")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
Signature = Annotated[str | None, Security(LINK)]

log = get_logger(__name__)


class Caller(NamedTuple):
    """Who asks. ``cameras`` None: those of every camera. ``limited``: whether there is a bound on how often."""

    name: str
    roles: frozenset[Role]
    cameras: frozenset[str] | None = None
    limited: bool = True

    def may(self, role: Role) -> bool:
        """Whether the role is theirs."""
        return role in self.roles or "admin" in self.roles

    def sees(self, camera_id: str) -> bool:
        """Whether the camera is theirs to ask about."""
        return self.cameras is None or camera_id in self.cameras


ALL: Final[frozenset[Role]] = frozenset({"admin"})
THIS_MACHINE: Final = Caller("this machine", ALL, limited=False)
UNCHECKED: Final = Caller("anybody", ALL, limited=False)


class Guard:
    """Knows callers by their tokens.

    ``tokens`` None: everybody is let in to everything (`API_AUTH=off`). Where there are no tokens, this machine is.
    ``secret``: what links to evidence are signed with. ``per_minute``: requests of one token, 0 for no bound;
    ``failures_per_minute``: of one address.
    """

    def __init__(
        self,
        tokens: Tokens | None,
        secret: SecretStr | None = None,
        per_minute: int = 0,
        failures_per_minute: int = FAILURES_A_MINUTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._secret = secret
        self._requests = Pace(per_minute / 60, max(10, per_minute // 10)) if per_minute else None
        self._failures = Pace(failures_per_minute / 60, failures_per_minute)
        self._untold = Repeated(log, "authentication_failures_go_on")
        self._clock = clock

    def known(self, request: Request, bearer: HTTPAuthorizationCredentials | None) -> Caller | None:
        """Who asks, or None where that is not known; counts nothing."""
        if self._tokens is None:
            return UNCHECKED
        if not self._tokens.needed:
            return THIS_MACHINE if from_this_machine(request) else None
        token = None if bearer is None else self._tokens.find(bearer.credentials)
        if token is None:
            return None
        return Caller(token.name, frozenset(token.roles), None if token.cameras is None else frozenset(token.cameras))

    def caller(self, request: Request, bearer: HTTPAuthorizationCredentials | None) -> Caller:
        """Who asks; raises `ApiProblem` 401 where that is not known, 429 where they ask too often."""
        found = self.known(request, bearer)
        if found is None:
            raise self._refused(request, None if bearer is None else "unknown token")
        return self._let_in(request, found, found.name)

    def linked(self, request: Request, alert_id: str, expires: int | None, signature: str | None) -> Caller | None:
        """Whoever holds a signed link to the alert's evidence; None where there is none. Raises `ApiProblem` 403."""
        if self._secret is None or expires is None or signature is None:
            return None
        try:
            check_link(self._secret.get_secret_value(), alert_id, expires, signature, round(time.time() * 1000))
        except BadLink as bad:
            self._failed(request, str(bad))
            raise ApiProblem(403, str(bad)) from None
        return self._let_in(request, Caller("link", frozenset({"read"})), f"link {peer_of(request)}")

    def _let_in(self, request: Request, caller: Caller, counted_as: str) -> Caller:
        request.state.caller = caller.name  # for the access log
        if self._requests is not None and caller.limited:
            wait = self._requests.wait(counted_as, self._clock())
            if wait:
                raise ApiProblem(429, "too many requests", headers={"Retry-After": str(math.ceil(wait))})
        return caller

    def _refused(self, request: Request, fault: str | None) -> ApiProblem:
        self._failed(request, fault or "no token")
        assert self._tokens is not None
        return ApiProblem(401, NO_TOKEN if self._tokens.needed else NONE_YET, headers=CHALLENGE)

    def _failed(self, request: Request, reason: str) -> None:
        now = self._clock()
        peer = peer_of(request)
        wait = self._failures.wait(peer, now)
        if wait:
            self._untold.happened(round(now * 1000), peer=peer)
            raise ApiProblem(429, "too many failures", headers={"Retry-After": str(math.ceil(wait)), **CHALLENGE})
        log.warning("authentication_failed", peer=peer, path=request.url.path[:LONGEST_PATH], reason=reason)


class Decision:
    """A dependency that says who may use a route."""


class Anybody(Decision):
    """Whoever reaches the port."""

    def __call__(self) -> None:
        """Lets in."""


class Known(Decision):
    """Whoever reaches the port; the route says more to who may read."""

    async def __call__(self, request: Request, bearer: Bearer) -> Caller | None:
        """Who asks, where that is known and they may read."""
        found = _guard(request).known(request, bearer)
        return found if found is not None and found.may("read") else None


class Needs(Decision):
    """Whoever has the role; ``every_camera``: and is not bound to some cameras."""

    def __init__(self, role: Role, *, every_camera: bool = False) -> None:
        self._role = role
        self._every_camera = every_camera

    async def __call__(self, request: Request, bearer: Bearer) -> Caller:
        """Who asks; raises `ApiProblem` 401, 403, 429."""
        return self._checked(request, _guard(request).caller(request, bearer))

    def _checked(self, request: Request, caller: Caller) -> Caller:
        if not caller.may(self._role):
            raise _forbidden(request, caller, f"the token's role does not do: expected {self._role}")
        if self._every_camera and caller.cameras is not None:
            raise _forbidden(request, caller, "the token is for some cameras only: expected one for every camera")
        return caller


class NeedsOrLink(Needs):
    """Whoever may read, or holds a link to the evidence that was signed here."""

    async def __call__(  # type: ignore[override]
        self,
        request: Request,
        bearer: Bearer,
        signature: Signature,
        alert_id: Annotated[str, Path(pattern=ALERT_ID)],
        expires: Annotated[int | None, Query(ge=0, lt=10**12, description="of a signed link: seconds UTC")] = None,
    ) -> Caller:
        """Who asks; raises `ApiProblem` 401, 403, 429."""
        guard = _guard(request)
        linked = guard.linked(request, alert_id, expires, signature)
        return linked or self._checked(request, guard.caller(request, bearer))


ANYBODY: Final = Depends(Anybody())
Seeing = Annotated[Caller | None, Depends(Known())]
Reading = Annotated[Caller, Depends(Needs("read"))]
Inferring = Annotated[Caller, Depends(Needs("infer"))]
Changing = Annotated[Caller, Depends(Needs("admin"))]
Evidence = Annotated[Caller, Depends(NeedsOrLink("read"))]
READS_EVERYTHING: Final = Depends(Needs("read", every_camera=True))
ChangingEverything = Annotated[Caller, Depends(Needs("admin", every_camera=True))]


def undecided(routes: Sequence[BaseRoute]) -> list[str]:
    """Those routes that do not depend on exactly one decision."""
    found = []
    for each in iter_route_contexts(routes):
        route = each.original_route
        decisions = _decisions(route.dependant) if isinstance(route, APIRoute) else 0
        if decisions != 1:
            found.append(f"{each.path}: {decisions} decisions of who may; expected one")
    return found


def _decisions(dependant: Dependant) -> int:
    return isinstance(dependant.call, Decision) + sum(map(_decisions, dependant.dependencies))


def _guard(request: Request) -> Guard:
    app: FastAPI = request.app
    guard: Any = app.state.guard
    assert isinstance(guard, Guard)
    return guard


def _forbidden(request: Request, caller: Caller, why: str) -> ApiProblem:
    log.warning("not_allowed", caller=caller.name, path=request.url.path, method=request.method, reason=why)
    return ApiProblem(403, why)


def from_this_machine(request: Request) -> bool:
    """Whether the request comes from this machine and is meant for it, and no proxy passed it on.

    A page that a browser on this machine shows is not trusted for its name, which could have been made to point here.
    """
    passed_on = any(name in request.headers for name in PASSED_ON)
    return not passed_on and is_loopback(peer_of(request)) and is_loopback(request.url.hostname or "")


def peer_of(request: Request) -> str:
    """The address that the request came from."""
    return request.client.host if request.client is not None else ""


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
