"""The body of a request that is a JSON document."""

from typing import Final

from fastapi import Request

from api.problems import ApiProblem, Mistake

JSON: Final = "application/json"
"""Alone: before a page in a browser sends that elsewhere, the browser asks."""
MOST_BYTES: Final = 1024 * 1024


async def read_body(request: Request) -> bytes:
    """The body of a request that sends JSON, at most 1 MiB; raises `ApiProblem` 413, 415 or 422."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != JSON:
        raise ApiProblem(415, f"expected {JSON}")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise ApiProblem(413, f"expected at most {MOST_BYTES} bytes", headers={"Connection": "close"})
    if not body:
        raise ApiProblem(422, "there is no document", errors=[Mistake(place="body", message="is empty")])
    return bytes(body)
