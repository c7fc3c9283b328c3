"""Packets to pictures, the same for every source that PyAV reads."""

import time
from collections.abc import Iterator
from typing import Any, Final

import av

from ingest.sources.source import Picture, SourceFault, fault_of
from runtime.redact import camera_place

PROTOCOLS: Final = "rtsp,rtp,udp,tcp,tls,crypto"
"""What FFmpeg may speak to a camera. It allows every protocol by itself, `file:` and `http:` among them."""


def open_video(
    url: str, *, options: dict[str, str], timeout: tuple[float, float] | None = None, format: str | None = None
) -> tuple[Any, Any]:
    """Opens ``url`` with PyAV; the container and its first video stream. Raises `SourceFault`.

    ``timeout``: seconds to open, and to wait for a packet.
    """
    began = time.monotonic()
    try:
        container = av.open(url, options=options, timeout=timeout, format=format, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        place = url.removeprefix("file:")
        if timeout is not None and time.monotonic() - began >= timeout[0]:
            # FFmpeg calls it invalid data when it is interrupted before the first answer.
            raise SourceFault("timed_out", f"{camera_place(place)}: no answer within {timeout[0]:g} s") from None
        raise fault_of(error, place) from None
    if not container.streams.video:
        container.close()
        raise SourceFault("no_video", f"{camera_place(url.removeprefix('file:'))}: holds no video stream")
    return container, container.streams.video[0]


def decoded(
    container: Any, stream: Any, url: str, *, no_picture_seconds: float | None = None, skip_damaged: bool = False
) -> Iterator[Picture]:
    """Every picture of the stream. Damaged packets are passed over, as a player does.

    ``no_picture_seconds``: packets that arrive for as long without making a picture are a fault.
    ``skip_damaged``: pictures before the first sound one are left out (a stream that is joined between key frames).
    """
    last = time.monotonic()
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                frames = []
            for frame in frames:
                if skip_damaged and frame.is_corrupt:
                    continue
                skip_damaged = False
                last = time.monotonic()
                yield Picture(frame, None if frame.time is None else frame.time * 1000)
            if no_picture_seconds is not None and time.monotonic() - last > no_picture_seconds:
                raise SourceFault(
                    "no_picture", f"{camera_place(url)}: packets but no picture for {no_picture_seconds:g} s"
                )
    except av.EOFError:
        return
    except (av.FFmpegError, OSError) as error:
        raise fault_of(error, url, "broke off") from None
