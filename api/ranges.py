"""A part of a file that is in memory: `Range` of one range of bytes, `If-Range` by ETag (RFC 9110, section 14).

Players ask so to jump about in a clip; some begin no video without.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from fastapi.responses import Response

from api.problems import ApiProblem

_ONE: Final = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)


def ranged(content: bytes, kind: str, asked: Mapping[str, str], headers: Mapping[str, str]) -> Response:
    """The answer to a request with the headers ``asked``: whole, or the part it asks for.

    A `Range` of several ranges or of another shape, or for another state of the file, gets all of it. Raises
    `ApiProblem` 416 for one that begins behind the end.
    """
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    told = {**headers, "Accept-Ranges": "bytes", "ETag": tag}
    part = _ONE.fullmatch(asked.get("range", "").strip())
    first, last = part.groups() if part else ("", "")
    if not (first or last) or asked.get("if-range", tag) != tag:
        return Response(content, media_type=kind, headers=told)
    size = len(content)
    begin = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if first and last and int(last) < int(first):
        return Response(content, media_type=kind, headers=told)  # no range at all
    if begin >= size:
        raise ApiProblem(416, f"the file has {size} bytes", headers={**told, "Content-Range": f"bytes */{size}"})
    told["Content-Range"] = f"bytes {begin}-{end}/{size}"
    return Response(content[begin : end + 1], 206, media_type=kind, headers=told)
