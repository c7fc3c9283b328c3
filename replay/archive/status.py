"""What an archive holds, without opening its files."""

from pathlib import Path
from typing import Any

from msgspec import Struct, to_builtins

from replay.archive.layout import day_name
from replay.archive.ledger import Reached
from replay.archive.source import ArchiveSource


class Status(Struct, frozen=True):
    """``removed`` files were committed and are not there any more. ``days`` is the first and the last, or empty."""

    topic: str
    partitions: dict[int, Reached]
    cameras: tuple[str, ...]
    days: tuple[str, ...]
    files: int
    removed: int
    size: int

    def plain(self) -> dict[str, Any]:
        """For `--json`."""
        plain: dict[str, Any] = to_builtins(self, str_keys=True)
        return plain

    def lines(self) -> list[str]:
        """For people."""
        held = f"{len(self.cameras)} cameras, {self.files} files, {self.size / 1e6:.1f} MB"
        said = [f"{self.topic}: {held}" + (f", {' to '.join(self.days)} (UTC)" if self.days else "")]
        for number, reached in sorted(self.partitions.items()):
            if reached.end == reached.first:
                continue
            line = f"  partition {number}: offsets {reached.first} to {reached.end - 1}, {reached.events} events"
            said.append(line + (f", {reached.bad} records that could not be kept" if reached.bad else ""))
            said += [f"    gap: {gap.begin} to {gap.end - 1} were deleted before" for gap in reached.gaps]
        if self.removed:
            said.append(f"  {self.removed} files were removed since they were written")
        return said


def status_of(folder: Path) -> Status:
    """See `Status`. Raises `BadArchive`."""
    source = ArchiveSource(folder)
    files = source.files
    days = sorted({file.day for file in files})
    written = sum(count for of_day in source.ledger.files.values() for count in of_day.values())
    return Status(
        source.ledger.topic,
        source.ledger.partitions,
        source.cameras(),
        tuple(day_name(day) for day in (days[0], days[-1])) if days else (),
        len(files),
        written - len(files),
        sum(source.path_of(file).stat().st_size for file in files),
    )
