"""Where things lie in an archive. Pure: names to values and back.

    day=2026-11-16/camera=cam_1/0003-00000000000000012000-00000000000000014999.parquet
                                partition, first and last offset of the batch that the file is part of

A file holds every event of its camera and day that the batch holds, which read each offset from the first to the last.
What begins with an underscore is ours alone: Spark, Hive and our own readers pass over it.
"""

import re
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

LEDGER: Final = "_archive.json"
LOCK: Final = "_lock"
STAGING: Final = "_staging"

DAY_MS: Final = 86_400_000
LAST_INSTANT: Final = (date.max.toordinal() - date(1970, 1, 1).toordinal() + 1) * DAY_MS
"""From here on (year 10000) an instant has no day that a folder could be named after."""

_EPOCH: Final = date(1970, 1, 1).toordinal()
_MOST_OF_A_NAME: Final = 240
_PATH: Final = re.compile(
    r"^day=(\d{4}-\d\d-\d\d)/camera=([^/]*)/(\d{4,10})-(\d{20})-(\d{20})\.parquet$",
)


class DataFile(NamedTuple):
    """One Parquet file. ``day`` counts from 1970-01-01 UTC; ``first`` and ``last`` are offsets, both included."""

    partition: int
    first: int
    last: int
    day: int
    camera_id: str

    @property
    def path(self) -> str:
        """Relative to the archive's folder, with forward slashes."""
        name = f"{self.partition:04d}-{self.first:020d}-{self.last:020d}.parquet"
        return f"day={day_name(self.day)}/camera={camera_name(self.camera_id)}/{name}"


def data_file(path: str) -> DataFile | None:
    """What a relative path names; None where it is no file of ours."""
    found = _PATH.match(path)
    if found is None:
        return None
    try:
        day = date.fromisoformat(found[1]).toordinal() - _EPOCH
    except ValueError:
        return None
    return DataFile(int(found[3]), int(found[4]), int(found[5]), day, unquote(found[2]))


def day_of(captured_at: int) -> int:
    """The UTC day of an instant in milliseconds, counted from 1970-01-01."""
    return captured_at // DAY_MS


def day_name(day: int) -> str:
    """The day as folders are named: 2026-11-16."""
    return date.fromordinal(_EPOCH + day).isoformat()


def camera_name(camera_id: str) -> str:
    """The camera's id as folders are named: percent-encoded where it has more than letters, digits and `._-~`."""
    return quote(camera_id, safe="")


@lru_cache(maxsize=4096)
def names_a_folder(camera_id: str) -> bool:
    """Whether a file system takes the camera's folder."""
    return len(camera_name(camera_id)) <= _MOST_OF_A_NAME
