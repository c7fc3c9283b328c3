"""Files under one URL: a folder, or whatever `fsspec` has a driver for. Pictures and evidence lie in such a place."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final
from uuid import uuid4

import fsspec

from runtime.redact import redact

PART: Final = re.compile(r"\.[0-9a-f]{32}\.part$")
"""How the name of a file ends that is not whole yet, or of which a crash left the beginning."""

_WHOLE_PUTS: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"})
"""Stores in which an object appears whole or not at all, and in which a move would be a copy."""


class BadStore(ValueError):
    """The URL is of no store: its protocol is unknown, or its driver is not installed. Holds no credentials."""


class StoreTrouble(RuntimeError):
    """The store could not be reached, read or written. Holds no credentials."""


class Store:
    """The files under ``url``; paths are relative to it. Raises `BadStore` at once, reaches the store later.

    ``url``: a folder, or as `fsspec` takes it (`s3://bucket/pictures`). Credentials come from the driver's own
    environment or, where the driver takes them so (not S3), from the URL; they are in no text of an error. Every method
    raises `StoreTrouble`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: tuple[Any, str] | None = None
        _check(url)

    def put(self, path: str, content: bytes, to_do: str, *, replace: bool = False) -> None:
        """Writes a file. Under its name it is whole or absent, also after a crash. ``to_do``: in words, for an error.

        One that is there already stays, unless ``replace``.
        """
        with self._asked(to_do) as (files, root):
            place = f"{root}/{path}"
            if _puts_whole(files):
                files.pipe_file(place, content)
                return
            if not replace and files.exists(place):
                return
            part = f"{place}.{uuid4().hex}.part"
            files.makedirs(place.rpartition("/")[0], exist_ok=True)
            try:
                files.pipe_file(part, content)
                files.mv(part, place)
            except Exception:
                with suppress(Exception):
                    files.rm_file(part)
                raise

    def read(self, path: str, to_do: str) -> bytes:
        """A file's content; `StoreTrouble` also where there is none."""
        with self._asked(to_do) as (files, root):
            content: bytes = files.cat_file(f"{root}/{path}")
            return content

    def find(self, path: str, to_do: str) -> bytes | None:
        """A file's content, or None where there is none."""
        with self._asked(to_do) as (files, root):
            try:
                content: bytes = files.cat_file(f"{root}/{path}")
            except FileNotFoundError:
                return None
            return content

    def folder(self, path: str, to_do: str) -> list[str]:
        """The paths of what lies in a folder; nothing where there is none. The root is ``""``."""
        with self._asked(to_do) as (files, root):
            return [_below(root, each) for each in _list(files, f"{root}/{path}" if path else root)]

    def files(self, path: str, to_do: str) -> list[str]:
        """The paths of all files below a folder."""
        with self._asked(to_do) as (files, root):
            return [_below(root, each) for each in files.find(f"{root}/{path}")]

    def remove(self, paths: Sequence[str], to_do: str) -> None:
        """Removes files."""
        with self._asked(to_do) as (files, root):
            if paths:
                files.rm([f"{root}/{path}" for path in paths])

    def prune(self, path: str, to_do: str) -> None:
        """Removes a folder and those in it as far as nothing lies in them. Object stores have no folders."""
        with self._asked(to_do) as (files, root):
            if _puts_whole(files):
                return
            place = f"{root}/{path}"
            for folder in (*_list(files, place), place):
                with suppress(OSError):  # something else is in it
                    files.rmdir(folder)

    @contextmanager
    def _asked(self, to_do: str) -> Iterator[tuple[Any, str]]:
        """The files and the path of the root; whatever goes wrong is a `StoreTrouble`."""
        try:
            if self._opened is None:
                files, root = fsspec.url_to_fs(self._url)
                self._opened = files, root.rstrip("/")
            yield self._opened
        except Exception as error:  # each driver has errors of its own
            reason = redact(f"{self._url} could not {to_do}: {type(error).__name__}: {error}")
            raise StoreTrouble(reason) from None


def last(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def _below(root: str, path: str) -> str:
    return path[len(root) + 1 :] if path.startswith(root + "/") else path


def _list(files: Any, folder: str) -> list[str]:
    # Drivers of object stores remember listings, and others write there too.
    files.invalidate_cache(folder)
    try:
        return [entry.rstrip("/") for entry in files.ls(folder, detail=False)]
    except FileNotFoundError:
        return []


def _puts_whole(files: Any) -> bool:
    named = (files.protocol,) if isinstance(files.protocol, str) else files.protocol
    return not _WHOLE_PUTS.isdisjoint(named)


def _check(url: str) -> None:
    lowest = url.rpartition("::")[2]
    protocol, _, rest = lowest.partition("://") if "://" in lowest else ("file", "", lowest)
    if protocol in ("s3", "s3a") and "@" in rest:
        # The driver would take them for the bucket's name, and say it in its errors.
        raise BadStore(f"{protocol}://: credentials are not taken from the URL but from the environment (AWS_…)")
    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise BadStore(redact(f"{url}: {error}")) from None
