"""`GET /config/cameras`."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.access import Reading
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
        "/cameras",
        response_model=CamerasAnswer,
        summary="The cameras, without credentials",
        responses=documented(401, 403, 429, 500),
    )
    def cameras(caller: Reading) -> dict[str, Any]:
        """`cameras.yaml` in its own shape, the cameras that the token is for. Users, passwords and secret query values
        are hidden; `${NAME}` stays.
        """
        written = documents.cameras()
        return {**written, "cameras": [each for each in written.get("cameras") or () if caller.sees(each["id"])]}

    return router
