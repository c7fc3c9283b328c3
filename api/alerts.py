"""`GET /alerts…`: the list of alerts, and the evidence of one."""

import time
from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple, Protocol

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from api.access import ALERT_ID, Caller, Evidence, Reading
from api.alert_shapes import AlertShown, AlertsPage, shown
from api.problems import ApiProblem, Mistake, documented, kafka_away
from api.ranges import ranged
from evidence.clip import ClipBusy, ClipGone, ClipNotYet
from evidence.index import Asked, Entry, Key, Page
from evidence.layout import File
from evidence.store import Account
from runtime.kafka import BrokerUnreachable
from runtime.logs import get_logger
from runtime.store import StoreTrouble
from schemas.instants import BadInstant, instant
from schemas.messages import Alert, Severity

CURSOR: Final = r"^[0-9]{1,15}_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
JPEG: Final = "image/jpeg"
MP4: Final = "video/mp4"
CACHED: Final = {"Cache-Control": "private, max-age=3600"}
EXPECTED: Final = "expected 2026-11-16T08:00:00Z, 2026-11-16, -7d, -90m, now, or milliseconds since 1970"

log = get_logger(__name__)


class List(Protocol):
    """`evidence.following.AlertList`."""

    @property
    def complete(self) -> bool:
        """Whether everything that is on the topics was read once."""
        ...

    def get(self, alert_id: str) -> Entry | None:
        """The alert, or None where it is not known."""
        ...

    def page(self, asked: Asked, limit: int, below: Key | None) -> Page:
        """The wanted alerts, the newest first."""
        ...


class Store(Protocol):
    """`evidence.store.EvidenceStore`; both raise `StoreTrouble`."""

    def find(self, alert_id: str, opened_at: int, file: File) -> bytes | None:
        """A file, or None where it is not kept."""
        ...

    def account(self, alert_id: str, opened_at: int) -> Account | None:
        """What became of the alert's evidence."""
        ...


class Showing(NamedTuple):
    """What alerts are shown from. ``clip`` makes one and raises as `evidence.clip.Clips.clip`."""

    alerts: List
    store: Store
    clip: Callable[[Alert], bytes]


AlertId = Annotated[str, Path(pattern=ALERT_ID)]


