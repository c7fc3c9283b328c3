"""An archive as a history to judge again: the same events in the same order as from the topic."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from heapq import merge
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from replay.archive import BadArchive
from replay.archive.columns import CAPTURED_AT, Row, rows_of
from replay.archive.layout import DataFile, data_file, day_name, day_of
from replay.archive.ledger import Gap, Ledger, read_ledger
from replay.history import Extent
from replay.spans import Span
from schemas.messages import DetectionEvent
from schemas.partitioning import partition_of

AT_A_TIME: Final = 2_000


def files_in(folder: Path, ledger: Ledger) -> list[DataFile]:
    """The files that the ledger has committed and that are there, by partition and offset.

    Of the newest batch some may lie in staging still: they count. Files of younger batches do not.
    """
    found = set()
    for day in _names(folder):
        if day.startswith("day="):
            for camera in _names(folder / day):
                for name in _names(folder / day / camera):
                    file = data_file(f"{day}/{camera}/{name}")
                    if file is not None:
                        found.add(file)
    for pending in ledger.pending:
        file = data_file(pending.path)
        if file is not None and (folder / pending.staged).exists():
            found.add(file)
    ends = {number: reached.end for number, reached in ledger.partitions.items()}
    return sorted(file for file in found if file.last < ends.get(file.partition, 0))


class ArchiveSource:
    """A `replay.history.Source` over the archive as it is when this is made, also while somebody writes to it.

    Raises `BadArchive` where there is none. ``files`` by partition and offset; ``complete``: the partitions of which
    no file was removed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = read_ledger(folder)
        self._staged = {pending.path: pending.staged for pending in self.ledger.pending}
        self._cameras: defaultdict[str, list[DataFile]] = defaultdict(list)
        self.files = files_in(folder, self.ledger)
        for file in self.files:
            self._cameras[file.camera_id].append(file)
        self._oldest = _oldest(self.files)
        self.complete = _complete(self.ledger, self.files)
        self._extents: tuple[Extent, ...] | None = None

    @property
    def gaps(self) -> dict[int, tuple[Gap, ...]]:
        """Partitions that lack records amid what was archived."""
        return {number: reached.gaps for number, reached in self.ledger.partitions.items() if reached.gaps}

    def extents(self) -> tuple[Extent, ...]:
        """See `Source`. A partition of which files were removed begins with the oldest file left, and is not whole."""
        if self._extents is None:
            self._extents = tuple(
                self._extent(number, reached.first, reached.end, number in self.complete and not reached.gaps)
                for number, reached in sorted(self.ledger.partitions.items())
            )
        return self._extents

    def cameras(self) -> tuple[str, ...]:
        """See `Source`."""
        return tuple(sorted(self._cameras))

    def extent_of(self, camera_id: str) -> Extent:
        """See `Source`."""
        extents = self.extents()
        if not extents:
            raise BadArchive(f"{self.folder}: holds nothing yet")
        files = self._cameras.get(camera_id)
        number = files[0].partition if files else partition_of(camera_id, len(extents))
        return next(extent for extent in extents if extent.partition == number)

    def read(self, span: Span, cameras: frozenset[str] | None = None) -> Iterator[list[DetectionEvent]]:
        """See `Source`; camera by camera."""
        for camera_id in self.cameras():
            if cameras is None or camera_id in cameras:
                yield from _Reading(self, span).read(self._cameras[camera_id])

    def close(self) -> None:
        """See `Source`. Nothing is held between readings."""

    def open(self, file: DataFile) -> Any:
        """The Parquet file, where it lies. Raises `BadArchive`."""
        place = self.folder / file.path
        for path in (self.path_of(file), place):  # the writer may bring it to its place just now
            try:
                return pq.ParquetFile(path)
            except FileNotFoundError:
                continue
            except (pa.ArrowException, OSError) as error:
                raise BadArchive(f"{path}: {error}") from None
        raise BadArchive(f"{place}: was there when the archive was opened, and is gone")

    def path_of(self, file: DataFile) -> Path:
        """Where the file lies at this moment."""
        staged = self.folder / self._staged.get(file.path, file.path)
        return staged if staged.exists() else self.folder / file.path

    def _extent(self, number: int, first: int, end: int, whole: bool) -> Extent:
        oldest: tuple[int, int] | None = None
        for file in self._oldest.get(number, ()):
            with self.open(file) as parquet:
                row = _first_row(parquet)
            oldest = row if oldest is None else min(oldest, row)
        if oldest is not None and not whole:
            first = max(first, self._oldest[number][0].first)
        return Extent(number, first, end, None if oldest is None else oldest[1], whole and first == 0)


class _Reading:
    """One camera's events of a span."""

    def __init__(self, source: ArchiveSource, span: Span) -> None:
        self._source = source
        self._span = span
        self._closed = False

    def read(self, files: list[DataFile]) -> Iterator[list[DetectionEvent]]:
        begin, end = self._span
        events: list[DetectionEvent] = []
        # A batch has one file per day, and a late event may lie between two of another day: offsets put them in order.
        for _, batch in groupby(files, key=itemgetter(0, 1)):
            days = [self._rows(file) for file in batch if self._may_hold(file)]
            for _, event in merge(*days, key=itemgetter(0)):
                at = event.captured_at
                if at < begin or (at >= end and self._closed):
                    continue
                self._closed = self._closed or at >= end
                events.append(event)
                if len(events) >= AT_A_TIME:
                    yield events
                    events = []
        if events:
            yield events

    def _may_hold(self, file: DataFile) -> bool:
        return file.day >= day_of(self._span.begin) and (file.day <= day_of(self._span.end) or not self._closed)

    def _rows(self, file: DataFile) -> Iterator[Row]:
        begin, end = self._span
        with self._source.open(file) as parquet:
            for group in range(parquet.num_row_groups):
                times = parquet.metadata.row_group(group).column(CAPTURED_AT).statistics
                if times.max_raw < begin or (times.min_raw >= end and self._closed):
                    continue
                try:
                    yield from chain.from_iterable(
                        map(rows_of, parquet.iter_batches(batch_size=AT_A_TIME, row_groups=[group]))
                    )
                except (pa.ArrowException, OSError) as error:
                    raise BadArchive(f"{self._source.folder / file.path}: {error}") from None


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):  # removed since, or a file of somebody else's
        return []


def _oldest(files: list[DataFile]) -> dict[int, list[DataFile]]:
    """Per partition the files of the oldest batch that has any left."""
    found: dict[int, list[DataFile]] = {}
    for file in files:
        batch = found.setdefault(file.partition, [])
        if not batch or batch[0].first == file.first:
            batch.append(file)
    return found


def _complete(ledger: Ledger, files: list[DataFile]) -> set[int]:
    """The partitions of which no file was removed."""
    there = Counter((day_name(file.day), file.partition) for file in files)
    lacking = {
        number
        for day, of_day in ledger.files.items()
        for number, count in of_day.items()
        if there[day, number] != count
    }
    return set(ledger.partitions) - lacking


def _first_row(parquet: Any) -> tuple[int, int]:
    """The offset and the capture time of the oldest record in a file."""
    batch = next(parquet.iter_batches(batch_size=1, columns=["kafka_offset", "captured_at"]))
    return batch.column(0)[0].as_py(), batch.column(1).cast(pa.int64())[0].as_py()
