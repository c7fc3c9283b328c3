"""Where pictures come from: one file a kind of source."""

from collections.abc import Callable

from ingest.sources.device import DeviceSource
from ingest.sources.file import FileSource
from ingest.sources.images import ImagesSource
from ingest.sources.rtsp import RtspSource
from ingest.sources.source import Picture, Source, SourceFault
from runtime.configs import ResolvedCamera
from schemas.documents.cameras import source_kind

__all__ = ["Picture", "Source", "SourceFault", "open_source"]


def open_source(resolved: ResolvedCamera, wait: Callable[[float], bool]) -> Source:
    """Opens what the camera's URL names; raises `SourceFault`.

    ``wait`` sleeps for so many seconds and answers whether the camera is to stop; sources that keep real time by
    themselves (files) use it.
    """
    camera, url = resolved
    kind = source_kind(url)
    if kind == "rtsp":
        return RtspSource(url, camera.no_frame_seconds)
    if kind == "device":
        return DeviceSource(url, camera.no_frame_seconds)
    if kind == "images":
        return ImagesSource(url, camera.fps_target, wait if camera.realtime else None, camera.loop)
    return FileSource(url, wait if camera.realtime else None, camera.loop)
