"""`POST /infer`: what the model sees in one picture, and which ROIs of a camera it lies in."""

import asyncio
import time
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from api.access import Caller, Inferring
from api.documents import Documents
from api.looking import Busy, Looked, Looking, NotReady
from api.negotiation import JPEG, wanted
from api.problems import ApiProblem, Mistake, documented
from api.upload import REQUEST_BODY, read_picture
from inference.annotate import AMBER, GREEN, RED, Area, Mark
from inference.pictures import BadPicture, Limits
from rules.engine import Document, RoiHit, roi_hits
from rules.geometry import to_fractions
from schemas.documents.cameras import CameraId
from schemas.effective import RoiRules
from schemas.messages import Detection

UPLOADS_AT_ONCE: Final = 16
"""Pictures in memory while they come in; with the default limit of 10 MB that is 160 MB."""

NOTE: Final = (
    "One picture cannot confirm an alert: an alert opens when a ROI's `confirm` is satisfied over time. "
    "A detection is a hit when it is in a ROI that is active and it is confident enough."
)


class SeenModel(BaseModel):
    """Which weights looked."""

    name: str
    version: str
    sha256: str


class Seen(BaseModel):
    """One detection. Boxes are x1, y1, x2, y2."""

    label: str
    confidence: float = Field(ge=0, le=1)
    box: tuple[float, float, float, float] = Field(description="fractions of the picture")
    box_pixels: tuple[float, float, float, float] = Field(description="pixels of the picture as it was sent")


class SeenInRoi(BaseModel):
    """A detection of `alert_classes` in a ROI now."""

    roi: str
    detection: int = Field(description="its place in `detections`, from 0")
    label: str
    active: bool = Field(description="the ROI is active at this time of day")
    confident: bool = Field(description="the confidence reaches the ROI's min_confidence")
    hit: bool = Field(description="both: over time this would open an alert")


class Inferred(BaseModel):
    """What is seen in the picture."""

    model: SeenModel
    width: int = Field(description="pixels of the picture as it was sent")
    height: int
    inference_ms: float = Field(description="the detector alone")
    detections: list[Seen]
    camera_id: str | None = None
    roi_revision: str | None = None
    roi_hits: list[SeenInRoi] | None = Field(default=None, description="where camera_id was given")
    note: str | None = None


def infer_routes(looking: Looking, documents: Documents, limits: Limits, min_confidence: float) -> APIRouter:
    """The route, around a detector and the documents."""
    router = APIRouter(tags=["infer"])
    uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)

    @router.post(
        "/infer",
        response_model=Inferred,
        response_model_exclude_none=True,
        summary="What the model sees in one picture",
        responses={
            200: {
                "description": f"Detections, or with `Accept: {JPEG}` the picture with them drawn in.",
                "content": {JPEG: {"schema": {"type": "string", "format": "binary"}}},
            },
            **documented(401, 403, 404, 406, 408, 413, 415, 422, 429, 500, 503),
        },
        openapi_extra={"requestBody": REQUEST_BODY},
    )
    async def infer(
        caller: Inferring,
        request: Request,
        camera_id: Annotated[
            CameraId | None, Query(description="also say which detection lies in which ROI of this camera")
        ] = None,
        min_confidence_: Annotated[
            float | None,
            Query(alias="min_confidence", ge=0, le=1, description="leave out what is less confident"),
        ] = None,
    ) -> Response | Inferred:
        """Send a JPEG, PNG or WebP picture as the body, or as the multipart field `file`.

        With `camera_id` the answer also says which detection lies in which ROI of that camera. One picture cannot
        confirm an alert: that takes several hits over time.
        """
        kind = wanted(request.headers.get("accept"))
        document = None if camera_id is None else await asyncio.to_thread(_document, documents, caller, camera_id)
        if uploads.locked():
            raise _busy(f"{UPLOADS_AT_ONCE} pictures are on their way already")
        least = _least(min_confidence_, min_confidence, document)
        try:
            async with uploads:
                content = await read_picture(request, limits.max_bytes)
                if kind == JPEG:
                    drawn = await looking.draw(content, limits, lambda looked: _marks(looked, document, least))
                    return Response(drawn, media_type=JPEG)
                looked = await looking.look(content, limits)
        except BadPicture as bad:
            raise _refused(bad) from None
        except (Busy, NotReady) as error:
            raise _busy(str(error)) from None
        return _inferred(looked, camera_id, document, least)

    return router


