"""`GET /config/rois` and `PUT /config/rois`."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import Caller, ChangingEverything, Reading
from api.body import read_body
from api.documents import Documents, shown
from api.kafka_watch import KafkaState, reached
from api.problems import ApiProblem, Mistake, documented, kafka_away
from api.revisions import Changed, Revisions, tag_of
from runtime.kafka import BrokerUnreachable
from runtime.logs import get_logger
from schemas.documents.reading import read_json
from schemas.documents.rois import Rois
from schemas.effective import RoiRevision
from schemas.instants import BadInstant, in_words, instant
from schemas.messages import Origin
from schemas.problems import BadDocument, Problem

log = get_logger(__name__)

NAME: Final = "rois.yaml"
"""What the checks call the document; in answers its places begin in the body."""


class Held(BaseModel):
    """From which instant a camera's document holds. Instants are milliseconds UTC."""

    camera_id: str
    revision: str
    effective_from: int
    published_at: int
    origin: Origin


class RoisAnswer(BaseModel):
    """`rois.yaml` as JSON, and where it comes from."""

    model_config = ConfigDict(extra="allow")
    cameras: list[dict[str, Any]] | None = Field(default_factory=list)
    source: Literal["kafka", "file"] = Field(
        description="kafka: what workers judge by; file: rois.yaml as it lies here"
    )
    revisions: list[Held] = Field(default_factory=list, description="one for each camera that ever had ROIs")


class Put(BaseModel):
    """What became of one camera's document."""

    camera_id: str
    revision: str
    effective_from: int = Field(description="milliseconds UTC; frames captured from then on are judged by it")
    unchanged: bool


class PutAnswer(BaseModel):
    """What was published."""

    revisions: list[Put]
    warnings: list[Mistake] = Field(description="what is allowed and probably not meant")


def rois_routes(documents: Documents, revisions: Revisions, kafka: Callable[[], KafkaState]) -> APIRouter:
    """The routes, around the documents of the folder and those in force."""
    router = APIRouter(prefix="/config", tags=["config"])

    def reachable() -> Revisions:
        reached(kafka())
        return revisions

    def from_file(caller: Caller) -> dict[str, Any]:
        written = documents.rois()
        theirs = [each for each in written.get("cameras") or () if caller.sees(each["camera_id"])]
        return {**written, "cameras": theirs, "source": "file"}

    @router.get(
        "/rois",
        response_model=RoisAnswer,
        summary="The ROIs, now or at an instant",
        responses=documented(401, 403, 422, 429, 500, 503),
    )
    def rois(
        caller: Reading,
        response: Response,
        at: Annotated[
            str | None,
            Query(description="2026-11-16T08:00:00Z, 2026-11-16, -7d, -90m, now, or milliseconds since 1970"),
        ] = None,
    ) -> dict[str, Any]:
        """Without `at` the newest document of every camera, also where it takes effect in some seconds; with the `ETag`
        to send as `If-Match` when it is replaced. While Kafka is away, or nothing was ever applied, `rois.yaml` of the
        configuration folder (`source` says which). With `at` what held at that instant of capture time.
        """
        if at is not None:
            try:
                held = reachable().at(_instant(at))
            except BrokerUnreachable as error:
                raise kafka_away(str(error)) from None
            return _answer(caller, held)
        try:
            newest = reachable().newest()
        except (ApiProblem, BrokerUnreachable):
            return from_file(caller)
        response.headers["ETag"] = tag_of(newest)
        return _answer(caller, newest) if newest else from_file(caller)

    @router.put(
        "/rois",
        response_model=PutAnswer,
        summary="Replace the ROIs",
        responses=documented(401, 403, 412, 413, 415, 422, 428, 429, 500, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "description": "The whole document, in the shape of `rois.yaml`.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Rois"}}},
            }
        },
    )
    async def replace(
        caller: ChangingEverything,
        request: Request,
        response: Response,
        if_match: Annotated[
            str | None, Header(description="the ETag of `GET /config/rois`; `*` overwrites whatever is there")
        ] = None,
    ) -> PutAnswer:
        """The whole document: a camera that it does not name has no ROIs any more. Every camera that changes takes
        effect at least 10 s ahead (a camera's first document from the beginning), as with `backsight config apply`.
        """
        body = await read_body(request)
        if if_match is None:
            raise ApiProblem(428, "expected If-Match with the ETag of GET /config/rois, or * to overwrite")
        return await asyncio.to_thread(put, caller, body, if_match, response)

    def put(caller: Caller, body: bytes, if_match: str, response: Response) -> PutAnswer:
        try:
            written = read_json(Rois, body, NAME)
            mistakes = written.problems(NAME)
        except BadDocument as bad:
            mistakes = bad.problems
        if not mistakes:
            mistakes, doubts = documents.judged(written)
        if mistakes:
            raise _refused(mistakes)
        try:
            plan, newest = reachable().replace(written, lambda tag: _matches(if_match, tag))
        except Changed as changed:
            raise ApiProblem(412, _since(changed.newest)) from None
        except BadDocument as bad:
            raise _refused(bad.problems) from None
        except BrokerUnreachable as error:
            raise kafka_away(str(error)) from None
        response.headers["ETag"] = tag_of(newest)
        published = {each.camera_id for each in plan.publish}
        log.info("rois_replaced", cameras=sorted(published), caller=caller.name)
        return PutAnswer(
            revisions=[
                Put(
                    camera_id=each.camera_id,
                    revision=each.revision,
                    effective_from=each.effective_from,
                    unchanged=each.camera_id not in published,
                )
                for each in newest
            ],
            warnings=_mistakes(doubts),
        )

    return router


def _instant(text: str) -> int:
    try:
        return instant(text, round(time.time() * 1000))
    except BadInstant:
        expected = "expected 2026-11-16T08:00:00Z, 2026-11-16, -7d, -90m, now, or milliseconds since 1970"
        raise ApiProblem(
            422, "the request does not check", errors=[Mistake(place="query.at", message=expected)]
        ) from None


def _answer(caller: Caller, every: Sequence[RoiRevision]) -> dict[str, Any]:
    held = [each for each in every if caller.sees(each.camera_id)]
    return {
        "cameras": [shown(each.written) for each in held if each.written],
        "source": "kafka",
        "revisions": [
            Held(
                camera_id=each.camera_id,
                revision=each.revision,
                effective_from=each.effective_from,
                published_at=each.published_at,
                origin=each.origin,
            )
            for each in held
        ],
    }


def _matches(if_match: str, tag: str) -> bool:
    return if_match.strip() == "*" or tag in (each.strip() for each in if_match.split(","))


def _since(newest: RoiRevision | None) -> str:
    last = "" if newest is None else f": {newest.camera_id} at {in_words(newest.published_at)} ({newest.origin})"
    return f"the ROIs were changed since{last}; GET /config/rois answers the newest"


def _refused(problems: Sequence[Problem]) -> ApiProblem:
    return ApiProblem(422, "the document does not check; nothing was changed", errors=_mistakes(problems))


def _mistakes(problems: Sequence[Problem]) -> list[Mistake]:
    return [Mistake(place=place.removeprefix(f"{NAME}: "), message=message) for place, message in problems]
