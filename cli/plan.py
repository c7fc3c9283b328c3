"""`backsight plan`: what a number of cameras needs, before anything is bought."""

import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cli.options import configs_option, read_settings, refuse
from cli.plan_tables import changes_table, disk_table, needs_table, pinning_tables
from runtime.capacity import FRAME_BYTES_PER_PIXEL, PICTURE_BYTES_PER_PIXEL, Load, disk
from runtime.pinning import balance, even_ids, groups, renamings
from runtime.sizing import ASSUMED, DETECTORS, Detector, Site, cameras_per_detector, changes, needs
from schemas.documents.cameras import Cameras
from schemas.documents.reading import read_document, read_yaml
from schemas.partitioning import partition_of
from schemas.problems import BadDocument
from schemas.topics import PARTITIONS


class Amount(click.FloatRange):
    """A number that is one: not `nan`, not `inf`."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no amount", param, ctx)
        return number


@click.command()
@click.option("--cameras", type=click.IntRange(1, 100_000), help="How many; without it, those of --cameras-file.")
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
@click.option("--source-width", type=click.IntRange(64, 7680), default=1920, show_default=True, help="Cameras send.")
@click.option("--source-fps", type=Amount(0, 240, min_open=True), default=25.0, show_default=True, help="Cameras send.")
@click.option("--camera-mbit", type=Amount(0), default=4.0, show_default=True, help="Mbit/s of each camera's stream.")
@click.option(
    "--detector",
    type=click.Choice(list(DETECTORS)),
    default="t4",
    show_default=True,
    help="What looks at frames: a core with the shipped model or with one of 640 pixels, or a GPU.",
)
@click.option(
    "--detector-rate", type=Amount(0, min_open=True), help="Frames a second that yours does, as you measured."
)
@click.option(
    "--gpus",
    type=click.IntRange(1, 1000),
    help="How many there are: how evenly the cameras lie on them, and ids that fall evenly.",
)
@click.option(
    "--cameras-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A cameras.yaml whose cameras are looked at instead of ids of ours.",
)
@click.option("--json", "as_json", is_flag=True, help="The answer for programs.")
@configs_option
def plan(
    cameras: int | None,
    fps: float,
    width: int,
    alerts_per_day: float,
    in_sight: float,
    replication: int,
    source_width: int,
    source_fps: float,
    camera_mbit: float,
    detector: str,
    detector_rate: float | None,
    gpus: int | None,
    cameras_file: Path | None,
    as_json: bool,
    configs: Path,
) -> None:
    """What a number of cameras needs: machines, network, Kafka, disk, and where another design is called for.

    Arithmetic over measured and published figures, printed below the answer: a busy or a noisy picture takes more than
    they say. The picture memory and the evidence are reckoned with services.yaml. Touches nothing, needs no Kafka.

    \b
    backsight plan --cameras 100 --fps 5 --width 1280 --replication 3
    backsight plan --cameras 100 --detector-rate 350              # what your own GPU does
    backsight plan --cameras-file configs/cameras.yaml --gpus 3   # how even it is on three
    backsight plan --cameras 24 --gpus 3                          # ids that make it even from the start

    Exit codes: 0 done, 2 an option or a document does not check.
    """
    loads = None if cameras_file is None else _loads(cameras_file)
    cameras = cameras or (len(loads) if loads else None)
    if cameras is None:
        raise click.UsageError("Give --cameras, or a --cameras-file with cameras in it.")
    if loads is None and gpus is not None:
        loads = dict.fromkeys(even_ids(cameras), fps)
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
    site = Site(load, _detector(detector, detector_rate), source_width, source_fps, camera_mbit)
    if as_json:
        click.echo(json.dumps(_answer(site, loads, gpus), indent=2, ensure_ascii=False))
        return
    # Piped, a table is as wide as it needs.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(needs_table(needs(site)))
    each = cameras_per_detector(site)
    console.print(f"\n{site.detector.name} looks at {each:,} cameras: {site.detector.source}.\n", soft_wrap=True)
    console.print(disk_table(disk(load)))
    console.print()
    console.print(changes_table(changes(site), cameras))
    for table, said in () if loads is None else pinning_tables(loads, gpus or 1):
        console.print()
        console.print(table)
        console.print(said, soft_wrap=True)
    console.print("\nAssumed:")
    for line in (_sizes(replication), *ASSUMED):
        console.print(f"- {line}", soft_wrap=True)


def _detector(name: str, rate: float | None) -> Detector:
    known = DETECTORS[name]
    return known if rate is None else replace(known, per_second=rate, source="as --detector-rate says")


def _loads(file: Path) -> dict[str, float]:
    """Frames a second of each enabled camera of the file."""
    try:
        document = read_document(Cameras, read_yaml(file.read_text(encoding="utf-8"), file.name), file.name)
    except BadDocument as bad:
        refuse(bad.problems)
    return {camera.id: camera.fps_target for camera in document.cameras if camera.enabled}


def _sizes(replication: int) -> str:
    copies = "one copy" if replication == 1 else f"{replication} copies"
    return (
        f"{FRAME_BYTES_PER_PIXEL:g} bytes a pixel of a frame (16:9, quality 85), "
        f"{PICTURE_BYTES_PER_PIXEL:g} of a kept picture (quality 75), {copies} in Kafka. "
        "Kafka deletes whole segments: up to 1 GB a partition and topic comes on top."
    )


def _answer(site: Site, loads: dict[str, float] | None, gpus: int | None) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "site": asdict(site),
        "cameras_per_detector": cameras_per_detector(site),
        "needs": [asdict(each) for each in needs(site)],
        "disk": [asdict(each) for each in disk(site.load)],
        "changes": [asdict(each) for each in changes(site)],
        "assumed": [_sizes(site.load.replication), *ASSUMED],
    }
    if loads is not None:
        found = balance(loads, gpus or 1)
        answer["pinning"] = {
            **asdict(found),
            "cameras": {each: partition_of(each, PARTITIONS) for each in loads},
            "groups": groups(found.partitions, gpus or 1)[0],
            "renamings": [asdict(each) for each in renamings(loads, gpus or 1)],
        }
    return answer