def _document(documents: Documents, caller: Caller, camera_id: str) -> Document | None:
    if not caller.sees(camera_id) or camera_id not in documents.camera_ids():
        raise ApiProblem(404, "no camera has this id", errors=[Mistake(place="query.camera_id", message="is unknown")])
    return documents.rules_for(camera_id)


def _least(asked: float | None, usual: float, document: Document | None) -> float:
    """What is less confident is not shown: as asked, else the default, or lower where a ROI is content with less."""
    if asked is not None:
        return asked
    return usual if document is None else min(usual, document.lowest_confidence)


def _busy(detail: str) -> ApiProblem:
    return ApiProblem(503, detail, headers={"Retry-After": "1"})


def _refused(bad: BadPicture) -> ApiProblem:
    status = {"too_many_bytes": 413, "too_many_pixels": 413, "unknown_format": 415}.get(bad.reason, 422)
    return ApiProblem(status, bad.detail, errors=[Mistake(place="body", message=bad.reason)])


def _shown(looked: Looked, least: float) -> tuple[Detection, ...]:
    return tuple(each for each in looked.detections if each.confidence >= least)


def _hits(looked: Looked, shown: tuple[Detection, ...], document: Document | None) -> tuple[RoiHit, ...]:
    if document is None:
        return ()
    return roi_hits(document, shown, looked.width, looked.height, round(time.time() * 1000))


def _inferred(looked: Looked, camera_id: str | None, document: Document | None, least: float) -> Inferred:
    shown = _shown(looked, least)
    model, width, height = looked.model, looked.width, looked.height
    answer = Inferred(
        model=SeenModel(name=model.name, version=model.version, sha256=model.sha256),
        width=width,
        height=height,
        inference_ms=round(looked.milliseconds, 2),
        detections=[
            Seen(
                label=each.label,
                confidence=each.confidence,
                box=each.box,
                box_pixels=(
                    round(each.box[0] * width, 1),
                    round(each.box[1] * height, 1),
                    round(each.box[2] * width, 1),
                    round(each.box[3] * height, 1),
                ),
            )
            for each in shown
        ],
    )
    if camera_id is None:
        return answer
    hits = [
        SeenInRoi(
            roi=hit.roi,
            detection=hit.detection,
            label=hit.label,
            active=hit.active,
            confident=hit.confident,
            hit=hit.active and hit.confident,
        )
        for hit in _hits(looked, shown, document)
    ]
    revision = None if document is None else document.revision
    return answer.model_copy(update={"camera_id": camera_id, "roi_revision": revision, "roi_hits": hits, "note": NOTE})


def _marks(looked: Looked, document: Document | None, least: float) -> tuple[list[Mark], list[Area]]:
    """Hits and the ROIs they are in are red, other alert classes amber, the rest green."""
    shown = _shown(looked, least)
    hits = [hit for hit in _hits(looked, shown, document) if hit.active and hit.confident]
    hit_places, hit_rois = {hit.detection for hit in hits}, {hit.roi for hit in hits}
    alarming = set() if document is None else set(document.rules.alert_classes)
    marks = [
        Mark(
            each.box,
            f"{each.label} {each.confidence:.0%}",
            RED if number in hit_places else AMBER if each.label in alarming else GREEN,
        )
        for number, each in enumerate(shown)
    ]
    rois = () if document is None else document.rois
    areas = [
        Area(_fractions(roi, looked.width, looked.height), roi.name, RED if roi.name in hit_rois else AMBER)
        for roi in rois
    ]
    return marks, areas


def _fractions(roi: RoiRules, width: int, height: int) -> tuple[tuple[float, float], ...]:
    if roi.units == "fractions":
        return roi.points
    return tuple(to_fractions(roi.points, *(roi.reference_size or (width, height))))