def alert_routes(showing: Showing) -> APIRouter:
    """The routes, around the list of alerts and the evidence store."""
    router = APIRouter(prefix="/alerts", tags=["alerts"])

    @router.get(
        "", response_model=AlertsPage, summary="Alerts, the newest first", responses=documented(401, 403, 422, 429)
    )
    def alerts(
        caller: Reading,
        camera: str | None = None,
        roi: str | None = None,
        label: str | None = None,
        severity: Severity | None = None,
        open_: Annotated[bool | None, Query(alias="open", description="true: not resolved yet")] = None,
        since: Annotated[str | None, Query(description=f"opened then or later; {EXPECTED}")] = None,
        until: Annotated[str | None, Query(description="opened then or earlier")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(pattern=CURSOR, description="`next` of the page before")] = None,
    ) -> AlertsPage:
        """Of the last `api.alert_days` (30), of the cameras that the token is for. Every alert that newly opens comes
        first, so pages that follow one another by `next` neither repeat nor leave out any.
        """
        begin, end = _instant(since, "since"), _instant(until, "until")
        found = showing.alerts.page(
            Asked(camera, roi, label, severity, open_, begin, end, caller.cameras), limit, _key(cursor)
        )
        return AlertsPage(
            alerts=[shown(entry) for entry in found.entries],
            next=None if found.next is None else f"{found.next[0]}_{found.next[1]}",
            complete=showing.alerts.complete,
        )

    @router.get(
        "/{alert_id}",
        response_model=AlertShown,
        summary="One alert",
        responses=documented(401, 403, 404, 422, 429, 503),
    )
    def alert(caller: Reading, alert_id: AlertId) -> AlertShown:
        """How its deliveries ended, and what was said of it."""
        return shown(known(caller, alert_id))

    @router.get("/{alert_id}/evidence.jpg", summary="The frame that confirmed it, with what was seen", **_file(JPEG))
    def evidence(caller: Evidence, alert_id: AlertId) -> Response:
        """Polygon, box, anchor point and words are drawn in."""
        return picture(caller, alert_id, "evidence.jpg")

    @router.get("/{alert_id}/clean.jpg", summary="The frame that confirmed it, as the camera gave it", **_file(JPEG))
    def clean(caller: Evidence, alert_id: AlertId) -> Response:
        """Nothing is drawn in."""
        return picture(caller, alert_id, "clean.jpg")

    @router.get("/{alert_id}/clip.mp4", summary="Some seconds around the opening", **_file(MP4, in_parts=True))
    def clip(caller: Evidence, request: Request, alert_id: AlertId) -> Response:
        """Made when it is asked for first, while the frames are on their topic (about an hour), and kept from then on.
        Before its last second was captured the answer is 503 with `Retry-After`. `Range` gets a part of it.
        """
        entry = known(caller, alert_id)
        try:
            return ranged(showing.clip(entry.alert), MP4, request.headers, CACHED)
        except ClipNotYet as early:
            raise ApiProblem(503, str(early), headers={"Retry-After": str(early.seconds)}) from None
        except ClipBusy:
            raise ApiProblem(503, "another clip is being made", headers={"Retry-After": "2"}) from None
        except ClipGone as gone:
            raise ApiProblem(404, str(gone)) from None
        except BrokerUnreachable as error:
            raise kafka_away(str(error)) from None
        except StoreTrouble as trouble:
            raise _store_away(trouble) from None

    def known(caller: Caller, alert_id: str) -> Entry:
        entry = showing.alerts.get(alert_id)
        # One of a camera that is not theirs is as one that is not there: whether it is, is not theirs to know either.
        if entry is not None and caller.sees(entry.alert.camera_id):
            return entry
        if not showing.alerts.complete:
            raise ApiProblem(503, "the list of alerts is still being read", headers={"Retry-After": "5"})
        raise ApiProblem(404, "there is no alert of this id in the days that the list goes back")

    def picture(caller: Caller, alert_id: str, file: File) -> Response:
        opened_at = known(caller, alert_id).alert.opened_at
        try:
            content = showing.store.find(alert_id, opened_at, file)
            if content is not None:
                return _content(content, JPEG)
            account = showing.store.account(alert_id, opened_at)
        except StoreTrouble as trouble:
            raise _store_away(trouble) from None
        if account is None:
            raise ApiProblem(404, "no evidence is kept (yet); does `backsight evidence` run?")
        raise ApiProblem(404, f"there is no picture: {account.missing}")

    return router


def _file(kind: str, *, in_parts: bool = False) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string", "format": "binary"}}}
    answers = {200: {"description": "The file.", "content": content}, **documented(401, 403, 404, 422, 429, 503)}
    if in_parts:
        answers |= {206: {"description": "The part that `Range` asked for.", "content": content}, **documented(416)}
    return {"response_class": Response, "responses": answers}


def _content(content: bytes, kind: str) -> Response:
    return Response(content, media_type=kind, headers=CACHED)


def _store_away(trouble: StoreTrouble) -> ApiProblem:
    log.error("evidence_store_away", reason=str(trouble))
    return ApiProblem(503, "the evidence store cannot be read; the log says why", headers={"Retry-After": "10"})


def _key(cursor: str | None) -> Key | None:
    if cursor is None:
        return None
    opened_at, _, alert_id = cursor.partition("_")
    return int(opened_at), alert_id


def _instant(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        return instant(text, round(time.time() * 1000))
    except BadInstant:
        mistake = Mistake(place=f"query.{name}", message=EXPECTED)
        raise ApiProblem(422, "the request does not check", errors=[mistake]) from None
