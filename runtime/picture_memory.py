"""Small pictures of what cameras saw, found by camera and time: evidence for alerts that would have been.

Inference keeps them, replay looks for them. The store is a folder, or whatever `fsspec` has a driver for. A picture's
name says everything, so there is no index to lose: `CAMERA/YYYY-MM-DD/HH/CAPTURED_AT.jpg` (UTC, milliseconds), under
`_PREFIX/` where the topics have a prefix. A camera id never begins with an underscore.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from runtime.store import Store, last
from schemas.topics import DAY, HOUR

_NAME: Final = re.compile(r"(\d{1,14})\.jpg(\.[0-9a-f]{32}\.part)?")
_FORGET: Final = "forget old pictures"


@dataclass(frozen=True)
class Kept:
    """A picture that was kept. ``captured_at``: of its frame, milliseconds UTC."""

    camera_id: str
    captured_at: int
    _read: Callable[[], bytes] = field(repr=False, compare=False)

    def jpeg(self) -> bytes:
        """The picture's bytes; raises `StoreTrouble`, also where it was forgotten meanwhile."""
        return self._read()


class PictureMemory:
    """The pictures under one URL, of the topics with one prefix. Raises `BadStore` at once, reaches the store later.

    ``url``: a folder, or as `fsspec` takes it (`s3://bucket/pictures`). Credentials come from the driver's own
    environment or from the URL; they are in no text of an error.
    """

    def __init__(self, url: str, prefix: str = "") -> None:
        self._store = Store(url)
        self._below = f"_{prefix}/" if prefix else ""

    def keep(self, camera_id: str, captured_at: int, jpeg: bytes) -> None:
        """Keeps a picture; one that is there already stays. Under its name it is whole or absent, also after a crash.

        Raises `StoreTrouble`.
        """
        self._store.put(f"{self._below}{name_of(camera_id, captured_at)}", jpeg, "keep a picture")

    def find(self, camera_id: str, at: int, within_ms: int) -> Kept | None:
        """The picture captured nearest to ``at``, the earlier of two as near; None where none is within ``within_ms``.

        Raises `StoreTrouble`.
        """
        near = self.between(camera_id, at - within_ms, at + within_ms)
        return min(near, key=lambda kept: abs(kept.captured_at - at), default=None)

    def between(self, camera_id: str, begin: int, end: int) -> list[Kept]:
        """The camera's pictures captured from ``begin`` to ``end``, both included, in order. Raises `StoreTrouble`.

        One folder is listed for every hour.
        """
        found: list[Kept] = []
        for folder in folders_of(camera_id, begin, end):
            for path in self._store.folder(f"{self._below}{folder}", "look for a picture"):
                captured_at = captured_at_of(path)
                if captured_at is not None and begin <= captured_at <= end:
                    found.append(Kept(camera_id, captured_at, self._reading(path)))
        return sorted(found, key=lambda kept: kept.captured_at)

    def forget(self, before: int) -> int:
        """Removes the pictures of every UTC day that had ended at ``before``, of every camera and every prefix.

        Nothing that does not bear a picture's name is touched. Answers how many went. Raises `StoreTrouble`.
        """
        gone = 0
        for day, camera_id, ends in self._days():
            if ends > before:
                continue
            ours = [path for path in self._store.files(day, _FORGET) if _is_of(path, camera_id)]
            self._store.remove(ours, _FORGET)
            gone += len(ours)
            self._store.prune(day, _FORGET)
        return gone

    def _days(self) -> Iterator[tuple[str, str, int]]:
        """The day folders of every camera, with a prefix or without: path, camera, and when the day ends."""
        cameras: list[str] = []
        for path in self._store.folder("", _FORGET):
            cameras += self._store.folder(path, _FORGET) if path.startswith("_") else [path]
        for camera in cameras:
            for path in self._store.folder(camera, _FORGET):
                with suppress(ValueError):  # something else than a day
                    yield path, last(camera), day_ends(last(path))

    def _reading(self, path: str) -> Callable[[], bytes]:
        return lambda: self._store.read(path, "read a picture")


def name_of(camera_id: str, captured_at: int) -> str:
    """The path of a picture below its root."""
    return f"{_folder_of(camera_id, captured_at)}/{captured_at}.jpg"


def folders_of(camera_id: str, begin: int, end: int) -> list[str]:
    """The folders in which the camera's pictures from ``begin`` to ``end`` lie, both included, in order."""
    return [_folder_of(camera_id, hour * HOUR) for hour in range(max(begin, 0) // HOUR, end // HOUR + 1)]


def captured_at_of(path: str) -> int | None:
    """When the picture at ``path`` was captured; None where that is no picture, or not yet a whole one."""
    named = _NAME.fullmatch(last(path))
    return int(named[1]) if named and not named[2] else None


def _folder_of(camera_id: str, captured_at: int) -> str:
    return f"{camera_id}/{datetime.fromtimestamp(captured_at // 1000, UTC):%Y-%m-%d/%H}"


def day_ends(day: str) -> int:
    """When the UTC day of that name (2026-11-23) ends, in milliseconds. Raises `ValueError` where it is no day."""
    return round(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000) + DAY


def _is_of(path: str, camera_id: str) -> bool:
    """Whether the file has the name of a picture of the camera, whole or in parts, and lies where that one would."""
    named = _NAME.fullmatch(last(path))
    return named is not None and f"/{path}".rpartition("/")[0].endswith("/" + _folder_of(camera_id, int(named[1])))
