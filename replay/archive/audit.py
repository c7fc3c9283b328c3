"""Whether an archive's files hold what their names and the ledger say: each offset once, and all of them."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from replay.archive import BadArchive
from replay.archive.layout import DAY_MS, DataFile
from replay.archive.ledger import Reached
from replay.archive.source import ArchiveSource

_COLUMNS = ("kafka_partition", "kafka_offset", "camera_id", "captured_at")


class Audit(Struct, frozen=True):
    """How much was read, and what does not agree, in sentences."""

    files: int
    events: int
    problems: tuple[str, ...]


def audit(folder: Path) -> Audit:
    """Reads every file's plain columns. Raises `BadArchive` where there is no archive."""
    source = ArchiveSource(folder)
    problems: list[str] = []
    events: Counter[int] = Counter()
    ends: dict[int, int] = {}
    for (number, first, last), files in groupby(source.files, key=itemgetter(0, 1, 2)):
        if first < ends.get(number, 0):
            problems.append(
                f"partition {number}: offset {first} begins a batch, and the one before ends with {ends[number] - 1}"
            )
        ends[number] = last + 1
        offsets: Counter[int] = Counter()
        for file in files:
            try:
                found = _offsets(source, file)
            except BadArchive as bad:
                problems.append(str(bad))
                continue
            problems += [f"{file.path}: {problem}" for problem in found.problems]
            offsets.update(found.offsets)
        doubled = [offset for offset, count in offsets.items() if count > 1]
        if doubled:
            problems.append(f"partition {number}: offset {min(doubled)} and {len(doubled) - 1} more are there twice")
        events[number] += offsets.total()
    complete = source.complete
    for number, reached in sorted(source.ledger.partitions.items()):
        problems += _against_ledger(number, reached, events[number], number in complete)
    return Audit(len(source.files), events.total(), tuple(problems))


class _Found(Struct):
    offsets: list[int]
    problems: list[str]


def _offsets(source: ArchiveSource, file: DataFile) -> _Found:
    with source.open(file) as parquet:
        try:
            table = parquet.read(columns=list(_COLUMNS))
        except (pa.ArrowException, OSError) as error:
            raise BadArchive(f"{file.path}: {error}") from None
    offsets: list[int] = table.column("kafka_offset").to_pylist()
    return _Found(offsets, list(_disagreements(table, offsets, file)))


def _disagreements(table: pa.Table, offsets: list[int], file: DataFile) -> Iterator[str]:
    if offsets != sorted(offsets):
        yield "its offsets do not rise"
    if offsets and not file.first <= min(offsets) <= max(offsets) <= file.last:
        yield f"holds offsets {min(offsets)} to {max(offsets)}, beyond those of its name"
    for name, expected in (("kafka_partition", file.partition), ("camera_id", file.camera_id)):
        others = set(pc.unique(table.column(name)).to_pylist()) - {expected}
        if others:
            yield f"holds {name} {min(others)!r}, beside its name"
    days = {at // DAY_MS for at in table.column("captured_at").cast(pa.int64()).to_pylist()}
    if days - {file.day}:
        yield "holds events of another day"


def _against_ledger(number: int, reached: Reached, events: int, complete: bool) -> Iterator[str]:
    if complete and events != reached.events:
        yield f"partition {number}: {events} events are there, and the ledger counts {reached.events}"
    lost = sum(gap.end - gap.begin for gap in reached.gaps)
    if reached.events + reached.bad + lost > reached.end - reached.first:
        yield f"partition {number}: the ledger counts more records than there are offsets"
