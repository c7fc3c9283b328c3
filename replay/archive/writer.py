"""An archive that is written to: batches, each of which is there wholly or not at all."""

import fcntl
import resource
import shutil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple

from msgspec.structs import replace

from replay.archive import BadArchive
from replay.archive.batch import AT_ONCE, IN_MEMORY, Batch
from replay.archive.columns import fits
from replay.archive.layout import LEDGER, LOCK, STAGING
from replay.archive.ledger import (
    LAYOUT,
    Gap,
    Ledger,
    Pending,
    Reached,
    counted,
    read_ledger,
    staging,
    sync_folder,
    write_ledger,
)
from schemas.messages import DetectionEvent

MOST_OPEN: Final = 1000


class Committed(NamedTuple):
    """What one batch brought: events, files, and records that are in none."""

    events: int
    files: int
    bad: int


class Writer:
    """The one process that writes to an archive. Use as a context.

    Per partition it wants every offset from `wanted` on, each once, told by `add`, `skip` or `lose`; what was told
    and not committed is forgotten with the process, and wanted again. Raises `BadArchive` where the folder is that of
    another topic, or another process writes to it.
    """

    def __init__(
        self, folder: Path, topic: str, topic_id: str, *, in_memory: int = IN_MEMORY, at_once: int = AT_ONCE
    ) -> None:
        self.folder = folder
        self._sizes = {"in_memory": in_memory, "at_once": at_once, "most_open": _may_open()}
        self._lock = _locked(folder)
        try:
            self.ledger = _found(folder, topic, topic_id)
            self._settle()
        except BaseException:
            self._lock.close()
            raise
        self._reached = dict(self.ledger.partitions)
        self._batch = self._new_batch()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._batch.abandon()
        self._lock.close()

    def begin(self, partition: int, offset: int) -> None:
        """Where to begin with a partition that the archive does not know yet."""
        self._reached.setdefault(partition, Reached(offset, offset))

    def wanted(self, partition: int) -> int:
        """The next offset."""
        return self._reached[partition].end

    def add(self, partition: int, offset: int, event: DetectionEvent) -> bool:
        """Takes the event; False (and counted as bad) where the columns cannot hold it."""
        if not fits(event):
            self.skip(partition, offset)
            return False
        reached = self._reached[partition]
        self._batch.add(partition, offset, event)
        self._reached[partition] = replace(reached, end=offset + 1, events=reached.events + 1)
        return True

    def skip(self, partition: int, offset: int) -> None:
        """A record that cannot be decoded."""
        reached = self._reached[partition]
        self._reached[partition] = replace(reached, end=offset + 1, bad=reached.bad + 1)

    def lose(self, partition: int, until: int) -> Gap:
        """The records from the wanted one to ``until`` (not included) are gone from the topic."""
        reached = self._reached[partition]
        gap = Gap(reached.end, until)
        self._reached[partition] = replace(reached, end=until, gaps=(*reached.gaps, gap))
        return gap

    def pass_over(self, partition: int, until: int) -> None:
        """Offsets before ``until`` that never held a record of ours: markers of transactions."""
        reached = self._reached[partition]
        self._reached[partition] = replace(reached, end=max(reached.end, until))

    @property
    def full(self) -> bool:
        """Whether the batch should be committed now, whatever its age."""
        return self._batch.full

    @property
    def changed(self) -> bool:
        """Whether there is something to commit."""
        return self._reached != self.ledger.partitions

    def commit(self) -> Committed | None:
        """Makes everything told so far last. None where that is nothing."""
        if not self.changed:
            return None
        before = self.ledger.partitions
        ranges = {
            partition: (before[partition].end if partition in before else reached.first, reached.end - 1)
            for partition, reached in self._reached.items()
        }
        files = self._batch.finish(self.ledger.topic, ranges)
        if files:
            sync_folder(self._batch.folder)
        batch = self.ledger.batches
        self.ledger = replace(
            self.ledger,
            batches=batch + 1,
            partitions=dict(self._reached),
            files=counted(self.ledger.files, (named for _, named in files)),
            pending=tuple(Pending(str(path.relative_to(self.folder)), named.path) for path, named in files),
        )
        write_ledger(self.folder, self.ledger)
        committed = Committed(self._batch.events, len(files), _bad(self._reached) - _bad(before))
        self._settle()
        self._batch = self._new_batch()
        return committed

    def _settle(self) -> None:
        """Brings the newest batch's files to their places, and removes what was never committed. May be repeated."""
        touched = set()
        for pending in self.ledger.pending:
            staged, place = self.folder / pending.staged, self.folder / pending.path
            if staged.exists():  # else it is in its place already, or was removed from there since
                place.parent.mkdir(parents=True, exist_ok=True)
                staged.replace(place)
                touched |= {place.parent, place.parent.parent}
        for folder in sorted(touched | {self.folder}):
            sync_folder(folder)
        shutil.rmtree(self.folder / STAGING, ignore_errors=True)

    def _new_batch(self) -> Batch:
        return Batch(staging(self.folder, self.ledger.batches), **self._sizes)


def _found(folder: Path, topic: str, topic_id: str) -> Ledger:
    if not (folder / LEDGER).exists():
        if any(folder.glob("day=*")):
            raise BadArchive(f"{folder}: has folders of days but no {LEDGER}; put it back, or name another folder")
        return Ledger(LAYOUT, topic, topic_id, 0, {}, {})
    ledger = read_ledger(folder)
    if ledger.topic_id != topic_id or ledger.topic != topic:
        raise BadArchive(
            f"{folder}: is an archive of {ledger.topic} (id {ledger.topic_id}), and this is {topic} (id {topic_id}): "
            "another cluster, or the topic was made anew, so offsets mean other records; name another folder"
        )
    return ledger


def _locked(folder: Path) -> BinaryIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("wb")
    except OSError as error:
        raise BadArchive(f"{error.filename}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise BadArchive(f"{folder}: another process is writing to this archive") from None
    return lock


def _bad(partitions: dict[int, Reached]) -> int:
    return sum(reached.bad for reached in partitions.values())


def _may_open() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST_OPEN
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_OPEN if soft == resource.RLIM_INFINITY else min(MOST_OPEN, soft // 2)
