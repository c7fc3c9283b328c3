"""The sink `file`: a line of JSON per alert and phase, in a file that is rotated. See docs/sinks/file.md.

A line is acknowledged when all of it is in the file. The file is opened for every delivery and locked meanwhile, so it
may be moved or removed at any time, and two routers may write to it.
"""

import asyncio
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, field_validator

from router.records import record_of
from router.retry import ACCEPTED, Answer
from router.rotation import Rotation, is_due, rotated_name, surplus
from router.sinks import Notice
from schemas.documents.routes import SinkDocument

_OPEN: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK  # without the last a pipe would wait for a reader


class FileDocument(SinkDocument):
    """Where lines go. ``path`` is relative to the router's working folder; its folder must be there.

    ``mode``: the permissions of new files, octal digits in quotes. ``fsync``: a line is acknowledged when it is on the
    disk, not before.
    """

    kind: Literal["file"]
    path: str = Field(min_length=1)
    max_age_seconds: float = Field(default=72 * 3600.0, gt=0)
    mode: str = "0640"
    fsync: bool = False
    rotate_bytes: int | None = Field(default=100_000_000, ge=1024, description="null: never by size")
    rotate_daily: bool = Field(default=True, description="on the first line of a day, UTC")
    keep: int | None = Field(default=30, ge=1, description="old files; null: all")

    @field_validator("mode", mode="before")
    @classmethod
    def _octal(cls, written: object) -> object:
        shown = written.removeprefix("0") if isinstance(written, str) else ""
        if len(shown) != 3 or shown[0] != "6" or shown[1] not in "046" or shown[2] not in "04":
            raise ValueError('expected octal digits in quotes: "0600", "0640", "0644", "0660" or "0664"')
        return written


class NoOrdinaryFile(OSError):
    """What is at the path is a folder, a pipe or a device."""


class File:
    """Appends to one file. Each file has one sink."""

    kind: ClassVar[str] = "file"
    actuates: ClassVar[bool] = False
    document = FileDocument

    def __init__(self, document: FileDocument) -> None:
        self.name = document.name
        self.lanes = document.lanes
        self.deadline_seconds = document.timeout_seconds
        self.max_age_seconds: float | None = document.max_age_seconds
        self._path = Path(document.path).expanduser()
        self._mode = int(document.mode, 8)
        self._fsync = document.fsync
        self._rotation = Rotation(document.rotate_bytes, document.rotate_daily, document.keep)
        self._writer: ThreadPoolExecutor | None = None

    @classmethod
    def from_document(cls, document: FileDocument) -> Self:
        """Raises `ValueError` where the path cannot name a file."""
        if document.path.endswith("/") or "\0" in document.path:
            raise ValueError("path: expected the path of a file")
        return cls(document)

    @property
    def alone(self) -> str:
        """What no other sink may have."""
        return f"the file {self._path.resolve()}"

    async def deliver(self, notice: Notice) -> Answer:
        """Appends a line for each member, all or none."""
        lines = b"".join(record_of(member) + b"\n" for member in notice.members)
        if self._writer is None:
            # One thread: a disk that hangs holds one, and an attempt that was given up before its turn never begins.
            self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"sink-{self.name}-writes")
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._append, lines)
        except OSError as error:
            return answer_of(error)
        return ACCEPTED

    async def close(self) -> None:
        """Waits for no disk."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.shutdown(wait=False, cancel_futures=True)

    def _append(self, lines: bytes) -> None:
        path = self._path.resolve()
        while True:
            with _locked(path, self._mode, self.deadline_seconds) as file:
                state = os.fstat(file)
                today, written_on = datetime.now(UTC).date(), _day(state.st_mtime)
                if not is_due(
                    self._rotation, size=state.st_size, coming=len(lines), written_on=written_on, today=today
                ):
                    _write_all(file, lines, state.st_size, self._fsync)
                    if self._fsync and state.st_size == 0:
                        _sync_folder(path.parent)
                    return
                path.rename(path.with_name(rotated_name(path.name, written_on, _names(path.parent))))
            for name in surplus(path.name, _names(path.parent), self._rotation.keep):
                path.with_name(name).unlink(missing_ok=True)


def answer_of(error: OSError) -> Answer:
    """Nothing that is wrong with a file is for ever: people free disks, mount them and give permissions."""
    if isinstance(error, NoOrdinaryFile | IsADirectoryError):
        return Answer("later", "broken", "is no ordinary file")
    if isinstance(error, FileNotFoundError):
        return Answer("later", "not_found", "the folder is not there")
    if isinstance(error, PermissionError):
        return Answer("later", "unauthorized", "may not be written")
    if isinstance(error, TimeoutError):
        return Answer("later", "timeout", "another process holds the file")
    return Answer("later", "broken", error.strerror or "cannot be written")


@contextmanager
def _locked(path: Path, mode: int, seconds: float) -> Iterator[int]:
    """The file of this path, made if it is not there, held by nobody else. Raises `OSError`."""
    limit = time.monotonic() + seconds
    while True:
        file = _opened(path, mode)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise NoOrdinaryFile
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > limit:
                        raise TimeoutError from None
                    time.sleep(0.005)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), path.stat()):  # else it was rotated while we waited
                    yield file
                    return
        finally:
            os.close(file)


def _opened(path: Path, mode: int) -> int:
    while True:
        with suppress(FileNotFoundError):
            return os.open(path, _OPEN)
        with suppress(FileExistsError):
            file = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchmod(file, mode)  # whatever the umask
            return file


def _write_all(file: int, lines: bytes, size: int, sync: bool) -> None:
    """All of it, or nothing: a part that a full disk left is taken back."""
    if size and os.pread(file, 1, size - 1) != b"\n":
        lines = b"\n" + lines  # somebody was killed in the middle of a line
    left = memoryview(lines)
    try:
        while left:
            left = left[os.write(file, left) :]
        if sync:
            os.fsync(file)
    except OSError:
        with suppress(OSError):
            os.ftruncate(file, size)
        raise


def _sync_folder(folder: Path) -> None:
    """So that the name of a new file is on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def _day(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


SINK = File
