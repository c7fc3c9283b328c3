"""`/health`, `/livez`, `/readyz` and `/metrics`."""

import time
from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from api.access import ANYBODY, READS_EVERYTHING, Seeing
from api.kafka_watch import KafkaState
from api.looking import Looking
from api.problems import documented
from runtime.version import version


class ModelHealth(BaseModel):
    """The detector and which weights it has. ``detail`` beside `ready`: why another that was asked for does not run."""

    status: Literal["loading", "ready", "failed"]
    detail: str | None = None
    name: str | None = None
    version: str | None = None
    sha256: str | None = None
    device: str | None = None


class KafkaHealth(BaseModel):
    """Kafka as it was at the last look, at most ten seconds ago. `/infer` does without it."""

    status: Literal["ok", "unreachable", "topics_missing", "unknown"]
    detail: str | None = None


class HealthAnswer(BaseModel):
    """How the API is; to whom may read, with details."""

    status: Literal["ok", "loading", "failed"]
    version: str | None = None
    uptime_seconds: float | None = Field(default=None, ge=0)
    model: ModelHealth | None = None
    kafka: KafkaHealth | None = None


class StatusAnswer(BaseModel):
    """A status alone."""

    status: str


def health_routes(looking: Looking, kafka: Callable[[], KafkaState]) -> APIRouter:
    """The routes, around the detector and what is known of Kafka."""
    router = APIRouter(tags=["health"])
    started = time.monotonic()
    release = version()

    @router.get(
        "/health",
        response_model=HealthAnswer,
        response_model_exclude_none=True,
        summary="200 when the model is loaded, else 503",
        responses={503: {"model": HealthAnswer, "description": "The model is being loaded, or could not be."}},
        openapi_extra={"security": [{}]},  # without a token too
    )
    async def health(caller: Seeing) -> JSONResponse:
        """The status is for anybody, details for whoever may read. Kafka's state stands beside it and does not decide:
        `/infer` needs no Kafka.
        """
        status = 200 if looking.state == "ready" else 503
        said: Literal["ok", "loading", "failed"] = "ok" if looking.state == "ready" else looking.state
        if caller is None:
            return JSONResponse({"status": said}, status)
        model = looking.model
        answer = HealthAnswer(
            status=said,
            version=release,
            uptime_seconds=round(time.monotonic() - started, 1),
            model=ModelHealth(
                status=looking.state,
                detail=looking.detail or looking.refused,
                name=None if model is None else model.name,
                version=None if model is None else model.version,
                sha256=None if model is None else model.sha256,
                device=looking.device,
            ),
            kafka=KafkaHealth.model_validate(kafka()._asdict()),
        )
        return JSONResponse(answer.model_dump(exclude_none=True), status)

    @router.get(
        "/livez",
        response_model=StatusAnswer,
        summary="503 when only a new process helps",
        dependencies=[ANYBODY],
        responses={503: {"model": StatusAnswer, "description": "The GPU needs a new process."}},
    )
    async def livez() -> JSONResponse:
        """Looks at nothing outside the process."""
        return _status("device lost" if looking.lost else None)

    @router.get(
        "/readyz",
        response_model=StatusAnswer,
        summary="200 when pictures are taken",
        dependencies=[ANYBODY],
        responses={503: {"model": StatusAnswer, "description": "No model is loaded (yet)."}},
    )
    async def readyz() -> JSONResponse:
        """As `/health`, in a word."""
        return _status(None if looking.state == "ready" else looking.state)

    @router.get(
        "/metrics",
        response_class=PlainTextResponse,
        summary="Metrics in Prometheus's text format",
        dependencies=[READS_EVERYTHING],
        responses=documented(401, 403, 429),
    )
    async def metrics() -> Response:
        """Everything this process counts."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


def _status(fault: str | None) -> JSONResponse:
    return JSONResponse({"status": fault or "ok"}, 200 if fault is None else 503)
