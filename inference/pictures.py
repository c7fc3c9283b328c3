"""Bytes to pictures, checked before they are decoded. For frames from Kafka and for uploads alike.

A picture of 100 KB can unfold to gigabytes, so the format and the size in its header are looked at first; the header
is read by the few lines below, and only then is a decoder let near the bytes. A picture is uint8 (height, width, 3)
in RGB order. The orientation that a camera app writes beside the pixels (EXIF) is not applied: boxes are fractions of
the pixels as they are stored.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from runtime.pixel_limit import MAX_PIXELS

Picture = NDArray[np.uint8]
Format = Literal["jpeg", "png", "webp"]
BadPictureReason = Literal["empty", "too_many_bytes", "unknown_format", "bad_header", "too_many_pixels", "undecodable"]

MAX_SIDE: Final = 16_384
MAX_SCANS: Final = 200
"""Of a progressive JPEG, which has about ten. Every scan goes over the whole picture, so that a small file with very
many keeps a decoder busy for hours."""


class BadPicture(ValueError):
    """Bytes that are not decoded. ``reason`` is from a short list, ``detail`` is for a person."""

    def __init__(self, reason: BadPictureReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class PictureHead(NamedTuple):
    """What a picture's header says; pixels."""

    format: Format
    width: int
    height: int


class Limits(NamedTuple):
    """How large a picture may be."""

    max_bytes: int
    max_pixels: int = MAX_PIXELS
    max_side: int = MAX_SIDE


def read_head(content: bytes) -> PictureHead:
    """Format and size from the first bytes; raises `BadPicture` for what is no JPEG, PNG or WebP."""
    if not content:
        raise BadPicture("empty", "there are no bytes")
    try:
        if content.startswith(b"\xff\xd8\xff"):
            return PictureHead("jpeg", *_jpeg_size(content))
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return PictureHead("png", *_png_size(content))
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            return PictureHead("webp", *_webp_size(content))
    except (struct.error, IndexError):
        raise BadPicture("bad_header", "the header is cut off") from None
    raise BadPicture("unknown_format", "expected a JPEG, PNG or WebP picture")


def check(content: bytes, limits: Limits, formats: Sequence[Format] = ("jpeg", "png", "webp")) -> PictureHead:
    """The picture's head when it may be decoded; raises `BadPicture` with the reason when not."""
    if len(content) > limits.max_bytes:
        raise BadPicture("too_many_bytes", f"expected at most {limits.max_bytes} bytes, found {len(content)}")
    head = read_head(content)
    if head.format not in formats:
        raise BadPicture("unknown_format", f"expected {' or '.join(formats)}, found {head.format}")
    if head.width < 1 or head.height < 1:
        raise BadPicture("bad_header", f"expected a size of one pixel or more, found {head.width} x {head.height}")
    if max(head.width, head.height) > limits.max_side or head.width * head.height > limits.max_pixels:
        raise BadPicture(
            "too_many_pixels",
            f"expected at most {limits.max_pixels} pixels and {limits.max_side} a side, "
            f"found {head.width} x {head.height}",
        )
    if head.format == "jpeg" and content.count(b"\xff\xda") > MAX_SCANS:
        raise BadPicture("undecodable", f"a JPEG of more than {MAX_SCANS} scans")
    return head


def decode(
    content: bytes,
    limits: Limits,
    formats: Sequence[Format] = ("jpeg", "png", "webp"),
    at_least: tuple[int, int] | None = None,
) -> Picture:
    """The picture, RGB; raises `BadPicture`.

    ``at_least`` (width, height): the picture is wanted no larger than this, so a JPEG may be decoded at a half, a
    quarter or an eighth of its size, which is cheaper (1.25 times at 1080p) and aliases less than scaling afterwards.
    """
    head = check(content, limits, formats)
    try:
        picture = _decode_jpeg(content, head, at_least) if head.format == "jpeg" else _decode_other(content)
    except (ValueError, cv2.error) as error:
        raise BadPicture("undecodable", str(error).splitlines()[0][:200] if str(error) else "no reason given") from None
    if picture is None:
        raise BadPicture("undecodable", f"the {head.format} does not decode")
    return picture


def shrink_factor(size: tuple[int, int], at_least: tuple[int, int] | None) -> int:
    """How many times smaller (1, 2, 4, 8) a picture may be decoded and still fill (width, height) when scaled to fit.

    Factors between these have no fast path in libjpeg-turbo: 3/8 takes longer than 1/2.
    """
    if at_least is None:
        return 1
    # Fitted into (width, height) with its aspect ratio, the picture is scaled by this.
    scale = min(at_least[0] / size[0], at_least[1] / size[1])
    return max(factor for factor in (1, 2, 4, 8) if factor == 1 or scale * factor <= 1)


def _decode_jpeg(content: bytes, head: PictureHead, at_least: tuple[int, int] | None) -> Picture:
    factor = shrink_factor((head.width, head.height), at_least)
    smaller: dict[str, Any] = {}
    if factor > 1:
        smaller = {"min_width": -(-head.width // factor), "min_height": -(-head.height // factor)}
    picture: Picture = simplejpeg.decode_jpeg(content, colorspace="RGB", **smaller)
    return picture


def _decode_other(content: bytes) -> Picture | None:
    # 16 bits become 8, alpha is dropped, of an animation the first picture is taken.
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None:
        return None
    picture: Picture = np.ascontiguousarray(decoded[:, :, ::-1])
    return picture


_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD8)})


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Width and height from the start-of-frame segment (ITU-T T.81, B.2.2)."""
    place = 2
    while True:
        if content[place] != 0xFF:
            raise BadPicture("bad_header", "expected a JPEG segment")
        while content[place] == 0xFF:  # any number of fill bytes may come first
            place += 1
        marker = content[place]
        place += 1
        if marker in _WITHOUT_LENGTH:
            continue
        if marker in (0xD9, 0xDA):
            raise BadPicture("bad_header", "a JPEG without a size")
        if marker in _START_OF_FRAME:
            _length, _precision, height, width = struct.unpack_from(">HBHH", content, place)
            return width, height
        (length,) = struct.unpack_from(">H", content, place)
        if length < 2:
            raise BadPicture("bad_header", "a JPEG segment without a length")
        place += length


def _png_size(content: bytes) -> tuple[int, int]:
    _length, kind, width, height = struct.unpack_from(">I4sII", content, 8)
    if kind != b"IHDR":
        raise BadPicture("bad_header", "a PNG that does not begin with IHDR")
    return width, height


def _webp_size(content: bytes) -> tuple[int, int]:
    """Width and height from the first chunk (RFC 9649): extended, lossless or lossy."""
    kind = content[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(_cut(content, 24, 3), "little"), 1 + int.from_bytes(_cut(content, 27, 3), "little")
    if kind == b"VP8L":
        if content[20] != 0x2F:
            raise BadPicture("bad_header", "a lossless WebP without its signature")
        bits = int.from_bytes(_cut(content, 21, 4), "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    if kind == b"VP8 ":
        if _cut(content, 23, 3) != b"\x9d\x01\x2a":
            raise BadPicture("bad_header", "a lossy WebP that does not begin with a key frame")
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise BadPicture("bad_header", "a WebP of an unknown kind")


def _cut(content: bytes, start: int, count: int) -> bytes:
    if len(content) < start + count:
        raise IndexError
    return content[start : start + count]
