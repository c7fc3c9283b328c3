"""A folder of images, in the order of their names."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ingest.sources.decoding import decoded, open_video
from ingest.sources.pacing import paced
from ingest.sources.source import Picture, SourceFault
from runtime.logs import get_logger

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

log = get_logger(__name__)


class ImagesSource:
    """A folder. Images have no time of their own: each comes one sample interval after the one before."""

    endless = False
    codec = "images"

    def __init__(self, folder: str, fps: float, wait: Callable[[float], bool] | None, loop: bool) -> None:
        self._wait = wait
        self._loop = loop
        self._interval = 1000.0 / fps
        if not Path(folder).is_dir():
            raise SourceFault("not_found", f"{folder}: there is no such folder")
        self._files = sorted(
            (file for file in Path(folder).iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()),
            key=_by_number,
        )
        if not self._files:
            raise SourceFault("no_video", f"{folder}: holds no image ({', '.join(SUFFIXES)})")

    def pictures(self) -> Iterator[Picture]:
        """An image per interval."""
        every = self._every()
        return paced(every, self._wait) if self._wait else every

    def _every(self) -> Iterator[Picture]:
        count = 0
        while True:
            readable = 0
            for file in self._files:
                try:
                    frame = _read(file)
                except SourceFault as fault:
                    log.warning("image_not_read", reason=str(fault))
                    continue
                readable += 1
                yield Picture(frame, count * self._interval)
                count += 1
            if not readable:
                raise SourceFault("no_video", f"{self._files[0].parent}: none of its images can be read")
            if not self._loop:
                return

    def close(self) -> None:
        """Nothing is held open."""


def _read(file: Path) -> object:
    container, stream = open_video(f"file:{file}", options={"protocol_whitelist": "file"})
    try:
        for picture in decoded(container, stream, str(file)):
            return picture.frame
    finally:
        container.close()
    raise SourceFault("no_video", f"{file}: is no image that can be read")


def _by_number(file: Path) -> list[tuple[int, int, str]]:
    """`img_2` before `img_10`."""
    parts = re.findall(r"(\d+)|(\D+)", file.name)
    return [(0, int(digits), "") if digits else (1, 0, text) for digits, text in parts]
