"""`POST /alerts/{alert_id}/mark`: was this alert right?"""

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from api.access import ALERT_ID, Caller, Changing
from api.body import read_body
from api.kafka_watch import KafkaState, reached
from api.problems import ApiProblem, Mistake, documented, kafka_away
from runtime.kafka import BrokerUnreachable
from runtime.logs import get_logger
from runtime.marks import SEARCHED_MS, find_alert, publish_mark
from runtime.settings import Settings
from schemas.documents.reading import Document, read_json
from schemas.messages import Alert, Mark
from schemas.problems import BadDocument

log = get_logger(__name__)


class MarkWritten(Document):
    """What somebody says of an alert."""

    true: bool = Field(description="true: it was right; false: a false alarm")
    by: str | None = Field(default=None, min_length=1, max_length=200, description="who says so; the token's name")
    comment: str | None = Field(default=None, max_length=2000)


class MarkAnswer(BaseModel):
    """The mark as it was published."""

    alert_id: str
    true: bool
    marked_at: int = Field(description="milliseconds UTC")
    by: str
    comment: str | None


class Marking(NamedTuple):
    """``find`` an alert of an id from an instant (ms UTC) on, ``publish`` a mark; both raise `BrokerUnreachable`."""

    find: Callable[[str, int], Alert | None]
    publish: Callable[[Mark], None]


def kafka_marking(settings: Settings) -> Marking:
    """That of the cluster."""
    return Marking(
        lambda alert_id, since: find_alert(settings.kafka, settings.prefix, alert_id, since),
        lambda mark: publish_mark(settings.kafka, settings.prefix, mark),
    )


def mark_routes(marking: Marking, kafka: Callable[[], KafkaState]) -> APIRouter:
    """The route, around what finds alerts and publishes marks."""
    router = APIRouter(prefix="/alerts", tags=["alerts"])

    @router.post(
        "/{alert_id}/mark",
        response_model=MarkAnswer,
        summary="Say whether an alert was right",
        responses=documented(401, 403, 404, 413, 415, 422, 429, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/MarkWritten"}}},
            }
        },
    )
    async def mark(caller: Changing, request: Request, alert_id: Annotated[str, Path(pattern=ALERT_ID)]) -> MarkAnswer:
        """The newest mark of an alert counts. Alerts of the last 30 days can be marked here, older ones with
        `backsight alerts mark --since`.
        """
        body = await read_body(request)
        try:
            written = read_json(MarkWritten, body, "body")
        except BadDocument as bad:
            mistakes = [Mistake(place=place, message=message) for place, message in bad.problems]
            raise ApiProblem(422, "the request does not check", errors=mistakes) from None
        try:
            return await asyncio.to_thread(put, caller, alert_id, written)
        except BrokerUnreachable as error:
            raise kafka_away(str(error)) from None

    def put(caller: Caller, alert_id: str, written: MarkWritten) -> MarkAnswer:
        reached(kafka())
        now = round(time.time() * 1000)
        alert = marking.find(alert_id, now - SEARCHED_MS)
        if alert is None or not caller.sees(alert.camera_id):
            raise ApiProblem(404, "there is no alert of this id in the last 30 days")
        by = written.by or caller.name
        marking.publish(Mark(alert_id, written.true, now, by, written.comment))
        log.info("alert_marked", alert=alert_id, true=written.true, caller=caller.name)
        return MarkAnswer(alert_id=alert_id, true=written.true, marked_at=now, by=by, comment=written.comment)

    return router
