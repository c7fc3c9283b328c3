"""A video file, in real time or as fast as it is taken, once or over and over."""

from collections.abc import Callable, Iterator
from typing import Final

from ingest.sources.decoding import decoded, open_video
from ingest.sources.pacing import paced
from ingest.sources.source import Picture, SourceFault
from runtime.redact import camera_place

FAST_THREADS: Final = 2
"""Decoder threads of a file that is played as fast as it goes; a frame of memory each."""

DEFAULT_INTERVAL_MS: Final = 40.0


class FileSource:
    """A file. ``wait`` None: as fast as it is taken."""

    endless = False

    def __init__(self, path: str, wait: Callable[[float], bool] | None, loop: bool) -> None:
        self._path = path
        self._wait = wait
        self._loop = loop
        self._open()

    def _open(self) -> None:
        # "file:" keeps FFmpeg from reading a protocol or an option into a file's name.
        self._container, self._stream = open_video(f"file:{self._path}", options={"protocol_whitelist": "file"})
        self._stream.thread_count = 1 if self._wait else FAST_THREADS
        self._stream.thread_type = "AUTO"
        self.codec = str(self._stream.codec_context.name)

    def pictures(self) -> Iterator[Picture]:
        """Pictures with their time in the file from its first one; over a loop, times run on."""
        every = self._over_and_over() if self._loop else self._once(0.0)
        return paced(every, self._wait) if self._wait else every

    def _over_and_over(self) -> Iterator[Picture]:
        offset = 0.0
        while True:
            at = offset
            for picture in self._once(offset):
                yield picture
                assert picture.at_ms is not None
                at = picture.at_ms
            if at == offset:
                raise SourceFault("no_video", f"{camera_place(self._path)}: holds one picture at most; loop needs more")
            offset = at + self._interval()
            self.close()
            self._open()

    def _once(self, offset: float) -> Iterator[Picture]:
        first: float | None = None
        at = -self._interval()
        for picture in decoded(self._container, self._stream, self._path):
            if picture.at_ms is None:
                at += self._interval()
            else:
                first = picture.at_ms if first is None else first
                at = max(at, picture.at_ms - first)
            yield Picture(picture.frame, offset + at)

    def _interval(self) -> float:
        rate = self._stream.average_rate
        return 1000 / float(rate) if rate else DEFAULT_INTERVAL_MS

    def close(self) -> None:
        """Closes the file."""
        self._container.close()
