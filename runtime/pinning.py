"""Which partition each camera has, how even that is for a number of GPUs, and which ids would make it even.

A partition is murmur2 of the camera's id, for ever, and the broker deals partitions out to detectors by their number.
So what can be chosen are the ids of cameras that have no history yet, and a number of GPUs that divides the partitions.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from schemas.partitioning import partition_of
from schemas.topics import PARTITIONS

EVEN: Final = 1.05
"""The fullest GPU's load over the mean, at which nobody needs another id."""


@dataclass(frozen=True)
class Balance:
    """``partitions``: frames a second of each. ``worst``, ``best``: load of the fullest GPU over the mean, with the
    most unlucky and a lucky assignment of partitions by number; 1.0 is even."""

    partitions: tuple[float, ...]
    worst: float
    best: float


@dataclass(frozen=True)
class Renaming:
    """A camera that another id would put on an emptier partition."""

    camera_id: str
    partition: int
    suggested_id: str
    to: int


def balance(loads: Mapping[str, float], gpus: int, partitions: int = PARTITIONS) -> Balance:
    """``loads``: frames a second of each camera, by its id."""
    filled = [0.0] * partitions
    for camera_id, load in loads.items():
        filled[partition_of(camera_id, partitions)] += load
    share = sum(filled) / min(gpus, partitions)
    # Every detector gets the same number of partitions, give or take one: at worst the fullest ones together.
    most = -(-partitions // gpus)
    worst = sum(sorted(filled, reverse=True)[:most]) / share if share else 1.0
    return Balance(tuple(filled), worst, max(groups(filled, gpus)[1]) / share if share else 1.0)


def groups(filled: list[float] | tuple[float, ...], gpus: int) -> tuple[list[list[int]], list[float]]:
    """The partitions shared out to ``gpus``, as even as a quick look finds, no GPU with more than its count; and the
    loads. Where there are more GPUs than partitions the rest get none."""
    gpus = min(gpus, len(filled))
    most = -(-len(filled) // gpus)
    given: list[list[int]] = [[] for _ in range(gpus)]
    heap = [(0.0, number) for number in range(gpus)]
    for partition in sorted(range(len(filled)), key=lambda each: -filled[each]):
        load, number = heapq.heappop(heap)
        given[number].append(partition)
        if len(given[number]) < most:
            heapq.heappush(heap, (load + filled[partition], number))
    return [sorted(each) for each in given], [sum(filled[each] for each in some) for some in given]


def renamings(loads: Mapping[str, float], gpus: int, partitions: int = PARTITIONS) -> tuple[Renaming, ...]:
    """The fewest ids that a simple search needs to make the partitions even for ``gpus``; none where they are."""
    ids = {camera_id: camera_id for camera_id in loads}
    found: dict[str, Renaming] = {}
    while True:
        now = balance({ids[each]: load for each, load in loads.items()}, gpus, partitions)
        fullest = max(range(partitions), key=lambda each: now.partitions[each])
        emptiest = min(range(partitions), key=lambda each: now.partitions[each])
        gap = now.partitions[fullest] - now.partitions[emptiest]
        there = [each for each in loads if partition_of(ids[each], partitions) == fullest and each not in found]
        # The camera that halves the gap best; one that is as large as the gap would only turn it round.
        fitting = [each for each in there if loads[each] < gap]
        if now.worst <= EVEN or not fitting:
            return tuple(found.values())
        camera_id = min(fitting, key=lambda each: (abs(gap / 2 - loads[each]), each))
        ids[camera_id] = _another(camera_id, emptiest, partitions, {*loads, *ids.values()})
        found[camera_id] = Renaming(camera_id, fullest, ids[camera_id], emptiest)


def even_ids(cameras: int, partitions: int = PARTITIONS) -> tuple[str, ...]:
    """Ids for cameras that have none yet, which fall evenly: camera_1, camera_2, … but for those that would not."""
    room = [cameras // partitions + (partition < cameras % partitions) for partition in range(partitions)]
    found: list[str] = []
    candidates = (f"camera_{number}" for number in count(1))
    while len(found) < cameras:
        camera_id = next(candidates)
        partition = partition_of(camera_id, partitions)
        if room[partition]:
            room[partition] -= 1
            found.append(camera_id)
    return tuple(found)


def _another(camera_id: str, partition: int, partitions: int, taken: set[str]) -> str:
    candidates = (f"{camera_id[:90]}-{number}" for number in count(2))
    return next(each for each in candidates if each not in taken and partition_of(each, partitions) == partition)
