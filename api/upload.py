"""A picture from a request: bounded in bytes and time while it comes in, raw or as the multipart field `file`."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from api.problems import ApiProblem, Mistake
from inference.pictures import BadPicture, read_head

SECONDS: Final = 30.0
"""For the whole body to arrive."""
WRAPPING_BYTES: Final = 16 * 1024
"""What multipart may add to the picture."""

PICTURE_TYPES: Final = {"image/jpeg": "jpeg", "image/png": "png", "image/webp": "webp"}
UNNAMED_TYPES: Final = ("", "application/octet-stream")
"""Of these the first bytes tell what it is."""
MULTIPART: Final = "multipart/form-data"
EXPECTED: Final = "expected image/jpeg, image/png or image/webp, or multipart/form-data with the field file"

REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": "A JPEG, PNG or WebP picture, as the body or as the field `file`.",
    "content": {
        **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in PICTURE_TYPES},
        MULTIPART: {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}},
                "required": ["file"],
            },
            "encoding": {"file": {"contentType": ", ".join(PICTURE_TYPES)}},
        },
    },
}
"""For the OpenAPI document."""


class _InMemory(MultiPartParser):
    # The whole body is in memory already and bounded; a temporary file would only need a place to write.
    spool_max_size = 1 << 30


async def read_picture(request: Request, max_bytes: int) -> bytes:
    """The picture's bytes, of a kind that is accepted and no more than ``max_bytes``; raises `ApiProblem`.

    Nothing is decoded: `inference.pictures` looks at the size in the header before that happens.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != MULTIPART and kind not in PICTURE_TYPES and kind not in UNNAMED_TYPES:
        raise ApiProblem(415, f"{EXPECTED}; found {_shown(kind)}")
    try:
        async with asyncio.timeout(SECONDS):
            body = await _read_body(request, max_bytes + (WRAPPING_BYTES if kind == MULTIPART else 0), max_bytes)
    except TimeoutError:
        raise ApiProblem(408, f"the picture did not arrive within {SECONDS:g} s") from None
    content = body
    if kind == MULTIPART:
        content, kind = await _file_of(request, body)
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    if not content:
        raise ApiProblem(422, "there is no picture", errors=[Mistake(place="body", message="is empty")])
    _check_kind(content, kind)
    return content


def _check_kind(content: bytes, kind: str) -> None:
    """The first bytes must be those of a picture, and of the kind that was said."""
    try:
        found = read_head(content).format
    except BadPicture as bad:
        status = 415 if bad.reason == "unknown_format" else 422
        raise ApiProblem(status, bad.detail) from None
    if PICTURE_TYPES.get(kind, found) != found:
        raise ApiProblem(415, f"the body is said to be {kind} and begins as {found} does")


async def _read_body(request: Request, most: int, max_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:18]) > most:
        raise _too_large(max_bytes)
    pieces: list[bytes] = []
    read = 0
    async for piece in request.stream():
        read += len(piece)
        if read > most:
            raise _too_large(max_bytes)
        pieces.append(piece)
    return b"".join(pieces)


async def _file_of(request: Request, body: bytes) -> tuple[bytes, str]:
    """The bytes and the kind of the field `file`."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await _InMemory(request.headers, whole(), max_files=1, max_fields=8).parse()
    except MultiPartException as error:
        raise ApiProblem(422, "the multipart body does not check", errors=[_mistake("body", error.message)]) from None
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            message = "is missing" if file is None else "is a text; expected a file (with a filename)"
            raise ApiProblem(422, "there is no picture", errors=[_mistake("body.file", message)])
        content = await file.read()
    finally:
        await form.close()
    kind = (file.content_type or "").split(";")[0].strip().lower()
    # Only what the part says of a picture counts: clients put text/plain or nothing there.
    return content, kind if kind in PICTURE_TYPES else ""


def _mistake(place: str, message: str) -> Mistake:
    return Mistake(place=place, message=message)


def _too_large(max_bytes: int) -> ApiProblem:
    return ApiProblem(413, f"expected at most {max_bytes} bytes", headers={"Connection": "close"})


def _shown(kind: str) -> str:
    return kind[:60] if kind.isascii() and kind.isprintable() else "something else"
