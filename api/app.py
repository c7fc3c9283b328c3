"""The application, made from what it needs."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import problems
from api.access_log import AccessLog
from api.configs import config_routes
from api.documents import Documents
from api.health import health_routes, version
from api.infer import infer_routes
from api.kafka_watch import KafkaState, KafkaWatch
from api.looking import Looking
from inference.detectors import device_for, open_detector
from inference.detectors.contract import Detector
from inference.device import pick
from inference.pictures import Limits
from runtime.settings import Settings

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

DESCRIPTION = """What Backsight's model sees in a picture, and the documents it watches by.

Errors are RFC 9457 problem documents. Boxes are x1, y1, x2, y2."""


def create_app(
    looking: Looking,
    documents: Documents,
    *,
    kafka: Callable[[], KafkaState] = lambda: KafkaState("unknown"),
    limits: Limits,
    min_confidence: float = 0.25,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The API around a detector's thread, the documents and what is known of Kafka.

    ``min_confidence``: what is less confident is not shown unless asked for. The caller starts and closes the parts,
    or gives a ``lifespan`` that does.
    """
    app = FastAPI(
        title="Backsight",
        description=DESCRIPTION,
        version=version(),
        lifespan=lifespan,
        # The pages for people load their scripts from the internet; /openapi.json is enough for tools.
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(health_routes(looking, kafka))
    app.include_router(infer_routes(looking, documents, limits, min_confidence))
    app.include_router(config_routes(documents))
    problems.install(app)
    app.add_middleware(AccessLog)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def from_settings(settings: Settings) -> FastAPI:
    """The API of an installation: the model is loaded, and Kafka asked, once the server has started."""
    told = settings.services
    limits = Limits(max_bytes=told.api.max_upload_bytes, max_pixels=told.api.max_pixels)
    looking = Looking(lambda: _detector(settings))
    watch = KafkaWatch(settings.kafka, settings.prefix)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        looking.start()
        watch.start()
        try:
            yield
        finally:
            watch.close()
            looking.close()

    return create_app(
        looking,
        Documents(settings.configs, settings.roi_defaults),
        kafka=lambda: watch.state,
        limits=limits,
        min_confidence=told.rules.min_confidence,
        lifespan=lifespan,
    )


def _detector(settings: Settings) -> Detector:
    told = settings.services.inference
    # Picked, not claimed: the API may share a GPU with the inference stage.
    return open_detector(told, device=pick(device_for(told)), floor=settings.floor)


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        details = problems.ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= details.pop("$defs", {})
        schemas["ProblemDetails"] = details
        app.openapi_schema = document
    return app.openapi_schema
