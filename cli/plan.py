"""`backsight plan`: what a number of cameras needs, before anything is bought."""

import math
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from cli.options import configs_option, read_settings
from runtime.capacity import FRAME_BYTES_PER_PIXEL, PICTURE_BYTES_PER_PIXEL, Load, Store, disk
from schemas.topics import DAY, HOUR, MINUTE


class Amount(click.FloatRange):
    """A number that is one: not `nan`, not `inf`."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no amount", param, ctx)
        return number


@click.command()
@click.option("--cameras", type=click.IntRange(1, 100_000), required=True, help="How many.")
@click.option("--fps", type=Amount(0, 60, min_open=True), default=5.0, show_default=True, help="fps_target of each.")
@click.option("--width", type=click.IntRange(64, 7680), default=1280, show_default=True, help="Of frames, in pixels.")
@click.option("--alerts-per-day", type=Amount(0), default=10.0, show_default=True, help="Opened, for each camera.")
@click.option(
    "--in-sight",
    type=Amount(0, 1),
    default=0.1,
    show_default=True,
    help="Share of the time in which a label of alert_classes is in sight of a camera, in a ROI or not.",
)
@click.option("--replication", type=click.IntRange(1, 9), default=1, show_default=True, help="Copies in Kafka.")
@configs_option
def plan(
    cameras: int, fps: float, width: int, alerts_per_day: float, in_sight: float, replication: int, configs: Path
) -> None:
    """What a number of cameras needs: disk, when everything is kept for as long as it is kept.

    Arithmetic over measured sizes, printed below the answer: a busy or a noisy picture takes more than they say. The
    picture memory and the evidence are reckoned with services.yaml. Touches nothing, needs no Kafka.
    """
    settings, _ = read_settings(configs, "")
    told = settings.services.picture_memory
    load = Load(
        cameras=cameras,
        fps=fps,
        width=width,
        alerts_per_day=alerts_per_day,
        in_sight=in_sight,
        replication=replication,
        picture_width=told.width,
        picture_every_seconds=told.every_seconds,
        evidence_days=settings.services.evidence.days,
    )
    # Piped, a table is as wide as it needs.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(_disk_table(disk(load)))
    copies = "one copy" if replication == 1 else f"{replication} copies"
    console.print(
        f"\nAssumed: {FRAME_BYTES_PER_PIXEL:g} bytes a pixel of a frame (16:9, quality 85), "
        f"{PICTURE_BYTES_PER_PIXEL:g} of a kept picture (quality 75), {copies} in Kafka. "
        "Kafka deletes whole segments: up to 1 GB a partition and topic comes on top.",
        soft_wrap=True,
    )


def _disk_table(stores: tuple[Store, ...]) -> Table:
    table = Table("disk for", "kept", "records", "size", "reckoned from", box=None, pad_edge=False)
    for store in stores:
        table.add_row(store.name, _kept(store.kept_ms), f"{store.records:,}", _size(store.size), store.how)
    table.add_row("all", "", "", _size(sum(store.size for store in stores)), "")
    return table


def _kept(milliseconds: int) -> str:
    if milliseconds >= DAY:
        return f"{milliseconds / DAY:g} d"
    return f"{milliseconds / HOUR:g} h" if milliseconds >= HOUR else f"{milliseconds / MINUTE:.0f} min"


def _size(count: int) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"
