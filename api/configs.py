"""`GET /config/cameras`."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.documents import Documents
from api.problems import documented


class CamerasAnswer(BaseModel):
    """`cameras.yaml` as JSON, credentials hidden."""

    model_config = ConfigDict(extra="allow")
    cameras: list[dict[str, Any]] | None = Field(default_factory=list)


def camera_routes(documents: Documents) -> APIRouter:
    """The route, around the documents."""
    router = APIRouter(prefix="/config", tags=["config"])

    # A plain function: it reads files, so it runs in a thread.
    @router.get(
        "/cameras", response_model=CamerasAnswer, summary="The cameras, without credentials", responses=documented(500)
    )
    def cameras() -> dict[str, Any]:
        """`cameras.yaml` in its own shape. Users, passwords and secret query values are hidden; `${NAME}` stays."""
        return documents.cameras()

    return router
