"""One look at a camera, for a person: what it sends, how fast, by which clock, and one picture of it whole."""

import time
from typing import Final, NamedTuple

from ingest.pictures import Encoded, PictureEncoder
from ingest.sources import Source, SourceFault, open_source
from ingest.sources.rtsp import RtspSource
from runtime.configs import ResolvedCamera
from runtime.redact import camera_place

PICTURES: Final = 50
"""Of a file or folder, which have no rate of their own to wait for, so many are read."""
PATIENCE_SECONDS: Final = 10.0
WIDEST: Final = 7680
QUALITY: Final = 95


class Probe(NamedTuple):
    """What was seen of a camera.

    ``fps`` goes by the pictures' own timestamps where they have any. ``first_ms``: from connecting to the first sound
    picture. ``clock_behind_ms``: our clock less the camera's (from RTCP sender reports) when a picture arrived, its way
    included; None where the camera does not say.
    """

    codec: str
    width: int
    height: int
    fps: float | None
    first_ms: float
    stamped: bool
    clock_behind_ms: float | None


def probe(resolved: ResolvedCamera, seconds: float = 3.0) -> Probe:
    """Watches the camera for ``seconds`` from its first picture on; raises `SourceFault`."""
    began = time.monotonic()
    source = _opened(resolved)
    try:
        count, first, stamps = 0, 0.0, []
        behind: float | None = None
        width = height = 0
        for picture in source.pictures():
            now = time.monotonic()
            if count == 0:
                first = now
                width, height = picture.frame.width, picture.frame.height
                if round(picture.frame.rotation / 90) % 2:
                    width, height = height, width
            count += 1
            if picture.at_ms is not None:
                stamps.append(picture.at_ms)
                origin = source.origin_ms if isinstance(source, RtspSource) else None
                if origin is not None:
                    late = time.time() * 1000 - (origin + picture.at_ms)
                    # The least delayed picture tells the clocks apart best.
                    behind = late if behind is None else min(behind, late)
            if now - first >= seconds or (not source.endless and count >= PICTURES):
                break
        if count == 0:
            raise SourceFault("no_picture", f"{camera_place(resolved.url)}: opened, and gave no picture")
        passed = stamps[-1] - stamps[0] if len(stamps) > 1 else (now - first) * 1000
        intervals = (len(stamps) if len(stamps) > 1 else count) - 1
        fps = intervals * 1000 / passed if intervals and passed > 0 else None
        return Probe(source.codec, width, height, fps, (first - began) * 1000, len(stamps) > 1, behind)
    finally:
        source.close()


def whole_picture(resolved: ResolvedCamera) -> Encoded:
    """The camera's next picture as a JPEG, upright and as large as the camera sends it; raises `SourceFault`."""
    source = _opened(resolved)
    try:
        for picture in source.pictures():
            return PictureEncoder(WIDEST, QUALITY).encode(picture.frame)
    finally:
        source.close()
    raise SourceFault("no_picture", f"{camera_place(resolved.url)}: opened, and gave no picture")


def _opened(resolved: ResolvedCamera) -> Source:
    """A file as fast as it is read; a camera with less patience than the pipeline has."""
    told = {
        "realtime": False,
        "loop": False,
        "no_frame_seconds": min(resolved.camera.no_frame_seconds, PATIENCE_SECONDS),
    }
    return open_source(resolved._replace(camera=resolved.camera.model_copy(update=told)), lambda _seconds: False)
