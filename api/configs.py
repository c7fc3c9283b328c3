"""`GET /config/rois` and `GET /config/cameras`."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.documents import Documents
from api.problems import documented


class CamerasAnswer(BaseModel):
    """`cameras.yaml` as JSON, credentials hidden."""

    model_config = ConfigDict(extra="allow")
    cameras: list[dict[str, Any]] | None = Field(default_factory=list)


class RoisAnswer(BaseModel):
    """`rois.yaml` as JSON."""

    model_config = ConfigDict(extra="allow")
    cameras: list[dict[str, Any]] | None = Field(default_factory=list)


def config_routes(documents: Documents) -> APIRouter:
    """The routes, around the documents."""
    router = APIRouter(prefix="/config", tags=["config"])

    # Plain functions: they read files, so they run in a thread.
    @router.get(
        "/cameras", response_model=CamerasAnswer, summary="The cameras, without credentials", responses=documented(500)
    )
    def cameras() -> dict[str, Any]:
        """`cameras.yaml` in its own shape. Users, passwords and secret query values are hidden; `${NAME}` stays."""
        return documents.cameras()

    @router.get("/rois", response_model=RoisAnswer, summary="The ROIs", responses=documented(500))
    def rois() -> dict[str, Any]:
        """`rois.yaml` in its own shape."""
        return documents.rois()

    return router
