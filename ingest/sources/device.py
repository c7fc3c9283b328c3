"""A camera on this machine: `/dev/videoN` (Video4Linux)."""

from collections.abc import Iterator

from ingest.sources.decoding import decoded, open_video
from ingest.sources.source import Picture


class DeviceSource:
    """The device with its own default size and rate."""

    endless = True

    def __init__(self, path: str, no_frame_seconds: float) -> None:
        self._path = path
        self._no_frame_seconds = no_frame_seconds
        self._container, self._stream = open_video(
            path, options={}, format="v4l2", timeout=(no_frame_seconds, no_frame_seconds)
        )
        self._stream.thread_count = 1
        self.codec = str(self._stream.codec_context.name)

    def pictures(self) -> Iterator[Picture]:
        """Pictures as the device gives them."""
        return decoded(self._container, self._stream, self._path, no_picture_seconds=self._no_frame_seconds)

    def close(self) -> None:
        """Lets go of the device."""
        self._container.close()
