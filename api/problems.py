"""Every error has one shape: RFC 9457, `application/problem+json`.

``errors`` lists single mistakes with their places. Values that a caller sent are never repeated.
"""

from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from runtime.logs import get_logger
from schemas.problems import BadDocument

MEDIA_TYPE: Final = "application/problem+json"

log = get_logger(__name__)


class Mistake(BaseModel):
    """One mistake and its place."""

    place: str = Field(examples=["query.camera_id"])
    message: str


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(default="about:blank", examples=["about:blank"])
    title: str = Field(examples=["Unsupported Media Type"])
    status: int = Field(examples=[415])
    detail: str
    errors: list[Mistake] = Field(default_factory=list)


class ApiProblem(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: list[Mistake] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.headers = headers
        super().__init__(detail)


def problem_response(
    status: int, detail: str, errors: list[Mistake] | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error as it is sent."""
    body = ProblemDetails(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors or [])
    return JSONResponse(body.model_dump(), status, headers, MEDIA_TYPE)


def kafka_away(detail: str) -> ApiProblem:
    """What needs Kafka cannot be done now."""
    return ApiProblem(503, f"Kafka cannot be reached: {detail}", headers={"Retry-After": "5"})


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in sorted(statuses)}


def _methods(app: FastAPI, path: str) -> list[str]:
    """Those of every operation of the path; the framework names those of the first."""
    documented = app.openapi()["paths"]
    found = [operations for template, operations in documented.items() if compile_path(template)[0].match(path)]
    return sorted({method.upper() for operations in found for method in operations})


def install(app: FastAPI) -> None:
    """Makes every error of the application take the one shape."""

    @app.exception_handler(ApiProblem)
    async def _ours(_request: Request, problem: ApiProblem) -> JSONResponse:
        return problem_response(problem.status, problem.detail, problem.errors, problem.headers)

    @app.exception_handler(HTTPException)
    async def _framework(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers) if error.headers else None
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and (methods := _methods(app, request.url.path)):
            headers = {"Allow": ", ".join(methods)}
        return problem_response(error.status_code, str(error.detail), headers=headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        mistakes = [
            Mistake(place=".".join(map(str, found["loc"])), message=str(found["msg"])) for found in error.errors()
        ]
        return problem_response(422, "the request does not check", mistakes)

    @app.exception_handler(BadDocument)
    async def _document(_request: Request, bad: BadDocument) -> JSONResponse:
        mistakes = [Mistake(place=problem.place, message=problem.message) for problem in bad.problems]
        return problem_response(500, "a configuration document does not check; see `backsight config check`", mistakes)

    @app.exception_handler(Exception)
    async def _fault(request: Request, error: Exception) -> JSONResponse:
        log.error("request_fault", path=request.url.path, method=request.method, exc_info=error)
        return problem_response(500, "something broke on our side; the log says what")
