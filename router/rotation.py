"""A file that is written on and on: when it gives way to a new one, how old ones are called, which of them go. Pure.

`alerts.jsonl` becomes `alerts-2026-11-23.1.jsonl`, named by the day (UTC) of its last line and numbered within it.
"""

import re
from collections.abc import Iterable
from datetime import date
from pathlib import PurePath

from msgspec import Struct


class Rotation(Struct, frozen=True):
    """Before a file exceeds ``most_bytes`` (None: never), and on a new day if ``daily``; ``keep`` old files stay
    (None: all)."""

    most_bytes: int | None
    daily: bool
    keep: int | None


def is_due(rotation: Rotation, *, size: int, coming: int, written_on: date, today: date) -> bool:
    """Whether a file of ``size`` bytes, last written on a day, gives way before ``coming`` more bytes."""
    if size == 0:
        return False
    too_large = rotation.most_bytes is not None and size + coming > rotation.most_bytes
    return too_large or (rotation.daily and written_on < today)


def rotated_name(name: str, written_on: date, found: Iterable[str]) -> str:
    """What the file ``name`` is called from now on; ``found`` are the names in its folder."""
    numbers = [number for day, number in _places(name, found).values() if day == written_on]
    path = PurePath(name)
    return f"{path.stem}-{written_on.isoformat()}.{max(numbers, default=0) + 1}{path.suffix}"


def surplus(name: str, found: Iterable[str], keep: int | None) -> list[str]:
    """Which old files of ``name`` are too many, the oldest first. Never one that was not named by `rotated_name`."""
    if keep is None:
        return []
    places = _places(name, found)
    return sorted(places, key=places.__getitem__)[: max(0, len(places) - keep)]


def _places(name: str, found: Iterable[str]) -> dict[str, tuple[date, int]]:
    path = PurePath(name)
    shape = re.compile(
        rf"{re.escape(path.stem)}-(\d{{4}}-\d\d-\d\d)\.([1-9]\d{{0,8}}){re.escape(path.suffix)}", re.ASCII
    )
    places: dict[str, tuple[date, int]] = {}
    for each in found:
        if shaped := shape.fullmatch(each):
            try:
                places[each] = (date.fromisoformat(shaped[1]), int(shaped[2]))
            except ValueError:  # a day that no calendar has
                continue
    return places
