"""Small pictures of what cameras saw, found by camera and time: evidence for alerts that would have been.

Inference keeps them, replay looks for them. The store is a folder, or whatever `fsspec` has a driver for. A picture's
name says everything, so there is no index to lose: `CAMERA/YYYY-MM-DD/HH/CAPTURED_AT.jpg` (UTC, milliseconds), under
`_PREFIX/` where the topics have a prefix. A camera id never begins with an underscore.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import fsspec

from runtime.redact import redact
from schemas.topics import DAY, HOUR

_NAME: Final = re.compile(r"(\d{1,14})\.jpg(\.[0-9a-f]{32}\.part)?")

_WHOLE_PUTS: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"})
"""Stores in which an object appears whole or not at all, and in which a move would be a copy."""


class BadStore(ValueError):
    """The URL is of no store: its protocol is unknown, or its driver is not installed. Holds no credentials."""


class StoreTrouble(RuntimeError):
    """The store could not be reached, read or written. Holds no credentials."""


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
        self._url = url
        self._below = f"_{prefix}/" if prefix else ""
        self._opened: tuple[Any, str] | None = None
        _check(url)

    def keep(self, camera_id: str, captured_at: int, jpeg: bytes) -> None:
        """Keeps a picture; one that is there already stays. Under its name it is whole or absent, also after a crash.

        Raises `StoreTrouble`.
        """
        with self._asked("keep a picture") as (store, root):
            path = f"{root}/{self._below}{name_of(camera_id, captured_at)}"
            if _puts_whole(store):
                store.pipe_file(path, jpeg)
                return
            if store.exists(path):
                return
            part = f"{path}.{uuid4().hex}.part"
            store.makedirs(path.rpartition("/")[0], exist_ok=True)
            try:
                store.pipe_file(part, jpeg)
                store.mv(part, path)
            except Exception:
                with suppress(Exception):
                    store.rm_file(part)
                raise

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
        with self._asked("look for a picture") as (store, root):
            for folder in folders_of(camera_id, begin, end):
                for path in _list(store, f"{root}/{self._below}{folder}"):
                    captured_at = captured_at_of(path)
                    if captured_at is not None and begin <= captured_at <= end:
                        found.append(Kept(camera_id, captured_at, self._reading(path)))
        return sorted(found, key=lambda kept: kept.captured_at)

    def forget(self, before: int) -> int:
        """Removes the pictures of every UTC day that had ended at ``before``, of every camera and every prefix.

        Nothing that does not bear a picture's name is touched. Answers how many went. Raises `StoreTrouble`.
        """
        gone = 0
        with self._asked("forget old pictures") as (store, root):
            for day, camera_id, ends in _days(store, root):
                if ends > before:
                    continue
                ours = [path for path in store.find(day) if _is_of(path, camera_id)]
                if ours:
                    store.rm(ours)
                    gone += len(ours)
                if not _puts_whole(store):
                    for folder in (*_list(store, day), day):
                        with suppress(OSError):  # something else is in it
                            store.rmdir(folder)
        return gone

    def _reading(self, path: str) -> Callable[[], bytes]:
        def read() -> bytes:
            with self._asked("read a picture") as (store, _root):
                content: bytes = store.cat_file(path)
                return content

        return read

    @contextmanager
    def _asked(self, to_do: str) -> Iterator[tuple[Any, str]]:
        """The store and the path of its root; whatever goes wrong is a `StoreTrouble`."""
        try:
            if self._opened is None:
                store, root = fsspec.url_to_fs(self._url)
                self._opened = store, root.rstrip("/")
            yield self._opened
        except Exception as error:  # each driver has errors of its own
            reason = redact(f"{self._url} could not {to_do}: {type(error).__name__}: {error}")
            raise StoreTrouble(reason) from None


def name_of(camera_id: str, captured_at: int) -> str:
    """The path of a picture below its root."""
    return f"{_folder_of(camera_id, captured_at)}/{captured_at}.jpg"


def folders_of(camera_id: str, begin: int, end: int) -> list[str]:
    """The folders in which the camera's pictures from ``begin`` to ``end`` lie, both included, in order."""
    return [_folder_of(camera_id, hour * HOUR) for hour in range(max(begin, 0) // HOUR, end // HOUR + 1)]


def captured_at_of(path: str) -> int | None:
    """When the picture at ``path`` was captured; None where that is no picture, or not yet a whole one."""
    named = _NAME.fullmatch(_last(path))
    return int(named[1]) if named and not named[2] else None


def _folder_of(camera_id: str, captured_at: int) -> str:
    return f"{camera_id}/{datetime.fromtimestamp(captured_at // 1000, UTC):%Y-%m-%d/%H}"


def _days(store: Any, root: str) -> Iterator[tuple[str, str, int]]:
    """The day folders of every camera, with a prefix or without: path, camera, and when the day ends."""
    cameras: list[str] = []
    for path in _list(store, root):
        cameras += _list(store, path) if _last(path).startswith("_") else [path]
    for camera in cameras:
        for path in _list(store, camera):
            with suppress(ValueError):  # something else than a day
                day = datetime.strptime(_last(path), "%Y-%m-%d").replace(tzinfo=UTC)
                yield path, _last(camera), round(day.timestamp() * 1000) + DAY


def _is_of(path: str, camera_id: str) -> bool:
    """Whether the file has the name of a picture of the camera, whole or in parts, and lies where that one would."""
    named = _NAME.fullmatch(_last(path))
    return named is not None and path.rpartition("/")[0].endswith("/" + _folder_of(camera_id, int(named[1])))


def _list(store: Any, folder: str) -> list[str]:
    """What lies in a folder; nothing where there is none."""
    # Drivers of object stores remember listings, and others write there too.
    store.invalidate_cache(folder)
    try:
        return [entry.rstrip("/") for entry in store.ls(folder, detail=False)]
    except FileNotFoundError:
        return []


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _puts_whole(store: Any) -> bool:
    named = (store.protocol,) if isinstance(store.protocol, str) else store.protocol
    return not _WHOLE_PUTS.isdisjoint(named)


def _check(url: str) -> None:
    last = url.rpartition("::")[2]
    protocol = last.partition("://")[0] if "://" in last else "file"
    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise BadStore(redact(f"{url}: {error}")) from None
