"""Tries the recipe of the images without Docker: `python -m deploy.trial.image [--target cpu] [--keep FOLDER]`.

Each stage of deploy/docker/Dockerfile becomes a root filesystem: FROM is debootstrap's Debian (the release of the
base), every other step is done as the recipe says it. Then the image's own command is run in the result as its user,
the root mounted read-only, without any network: the version, the check of the shipped documents, and the shipped model
on a picture. What differs from Docker's: docs/images.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from deploy.trial import root
from deploy.trial.recipe import Ignored, Stage, Step, copied, filled, needed, read_recipe
from deploy.trial.root import Root

CHECKOUT = Path(__file__).parents[2]
SHELL = ["/bin/sh", "-c"]


@dataclass
class Image:
    """A root filesystem and what the recipe says of how it runs."""

    root: Root
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    volumes: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def build(target: str, place: Path) -> Image:
    """The image of the stage ``target``, built in folders below ``place``."""
    stages = read_recipe((CHECKOUT / "deploy/docker/Dockerfile").read_text())
    made: dict[str, Image] = {}
    order = needed(stages, target)
    for number, stage in enumerate(order):
        begun = time.monotonic()
        last = all(stage.base not in (other.base, *other.sources()) for other in order[number + 1 :])
        made[stage.name] = _build(stage, made, place, last)
        say(f"{stage.name}: {time.monotonic() - begun:.0f} s, {_megabytes(made[stage.name].root.path)} MB")
    return made[target]


def _build(stage: Stage, made: dict[str, Image], place: Path, last: bool) -> Image:
    if stage.base in made:
        base = made[stage.base]
        image = Image(
            (root.move if last else root.copy)(base.root, place / stage.name),
            dict(base.environment),
            base.folder,
            base.user,
            list(base.volumes),
            list(base.entrypoint),
            list(base.command),
        )
    else:
        name, _, tag = stage.base.partition(":")
        if name != "debian" or _release(tag) != root.RELEASE:
            raise SystemExit(f"{stage.base}: this trial makes Debian {root.RELEASE} only")
        image = Image(root.make(place / stage.name))
        image.environment = {"PATH": image.root.environment["PATH"]}
    for step in stage.steps:
        _do(step, image, made)
    return image


def _release(tag: str) -> str:
    return {"12": "bookworm", "13": "trixie"}.get(tag.partition(".")[0], tag)


def _do(step: Step, image: Image, made: dict[str, Image]) -> None:
    values = image.environment
    inside = image.root.path
    if step.word == "RUN":
        say(f"  RUN {step.rest[:100]}")
        shown = {}
        for kind, options in (each for each in step.flags if each[0] == "mount"):
            told = dict(each.partition("=")[::2] for each in options.split(","))
            if told["type"] == "cache":
                folder = root.cache() / told["target"].strip("/").replace("/", "-")
                folder.mkdir(parents=True, exist_ok=True)
                shown[folder] = told["target"]
            elif told["type"] != "secret":
                raise SystemExit(f"RUN --{kind}={options}: only cache and secret are known here")
        command = image.root.argv(
            [*SHELL, step.rest], user=image.user, folder=image.folder, shown=shown, environment=values
        )
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    elif step.word == "COPY":
        say(f"  COPY {step.rest}")
        source = dict(step.flags).get("from")
        if source:
            _copy_tree(made[source].root.path, inside, image.folder, step.list())
        else:
            ignored = Ignored.read((CHECKOUT / ".dockerignore").read_text())
            for file, target in copied(step, list(ignored.files(CHECKOUT))):
                at = inside / Path(image.folder, target).as_posix().lstrip("/")
                at.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(CHECKOUT / file, at, follow_symlinks=False)
    elif step.word == "ENV":
        values |= {name: filled(value, values) for name, value in step.pairs().items()}
    elif step.word == "WORKDIR":
        image.folder = str(Path(image.folder, filled(step.rest, values)))
        (inside / image.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif step.word == "USER":
        image.user = step.rest
    elif step.word == "VOLUME":
        image.volumes += step.list()
    elif step.word == "ENTRYPOINT":
        image.entrypoint, image.command = step.list(), []
    elif step.word == "CMD":
        image.command = step.list()


def _copy_tree(source: Path, inside: Path, folder: str, words: list[str]) -> None:
    *names, target = words
    for name in names:
        at = inside / Path(folder, target).as_posix().lstrip("/")
        at.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", f"{source}/{name.lstrip('/')}/.", str(at)], check=True)


def check(image: Image, place: Path) -> None:
    """The image's own commands, as a container would run them. Raises `CalledProcessError` at the first that fails."""
    volumes = {}
    user, _, group = image.user.partition(":")
    for number, volume in enumerate(image.volumes):
        outside = place / f"volume-{number}"
        outside.mkdir()
        os.chown(outside, int(user), int(group))  # Docker gives a new volume the owner of the folder in the image
        volumes[outside] = volume
    inside = Root(image.root.path)  # without the machine's way to the registries
    script = (Path(__file__).parent / "look.py").read_text()
    for command, given in (
        ([*image.entrypoint, "--version"], ""),
        ([*image.entrypoint, "config", "check"], ""),
        (["tini", "--", "python", "-"], script),
    ):
        say(f"$ {' '.join(command)}")
        argv = inside.argv(
            command,
            user=image.user,
            folder=image.folder,
            read_only=True,
            network=False,
            shown=volumes,
            environment=image.environment,
        )
        subprocess.run(argv, input=given, text=True, check=True, timeout=600)


def say(line: str) -> None:
    """A line for the person who waits."""
    print(line, file=sys.stderr, flush=True)


def _megabytes(folder: Path) -> int:
    done = subprocess.run(["du", "-sxm", str(folder)], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--gigabytes", type=int, default=4, help="the room that the stages take (cuda: 30)")
    parser.add_argument(
        "--keep", type=Path, help="a folder, not there yet, that the image's root filesystem is left in"
    )
    told = parser.parse_args()
    if reason := root.why_not():
        raise SystemExit(f"not tried: {reason}")
    with tempfile.TemporaryDirectory(prefix="backsight-image-", dir=root.roomy(told.gigabytes)) as made:
        place = Path(made)
        image = build(told.target, place)
        check(image, place)
        if told.keep:
            shutil.move(image.root.path, told.keep)
    say(f"the image {told.target} was built and its commands ran")


if __name__ == "__main__":
    main()
