"""The tables of `backsight plan`."""

from collections.abc import Iterable, Mapping
from typing import Final

from rich.table import Table

from runtime.capacity import Store
from runtime.pinning import balance, groups, renamings
from runtime.sizing import Change, Need
from schemas.partitioning import partition_of
from schemas.topics import DAY, HOUR, MINUTE, PARTITIONS

SHOWN: Final = 10
"""Cameras of a partition."""


def needs_table(needs: Iterable[Need]) -> Table:
    """Everything but disk."""
    table = _table("needed", "", "reckoned from")
    for need in needs:
        table.add_row(need.name, amount(need), need.how)
    return table


def disk_table(stores: tuple[Store, ...]) -> Table:
    """Every store when it is full, and all together."""
    table = _table("disk for", "kept", "records", "size", "reckoned from")
    for store in stores:
        table.add_row(store.name, _kept(store.kept_ms), f"{store.records:,}", size(store.size), store.how)
    table.add_row("all", "", "", size(sum(store.size for store in stores)), "")
    return table


def changes_table(changes: Iterable[Change], cameras: int) -> Table:
    """Where the design changes, and whether these cameras are beyond."""
    table = _table("design changes", "from cameras", "when", "what to do")
    for change in changes:
        at = "–" if change.cameras is None else f"{change.cameras:,}"
        reached = change.cameras is not None and cameras >= change.cameras
        table.add_row(change.name, f"{at} (reached)" if reached else at, change.why, change.do)
    return table


def pinning_tables(loads: Mapping[str, float], gpus: int) -> Iterable[tuple[Table, str]]:
    """How the cameras lie on partitions and GPUs, and which ids would make it even; each with a sentence below it."""
    found = balance(loads, gpus)
    table = _table("partition", "frames/s", "cameras")
    for partition, load in enumerate(found.partitions):
        here = sorted(each for each in loads if partition_of(each, PARTITIONS) == partition)
        more = f", … ({len(here) - SHOWN} more: --json)" if len(here) > SHOWN else ""
        table.add_row(str(partition), f"{load:g}", ", ".join(here[:SHOWN]) + more)
    yield table, "A camera's partition is murmur2 of its id, for ever."
    table = _table("GPU", "frames/s", "partitions")
    for number, (some, load) in enumerate(zip(*groups(found.partitions, gpus), strict=True), start=1):
        table.add_row(str(number), f"{load:g}", ", ".join(map(str, some)))
    said = (
        f"As above the fullest GPU gets {found.best:.2f} times its share, at worst {found.worst:.2f} times: the broker "
        "deals partitions out by their number, whatever is in them."
    )
    if gpus > PARTITIONS:
        said += f" {gpus - PARTITIONS} GPUs get nothing: there are {PARTITIONS} partitions."
    elif PARTITIONS % gpus:
        said += f" {gpus} GPUs do not divide {PARTITIONS} partitions: some get one more than others."
    yield table, said
    changed = renamings(loads, gpus)
    if not changed:
        return
    table = _table("camera", "on partition", "id to give it", "then on")
    for each in changed:
        table.add_row(each.camera_id, str(each.partition), each.suggested_id, str(each.to))
    names = {each.camera_id: each.suggested_id for each in changed}
    after = balance({names.get(each, each): load for each, load in loads.items()}, gpus)
    yield (
        table,
        (
            f"With these ids the fullest GPU gets {after.worst:.2f} times its share at worst. Only for cameras without "
            "history: another id is another camera, with other ROIs and other alerts."
        ),
    )


def amount(need: Need) -> str:
    """With its unit."""
    if need.unit == "Mbit/s":
        return f"{need.amount / 1000:,.1f} Gbit/s" if need.amount >= 1000 else f"{need.amount:,.0f} Mbit/s"
    return f"{need.amount:,.{1 if need.amount % 1 else 0}f} {need.unit}".rstrip()


def size(count: float) -> str:
    """Bytes in the unit that suits them."""
    for unit, each in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= each:
            return f"{count / each:,.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def _kept(milliseconds: int) -> str:
    if milliseconds >= DAY:
        return f"{milliseconds / DAY:g} d"
    return f"{milliseconds / HOUR:g} h" if milliseconds >= HOUR else f"{milliseconds / MINUTE:.1f} min"


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)
