"""`backsight config choose`: whose documents the containers follow, theirs or the demo's."""

import socket
from pathlib import Path
from typing import Final

import click

from cli.options import refuse
from runtime.configs import load_cameras
from runtime.settings import environment
from schemas.problems import BadDocument, Problem

ANSWER_SECONDS: Final = 2.0


@click.command()
@click.argument("link", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--demo", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="The documents of the demo."
)
@click.option(
    "--simulator",
    default="",
    envvar="BACKSIGHT_SIMULATOR",
    show_envvar=True,
    metavar="HOST:PORT",
    help="Where the demo's cameras would answer.",
)
def choose(link: Path, folder: Path, demo: Path, simulator: str) -> None:
    """Point LINK to FOLDER; to the demo's documents where FOLDER has no enabled camera and the simulator answers.

    Every stage of a compose project follows LINK, so that `docker compose --profile demo up` shows something before
    there is a camera, and never takes real cameras away.
    """
    chosen, why = _choose(folder, demo, simulator)
    beside = link.with_name(f"{link.name}.new")
    try:
        beside.unlink(missing_ok=True)
        beside.symlink_to(chosen.absolute())
        beside.replace(link)
    except OSError as error:
        refuse([Problem(str(link), f"cannot be written: {error.strerror}")])
    click.echo(f"documents: {chosen} ({why})")


def _choose(folder: Path, demo: Path, simulator: str) -> tuple[Path, str]:
    answers = bool(simulator) and _answers(simulator)
    try:
        cameras = load_cameras(folder, environment())
    except BadDocument:
        return folder, "its cameras.yaml does not check"
    if cameras:
        also = "; the demo's cameras are played, but nobody watches them" if answers else ""
        return folder, f"{len(cameras)} enabled camera(s){also}"
    if answers:
        return demo, f"{folder} has no enabled camera, and the simulator answers at {simulator}"
    return folder, "it has no enabled camera yet"


def _answers(place: str) -> bool:
    host, _, port = place.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), ANSWER_SECONDS):
            return True
    except (OSError, ValueError):
        return False
