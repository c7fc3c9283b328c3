"""How far an archive has got: one small file, replaced whole. Replacing it is what commits a batch."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from replay.archive import BadArchive
from replay.archive.layout import LEDGER, STAGING, DataFile, day_name

LAYOUT: Final = 1


class Gap(NamedTuple):
    """Offsets from ``begin`` to ``end`` (not included) that were deleted from the topic before they were archived."""

    begin: int
    end: int


class Reached(Struct, frozen=True):
    """One partition: the offsets from ``first`` to ``end`` (not included) were read.

    ``events`` of them are in files, ``bad`` could not be decoded or kept and are in none, ``gaps`` were gone.
    """

    first: int
    end: int
    events: int = 0
    bad: int = 0
    gaps: tuple[Gap, ...] = ()


class Pending(NamedTuple):
    """A file of the newest batch: where it was written, and where it belongs. It lies at the one or the other."""

    staged: str
    path: str


class Ledger(Struct, frozen=True):
    """``topic_id`` is the cluster's own id of the topic: another one means other offsets. ``files`` counts the files
    committed so far, per day and partition. ``batches`` counts commits."""

    layout: int
    topic: str
    topic_id: str
    batches: int
    partitions: dict[int, Reached]
    files: dict[str, dict[int, int]]
    pending: tuple[Pending, ...] = ()


def counted(files: dict[str, dict[int, int]], more: Iterable[DataFile]) -> dict[str, dict[int, int]]:
    """`Ledger.files` with some files more."""
    counts = {day: dict(of_day) for day, of_day in files.items()}
    for file in more:
        of_day = counts.setdefault(day_name(file.day), {})
        of_day[file.partition] = of_day.get(file.partition, 0) + 1
    return counts


def read_ledger(folder: Path) -> Ledger:
    """The ledger of the archive in ``folder``. Raises `BadArchive`."""
    try:
        written = (folder / LEDGER).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BadArchive(f"{folder}: is no archive (there is no {LEDGER})") from None
    except OSError as error:
        raise BadArchive(f"{folder / LEDGER}: {error.strerror}") from None
    try:
        layout = msgspec.json.decode(written, type=_Layout).layout
        if layout != LAYOUT:
            raise BadArchive(
                f"{folder / LEDGER}: layout {layout} was written by another version; this one reads {LAYOUT}"
            )
        return msgspec.json.decode(written, type=Ledger)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadArchive(f"{folder / LEDGER}: {error}") from None


def write_ledger(folder: Path, ledger: Ledger) -> None:
    """Puts the ledger in the place of the one before: after a crash it is the one or the other, never a part."""
    fresh = folder / f"{LEDGER}.new"
    with fresh.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(ledger), indent=1))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / LEDGER)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Makes what was named or renamed in a folder last through a loss of power."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def staging(folder: Path, batch: int) -> Path:
    """Where the files of a batch are written. No two batches share it, so that a reader never takes one's file for
    another's."""
    return folder / STAGING / f"{batch:08d}"


class _Layout(Struct):
    layout: int
