"""A frame on the topic ``frames``: a JPEG as the value, what is known of it in the headers.

An empty value is an ``offline`` tick: the camera is away and its clock goes on.
"""

from typing import Literal

from msgspec import Struct

from schemas.problems import Undecodable

Mode = Literal["live", "complete"]
"""``live``: a stale frame may be skipped; ``complete``: every frame is judged, however long it takes."""

SCHEMA = b"frame/1"
MAX_FRAME_BYTES = 2 * 1024 * 1024 - 64 * 1024
"""The 2 MiB that broker, topic, producer and consumer agree on, less room for headers and record overhead."""

Headers = list[tuple[str, bytes]]


class FrameHead(Struct, frozen=True):
    """The headers of a frame.

    ``width`` and ``height`` are the JPEG's pixels, ``source_width`` and ``source_height`` those of the camera's
    picture (all 0 for a tick). ``captured_at`` and ``produced_at`` are milliseconds UTC.
    """

    seq: int
    captured_at: int
    produced_at: int
    mode: Mode
    width: int
    height: int
    source_width: int
    source_height: int


def frame_headers(head: FrameHead) -> Headers:
    """The headers as they travel: the schema's name first, numbers as ASCII digits."""
    return [
        ("schema", SCHEMA),
        *((name, str(getattr(head, name)).encode()) for name in FrameHead.__struct_fields__),
    ]


def read_frame_headers(headers: Headers | None) -> FrameHead:
    """The reverse of `frame_headers`; raises `Undecodable` with what is missing or wrong.

    Unknown headers are let be.
    """
    given = dict(headers or ())
    if given.get("schema") != SCHEMA:
        raise Undecodable("unknown_schema", f"expected {SCHEMA.decode()}, found {given.get('schema')!r}")
    mode = given.get("mode")
    if mode not in (b"live", b"complete"):
        raise Undecodable("bad_header", f"mode: expected live or complete, found {mode!r}")
    numbers: dict[str, int] = {}
    for name in FrameHead.__struct_fields__:
        if name == "mode":
            continue
        raw = given.get(name, b"")
        if not raw.isdigit() or len(raw) > 18:  # 18 digits fit 64 bits
            raise Undecodable("bad_header", f"{name}: expected digits, found {raw!r}")
        numbers[name] = int(raw)
    return FrameHead(mode="live" if mode == b"live" else "complete", **numbers)
