"""`/silences`: who must not be told of what for a while; the rules are those of `backsight silences`."""

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Final, NamedTuple

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from api.access import ALERT_ID, Caller, Changing, Reading
from api.body import read_body
from api.kafka_watch import KafkaState, reached
from api.problems import ApiProblem, Mistake, documented, kafka_away
from router.matchers import BadMatcher, matcher
from router.silencing import BadSilence, new_silence
from runtime.kafka import BrokerUnreachable
from runtime.logs import get_logger
from runtime.settings import Settings
from runtime.silences import publish_silence, read_silences
from schemas.documents.reading import Document, read_json
from schemas.instants import BadInstant, instant
from schemas.messages import Silence
from schemas.problems import BadDocument

log = get_logger(__name__)

INSTANT: Final = "2026-11-24T06:00:00Z, now, or milliseconds since 1970"


class SilenceWritten(Document):
    """A silence as somebody asks for it. It must end: `for` or `until`, at most 7 days."""

    matchers: list[str] = Field(min_length=1, max_length=50, examples=[["camera = gate_1", "roi =~ dock.*"]])
    starts: str = Field(default="now", description=INSTANT)
    until: str | None = Field(default=None, description=INSTANT)
    lasts: str | None = Field(default=None, alias="for", pattern=r"^[0-9]{1,6}[smhd]$", examples=["2h"])
    comment: str = Field(min_length=1, max_length=2000, description="why")


class SilenceShown(BaseModel):
    """A silence. Instants are milliseconds UTC."""

    silence_id: str
    matchers: list[str]
    starts_at: int
    ends_at: int
    author: str = Field(description="the token's name")
    comment: str
    created_at: int


class SilencesAnswer(BaseModel):
    """Silences, the newest last."""

    silences: list[SilenceShown]


class Silencing(NamedTuple):
    """``read`` answers every silence, ``publish`` writes one; both raise `BrokerUnreachable`."""

    read: Callable[[], tuple[Silence, ...]]
    publish: Callable[[Silence], None]


def kafka_silencing(settings: Settings) -> Silencing:
    """That of the cluster."""
    return Silencing(
        lambda: read_silences(settings.kafka, settings.prefix),
        lambda silence: publish_silence(settings.kafka, settings.prefix, silence),
    )


def silence_routes(silencing: Silencing, kafka: Callable[[], KafkaState]) -> APIRouter:
    """The routes, around what reads and publishes silences.

    A token that is for some cameras reads and makes those silences that name one of them: `camera = ID`.
    """
    router = APIRouter(prefix="/silences", tags=["silences"])

    @router.get(
        "", response_model=SilencesAnswer, summary="The silences", responses=documented(401, 403, 422, 429, 503)
    )
    def silences(
        caller: Reading, every: Annotated[bool, Query(alias="all", description="also those that have ended")] = False
    ) -> SilencesAnswer:
        """In force and to come."""
        now = _now()
        found = [each for each in read() if _theirs(caller, each.matchers) and (every or each.ends_at > now)]
        return SilencesAnswer(silences=[_shown(each) for each in found])

    @router.post(
        "",
        status_code=201,
        response_model=SilenceShown,
        summary="Keep alerts from being told for a while",
        responses=documented(401, 403, 413, 415, 422, 429, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SilenceWritten"}}},
            }
        },
    )
    async def add(caller: Changing, request: Request) -> SilenceShown:
        """They are judged and recorded all the same; what is still open when the silence ends is told then."""
        body = await read_body(request)
        try:
            written = read_json(SilenceWritten, body, "body")
        except BadDocument as bad:
            mistakes = [Mistake(place=place, message=message) for place, message in bad.problems]
            raise ApiProblem(422, "the request does not check", errors=mistakes) from None
        return await asyncio.to_thread(put, caller, written)

    @router.delete(
        "/{silence_id}",
        response_model=SilenceShown,
        summary="End a silence now",
        responses=documented(401, 403, 404, 422, 429, 503),
    )
    def end(caller: Changing, silence_id: Annotated[str, Path(pattern=ALERT_ID)]) -> SilenceShown:
        """It stays on record."""
        now = _now()
        for each in read():
            if each.silence_id == silence_id and each.ends_at > now and _theirs(caller, each.matchers):
                ended = msgspec.structs.replace(each, starts_at=min(each.starts_at, now), ends_at=now)
                publish(ended, caller, "silence_ended")
                return _shown(ended)
        raise ApiProblem(404, "no silence of this id is in force or to come")

    def put(caller: Caller, written: SilenceWritten) -> SilenceShown:
        silence = _made(written, caller.name)
        if not _theirs(caller, silence.matchers):
            raise ApiProblem(
                403, "the token is for some cameras only: expected the matcher `camera = ID` of one of them"
            )
        publish(silence, caller, "silence_made")
        return _shown(silence)

    def read() -> tuple[Silence, ...]:
        reached(kafka())
        try:
            return silencing.read()
        except BrokerUnreachable as error:
            raise kafka_away(str(error)) from None

    def publish(silence: Silence, caller: Caller, event: str) -> None:
        reached(kafka())
        try:
            silencing.publish(silence)
        except BrokerUnreachable as error:
            raise kafka_away(str(error)) from None
        log.info(event, silence=silence.silence_id, matchers=silence.matchers, caller=caller.name)

    return router


def _made(written: SilenceWritten, author: str) -> Silence:
    now = _now()
    try:
        if (written.until is None) == (written.lasts is None):
            raise BadSilence("a silence needs an end: `for` or `until`, one of them")
        starts_at = instant(written.starts, now)
        ends_at = (
            instant(written.until, now)
            if written.until is not None
            else starts_at + now - instant(f"-{written.lasts}", now)
        )
        return new_silence(
            written.matchers,
            starts_at=starts_at,
            ends_at=ends_at,
            author=author,
            comment=written.comment,
            now=now,
        )
    except BadInstant:
        message = f"expected instants as {INSTANT}, and `for` as 30m, 2h or 1d"
    except BadSilence as bad:
        message = str(bad)
    raise ApiProblem(422, "the silence does not check", errors=[Mistake(place="body", message=message)])


def _theirs(caller: Caller, matchers: list[str] | tuple[str, ...]) -> bool:
    return caller.cameras is None or any(_camera(text) in caller.cameras for text in matchers)


def _camera(text: str) -> str | None:
    """The one camera that a matcher names, if it names one."""
    try:
        read = matcher(text)
    except BadMatcher:
        return None
    return read.value if (read.label, read.operator) == ("camera", "=") else None


def _shown(silence: Silence) -> SilenceShown:
    return SilenceShown.model_validate(msgspec.to_builtins(silence))


def _now() -> int:
    return round(time.time() * 1000)
