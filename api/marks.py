"""`POST /alerts/{alert_id}/mark`: was this alert right?"""

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Final, NamedTuple

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field

from api.kafka_watch import KafkaState, reached
from api.problems import ApiProblem, Mistake, documented, kafka_away
from api.writing import read_body, writers
from runtime.kafka import BrokerUnreachable
from runtime.marks import SEARCHED_MS, find_alert, publish_mark
from runtime.metrics import MARKS
from runtime.settings import Settings
from schemas.documents.reading import Document, read_json
from schemas.messages import Alert, Mark
from schemas.problems import BadDocument

ID: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


class MarkWritten(Document):
    """What somebody says of an alert."""

    true: bool = Field(description="true: it was right; false: a false alarm")
    by: str = Field(default="api", min_length=1, max_length=200, description="who says so")
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


def mark_routes(marking: Marking, kafka: Callable[[], KafkaState], writable: bool | None) -> APIRouter:
    """The route, around what finds alerts and publishes marks."""
    router = APIRouter(prefix="/alerts", tags=["alerts"])

    @router.post(
        "/{alert_id}/mark",
        response_model=MarkAnswer,
        summary="Say whether an alert was right",
        dependencies=[Depends(writers(writable))],
        responses=documented(403, 404, 413, 415, 422, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/MarkWritten"}}},
            }
        },
    )
    async def mark(request: Request, alert_id: Annotated[str, Path(pattern=ID)]) -> MarkAnswer:
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
            return await asyncio.to_thread(put, alert_id, written)
        except BrokerUnreachable as error:
            raise kafka_away(str(error)) from None

    def put(alert_id: str, written: MarkWritten) -> MarkAnswer:
        reached(kafka())
        now = round(time.time() * 1000)
        if marking.find(alert_id, now - SEARCHED_MS) is None:
            raise ApiProblem(404, "there is no alert of this id in the last 30 days")
        marking.publish(Mark(alert_id, written.true, now, written.by, written.comment))
        MARKS.labels("true" if written.true else "false").inc()
        return MarkAnswer(alert_id=alert_id, true=written.true, marked_at=now, by=written.by, comment=written.comment)

    return router
