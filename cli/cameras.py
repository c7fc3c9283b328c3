"""`backsight cameras list|probe|snapshot`."""

import sys
from pathlib import Path

import click
from pydantic import ValidationError
from rich.table import Table

from cli.checks.cameras import camera as look_at
from cli.options import configs_option, plain, refuse, table_console
from inference.annotate import AMBER, RED, Area, annotated, as_jpeg, gridded
from inference.pictures import Limits, Picture, decode
from ingest.pictures import PictureTooLarge
from ingest.probing import whole_picture
from ingest.sources import SourceFault
from rules.kinds import PictureSize
from rules.kinds.presence import out_of_bounds, polygon_of
from runtime.configs import ResolvedCamera, load_cameras, load_rois
from runtime.lifecycle import EXIT_FAULT
from runtime.logs import configure_logs
from runtime.redact import camera_place
from runtime.settings import environment
from schemas.documents.cameras import Camera, Cameras, check_url, source_kind
from schemas.documents.reading import read_document, read_yaml
from schemas.documents.rois import RoiDefaults, effective_rules
from schemas.frames import MAX_FRAME_BYTES
from schemas.problems import BadDocument, Problem


@click.group()
def cameras() -> None:
    """List the cameras, probe one, see its picture with its ROIs."""


@cameras.command("list")
@configs_option
def listed(configs: Path) -> None:
    """Every camera of cameras.yaml, enabled or not; credentials are never shown."""
    file = configs / "cameras.yaml"
    try:
        document = read_document(Cameras, read_yaml(_text(file), file.name), file.name)
        rois = {entry.camera_id: len(entry.forbidden_rois) for entry in load_rois(configs).cameras}
    except BadDocument as bad:
        refuse(bad.problems)
    table = Table("id", "name", "kind", "place", "fps_target", "width", "ROIs", "enabled", box=None, pad_edge=False)
    for each in document.cameras:
        url = each.url.get_secret_value()
        shown = (each.id, each.name or "", source_kind(url), camera_place(url), f"{each.fps_target:g}", str(each.width))
        table.add_row(*shown, str(rois.get(each.id, 0)), "yes" if each.enabled else "no")
    table_console().print(table)


@cameras.command()
@click.argument("url_or_id")
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=3.0, show_default=True, help="To watch it for.")
@configs_option
def probe(url_or_id: str, seconds: float, configs: Path) -> None:
    """What a camera sends: codec, size, frames a second, time to the first picture, and its clock beside ours.

    URL_OR_ID: an id of cameras.yaml, or an address as cameras.yaml takes it. A password in an address is seen by
    everybody who may list this machine's processes; an id takes it from the environment.

    Exit code 0: it gives pictures, 1: it does not, 2: there is no such camera.
    """
    configure_logs("probe", "ERROR")
    found = look_at(_resolved(url_or_id, configs), seconds)
    for finding in found:
        click.echo(plain(str(finding)))
    sys.exit(EXIT_FAULT if any(finding.state == "fault" for finding in found) else 0)


@cameras.command()
@click.argument("camera_id", metavar="ID")
@click.option("--rois", "with_rois", is_flag=True, help="Draw rois.yaml's polygons and names, and a grid of pixels.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="JPEG to write; ID.jpg unless named."
)
@configs_option
def snapshot(camera_id: str, with_rois: bool, output: Path | None, configs: Path) -> None:
    """Write the camera's picture as it is now, whole; with --rois to see, and read off, where the polygons lie.

    The numbers along the edges are pixels of the camera's own picture, those in which rois.yaml is written. ROIs are
    those of the file, applied or not. A red one reaches beyond the picture.
    """
    configure_logs("snapshot", "ERROR")
    resolved = _resolved(camera_id, configs)
    try:
        encoded = whole_picture(resolved)
    except (SourceFault, PictureTooLarge) as fault:
        click.echo(f"error: {plain(str(fault))}", err=True)
        sys.exit(EXIT_FAULT)
    jpeg = encoded.jpeg
    if with_rois:
        picture = decode(jpeg, Limits(MAX_FRAME_BYTES))
        size = PictureSize(encoded.source_width, encoded.source_height)
        jpeg = as_jpeg(_with_rois(picture, camera_id, size, configs), 90)
    target = output or Path(f"{camera_id}.jpg")
    target.write_bytes(jpeg)
    click.echo(f"wrote {target}: {encoded.source_width} x {encoded.source_height}")


def _with_rois(picture: Picture, camera_id: str, size: PictureSize, configs: Path) -> Picture:
    try:
        entries = [entry for entry in load_rois(configs).cameras if entry.camera_id == camera_id]
    except BadDocument as bad:
        refuse(bad.problems)
    rois = effective_rules(entries[0], RoiDefaults()).rois if entries else ()
    if not rois:
        click.echo(f"warning: rois.yaml has no ROI for {camera_id}", err=True)
    for roi in rois:
        if out_of_bounds(roi, size):
            click.echo(f"warning: {roi.name} reaches beyond the picture of {size.width} x {size.height}", err=True)
    areas = [Area(polygon_of(roi, size), roi.name, RED if out_of_bounds(roi, size) else AMBER) for roi in rois]
    return annotated(gridded(picture), [], areas)


def _resolved(url_or_id: str, configs: Path) -> ResolvedCamera:
    """The camera of that id, or one made of an address."""
    if "/" in url_or_id:
        wrong = check_url(url_or_id)
        if wrong is not None:
            refuse([Problem("URL", wrong)])
        try:
            return ResolvedCamera(Camera.model_validate({"id": "probed", "url": url_or_id}), url_or_id)
        except ValidationError:
            refuse([Problem("URL", "is none that cameras.yaml takes")])
    try:
        known = {each.camera.id: each for each in load_cameras(configs, environment())}
    except BadDocument as bad:
        refuse(bad.problems)
    if url_or_id not in known:
        words = f"no enabled camera is called {url_or_id}; known: {', '.join(known) or 'none'}"
        refuse([Problem("cameras.yaml", words)])
    return known[url_or_id]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadDocument([Problem(str(file), f"cannot be read ({type(error).__name__})")]) from None
