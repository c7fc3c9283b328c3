"""The files of one batch while they are written: one per camera, day and partition."""

import contextlib
import os
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import pyarrow.parquet as pq

from replay.archive.columns import SCHEMA, VERSION, Row, table_of
from replay.archive.layout import DataFile, day_name, day_of
from schemas.messages import DetectionEvent

IN_MEMORY: Final = 20_000
"""So many events of all files together wait in memory, about 40 MB; then the file with the most writes its own."""

AT_ONCE: Final = 1_000_000
"""A batch of so many events is committed, however young it is."""


class _Key(NamedTuple):
    partition: int
    day: int
    camera_id: str


class _File:
    """One file. It is opened when its first rows are written, which may be at its end."""

    def __init__(self, path: Path, partition: int) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._partition = partition
        self._sink: BinaryIO | None = None
        self._writer: Any = None

    def write(self) -> int:
        """Writes the rows that wait as one row group; answers how many they were."""
        if self._writer is None:
            self._sink = self.path.open("wb")
            self._writer = pq.ParquetWriter(self._sink, SCHEMA, compression="zstd")
        count = len(self.rows)
        self._writer.write_table(table_of(self._partition, self.rows), row_group_size=max(1, count))
        self.rows = []
        return count

    def finish(self, footer: dict[str, str]) -> None:
        """Writes what waits and the footer, through to the disk."""
        if self.rows:
            self.write()
        assert self._sink is not None
        self._writer.add_key_value_metadata(footer)
        self._writer.close()
        self._sink.flush()
        os.fsync(self._sink.fileno())
        self._sink.close()

    def abandon(self) -> None:
        """Gives the open file back; what is in it is of no use."""
        for each in (self._writer, self._sink):
            if each is not None:
                with contextlib.suppress(OSError):  # a full disk does not take the end of it either
                    each.close()

    @property
    def is_open(self) -> bool:
        """Whether it holds a file descriptor."""
        return self._writer is not None


class Batch:
    """Writes into ``folder``, which is made with the first file. ``most_open``: file descriptors that it may hold."""

    def __init__(self, folder: Path, *, in_memory: int = IN_MEMORY, at_once: int = AT_ONCE, most_open: int) -> None:
        self.folder = folder
        self.events = 0
        self._in_memory = in_memory
        self._at_once = at_once
        self._most_open = most_open
        self._waiting = 0
        self._open = 0
        self._files: dict[_Key, _File] = {}

    def add(self, partition: int, offset: int, event: DetectionEvent) -> None:
        """The next event of its partition; it must fit (`columns.fits`)."""
        key = _Key(partition, day_of(event.captured_at), event.camera_id)
        file = self._files.get(key)
        if file is None:
            if not self._files:
                self.folder.mkdir(parents=True, exist_ok=True)
            file = self._files[key] = _File(self.folder / f"{len(self._files):06d}.part", partition)
        file.rows.append((offset, event))
        self.events += 1
        self._waiting += 1
        if self._waiting >= self._in_memory:
            longest = max(self._files.values(), key=lambda each: len(each.rows))
            self._open += not longest.is_open
            self._waiting -= longest.write()

    @property
    def full(self) -> bool:
        """Whether it should be committed now."""
        return self.events >= self._at_once or self._open >= self._most_open

    def finish(self, topic: str, ranges: dict[int, tuple[int, int]]) -> list[tuple[Path, DataFile]]:
        """Every file, complete and on the disk, with what it is to be named. ``ranges``: per partition the first and
        the last offset that the batch read."""
        finished = []
        for key, file in self._files.items():
            named = DataFile(key.partition, *ranges[key.partition], key.day, key.camera_id)
            file.finish(
                {
                    "backsight.schema": VERSION,
                    "backsight.topic": topic,
                    "backsight.partition": str(named.partition),
                    "backsight.first_offset": str(named.first),
                    "backsight.last_offset": str(named.last),
                    "backsight.day": day_name(named.day),
                    "backsight.camera_id": named.camera_id,
                }
            )
            finished.append((file.path, named))
        return finished

    def abandon(self) -> None:
        """Gives back what it holds."""
        for file in self._files.values():
            file.abandon()
