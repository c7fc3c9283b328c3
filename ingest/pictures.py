"""A decoded picture to a JPEG, without a colour round trip.

Video planes are YUV and so is a JPEG: they are handed over as they are. Two things are minded. Video is usually
*limited range* (luma 16 to 235) while a JPEG is full range (JFIF), so limited planes are stretched; without that the
picture is washed out by 6 dB and more. And planes wider than wanted are made smaller by libswscale, which stretches in
the same pass; so do all pixel formats that are not plain 4:2:0.
"""

from typing import Any, Final, NamedTuple

import av
import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from av.video.reformatter import VideoReformatter

from schemas.frames import MAX_FRAME_BYTES

Plane = npt.NDArray[np.uint8]

FULL_RANGE: Final = 2
"""`AVCOL_RANGE_JPEG`"""

PLAIN: Final = ("yuv420p", "yuvj420p")
LESS_QUALITY: Final = (70, 50, 30)
"""What a JPEG that is too large for a record is tried with in turn."""

# y' = (y - 16) * 255 / 219 and c' = (c - 128) * 255 / 224 + 128 (ITU-T T.871 against BT.601 studio range)
_LUMA: Final = (255 / 219, -16 * 255 / 219)
_CHROMA: Final = (255 / 224, 128 - 128 * 255 / 224)


class Encoded(NamedTuple):
    """A JPEG with its size and that of the camera's picture, in pixels; ``luma`` is the plane it was made from."""

    jpeg: bytes
    width: int
    height: int
    source_width: int
    source_height: int
    luma: Plane


class PictureTooLarge(ValueError):
    """No quality makes the picture fit into a record."""


class PictureEncoder:
    """Makes one camera's pictures into JPEGs at most ``width`` pixels wide. For one thread."""

    def __init__(self, width: int, quality: int) -> None:
        self._width = width
        self._quality = quality
        self._reformatter = VideoReformatter()

    def encode(self, frame: av.VideoFrame) -> Encoded:
        """The picture as a JPEG, upright; raises `PictureTooLarge`."""
        turns = round(frame.rotation / 90) % 4
        source = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
        size = fitted(*source, self._width)
        planes = self._planes(frame, size[::-1] if turns % 2 else size)
        if turns:
            planes = [np.ascontiguousarray(np.rot90(plane, turns)) for plane in planes]
        return Encoded(self._jpeg(planes), *size, *source, planes[0])

    def _planes(self, frame: av.VideoFrame, size: tuple[int, int]) -> list[Plane]:
        name = frame.format.name
        full = frame.color_range == FULL_RANGE or name.startswith(("yuvj", "gray")) or frame.format.is_rgb
        if name in PLAIN and (frame.width, frame.height) == size:
            planes = [_as_array(plane) for plane in frame.planes]
            return planes if full else stretched(planes)
        converted = self._reformatter.reformat(
            frame,
            width=size[0],
            height=size[1],
            format="yuvj420p",
            interpolation="AREA",
            src_color_range="JPEG" if full else "MPEG",
            dst_color_range="JPEG",
            threads=1,  # a camera has a thread of its own already
        )
        return [_as_array(plane) for plane in converted.planes]

    def _jpeg(self, planes: list[Plane]) -> bytes:
        packed = [np.ascontiguousarray(plane) for plane in planes]
        for quality in (self._quality, *(less for less in LESS_QUALITY if less < self._quality)):
            jpeg: bytes = simplejpeg.encode_jpeg_yuv_planes(*packed, quality=quality)
            if len(jpeg) <= MAX_FRAME_BYTES:
                return jpeg
        raise PictureTooLarge(f"{len(jpeg)} bytes at quality {quality}, more than {MAX_FRAME_BYTES}")


def fitted(width: int, height: int, widest: int) -> tuple[int, int]:
    """The size of a picture at most ``widest`` wide: the same shape, both sides even and at least 2."""
    if width <= widest:
        return max(2, width & ~1), max(2, height & ~1)
    return widest & ~1, max(2, round(height * (widest & ~1) / width / 2) * 2)


def stretched(planes: list[Plane]) -> list[Plane]:
    """Limited-range planes as full-range ones."""
    luma, *chroma = planes
    return [_scaled(luma, *_LUMA), *(_scaled(plane, *_CHROMA) for plane in chroma)]


def _scaled(plane: Plane, factor: float, offset: float) -> Plane:
    # convertScaleAbs takes the absolute value, which would fold what is under 16 (blacker than black) upwards.
    scaled: Plane = cv2.convertScaleAbs(cv2.max(plane, 16), alpha=factor, beta=offset)
    return scaled


def _as_array(plane: Any) -> Plane:
    """A view of the plane without its padding; valid as long as the frame is."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]
