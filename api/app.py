"""The application, made from what it needs."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from api import problems
from api.access import ANYBODY, Guard, undecided
from api.access_log import AccessLog
from api.alerts import Showing, alert_routes
from api.configs import camera_routes
from api.documents import Documents
from api.health import health_routes
from api.infer import infer_routes
from api.kafka_watch import KafkaState, KafkaWatch
from api.looking import Looking
from api.marks import Marking, MarkWritten, kafka_marking, mark_routes
from api.model_following import ModelFollowing
from api.revisions import Revisions, kafka_revisions
from api.rois import rois_routes
from api.silences import SilenceWritten, Silencing, kafka_silencing, silence_routes
from api.tokens import TokenFile, Tokens
from evidence.clip import clips_of
from evidence.following import AlertList
from evidence.store import EvidenceStore
from inference.detectors import device_for, open_detector
from inference.detectors.contract import Detector
from inference.device import pick
from inference.model_watch import ModelWatch
from inference.pictures import Limits
from runtime.health import Health
from runtime.logs import get_logger
from runtime.settings import Settings
from runtime.store import BadStore
from runtime.version import version
from schemas.documents.rois import Rois
from schemas.documents.services import InferenceSettings
from schemas.problems import BadDocument, Problem

log = get_logger(__name__)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

DESCRIPTION = """What Backsight's model sees in a picture, the documents it watches by, its alerts with their evidence.

Whoever asks sends `Authorization: Bearer TOKEN`; the answers are those of the cameras that the token is for.

Errors are RFC 9457 problem documents. Boxes are x1, y1, x2, y2."""


def create_app(
    looking: Looking,
    documents: Documents,
    revisions: Revisions,
    marking: Marking,
    showing: Showing,
    silencing: Silencing,
    guard: Guard,
    *,
    kafka: Callable[[], KafkaState] = lambda: KafkaState("unknown"),
    limits: Limits,
    min_confidence: float = 0.25,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The API around a detector's thread, the documents, the ROIs in force, alerts with their marks and
    evidence, and what is known of Kafka.

    ``min_confidence``: what is less confident is not shown unless asked for. The caller starts and closes the parts, or
    gives a ``lifespan`` that does. Raises `RuntimeError` where nothing says who may use a route.
    """
    app = FastAPI(
        title="Backsight",
        description=DESCRIPTION,
        version=version(),
        lifespan=lifespan,
        # The pages for people load their scripts from the internet; /openapi.json is enough for tools.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.guard = guard
    app.include_router(health_routes(looking, kafka))
    app.include_router(infer_routes(looking, documents, limits, min_confidence))
    app.include_router(camera_routes(documents))
    app.include_router(rois_routes(documents, revisions, kafka))
    app.include_router(alert_routes(showing))
    app.include_router(mark_routes(marking, kafka))
    app.include_router(silence_routes(silencing, kafka))

    @app.get("/openapi.json", include_in_schema=False, dependencies=[ANYBODY])
    async def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    faults = undecided(app.routes)
    if faults:
        raise RuntimeError("; ".join(faults))
    problems.install(app)
    app.add_middleware(AccessLog)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def from_settings(settings: Settings, environ: Mapping[str, str], served: Health | None = None) -> FastAPI:
    """The API of an installation: the model is loaded, and Kafka asked, once the server has started.

    ``environ``: the environment of ``settings``; another model in `services.yaml` takes over without a restart.
    ``served`` gets the checks, and is closed with the application; without one, health and metrics are served on
    BACKSIGHT_HEALTH_PORT, where that is set, once the server has started. Raises `BadDocument`.
    """
    told = settings.services
    limits = Limits(max_bytes=told.api.max_upload_bytes, max_pixels=told.api.max_pixels)

    def opened(wanted: InferenceSettings) -> Detector:
        # Picked, not claimed: the API may share a GPU with the inference stage.
        return open_detector(wanted, device=pick(device_for(wanted)), floor=settings.floor)

    looking = Looking(lambda: opened(told.inference))
    following = ModelFollowing(looking, ModelWatch(settings, environ, opened))
    watch = KafkaWatch(settings.kafka, settings.prefix)
    revisions = kafka_revisions(settings)
    alerts = AlertList(settings.kafka, settings.prefix, told.api.alert_days, _now)
    store = _evidence(settings)

    health = Health("api") if served is None else served
    health.check("model", lambda: looking.detail)
    health.check("next_model", lambda: looking.refused, "degraded")
    health.check("device", lambda: "is lost" if looking.lost else None, "alive")
    health.check("kafka", lambda: None if watch.state.status == "ok" else watch.state.detail, "degraded")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if served is None:
            health.serve(settings.health_port, settings.health_host)
        beating = asyncio.create_task(_beat(health))
        looking.start()
        following.start()
        watch.start()
        alerts.start()
        try:
            yield
        finally:
            alerts.close()
            revisions.close()
            watch.close()
            following.close()
            looking.close()
            beating.cancel()
            health.close()

    return create_app(
        looking,
        Documents(settings.configs, settings.roi_defaults),
        revisions,
        kafka_marking(settings),
        Showing(alerts, store, clips_of(settings, store, _now).clip),
        kafka_silencing(settings),
        guard_of(settings),
        kafka=lambda: watch.state,
        limits=limits,
        min_confidence=told.rules.min_confidence,
        lifespan=lifespan,
    )


async def _beat(health: Health) -> None:
    """The event loop turns."""
    while True:
        health.beat()
        await asyncio.sleep(1)


def guard_of(settings: Settings) -> Guard:
    """Who is let in. Raises `BadDocument` where the file of tokens does not check."""
    told = settings.services
    if told.api.auth == "off":
        log.warning("api_auth_off", effect="whoever reaches the API may read and change everything")
    tokens = None if told.api.auth == "off" else Tokens(TokenFile(Path(told.api.tokens_file)))
    return Guard(tokens, told.evidence.sign_secret, told.api.requests_per_minute)


def _evidence(settings: Settings) -> EvidenceStore:
    try:
        return EvidenceStore(settings.services.evidence.url, settings.prefix)
    except BadStore as bad:
        raise BadDocument([Problem("services.yaml: evidence.url (EVIDENCE_URL)", str(bad))]) from None


def _now() -> int:
    return round(time.time() * 1000)


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for model in (problems.ProblemDetails, Rois, MarkWritten, SilenceWritten):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= schema.pop("$defs", {})
            schemas[model.__name__] = schema
        app.openapi_schema = document
    return app.openapi_schema
