"""Everything that installing without internet needs, in one file: `make bundle`. Installing from it: docs/offline.md.

backsight/                    the checkout, as committed, with the locks that say what the rest must be
backsight/offline/wheels/     the Python packages of a lock, for this machine's kind and Python
backsight/offline/jars/       Kafka's jars
backsight/offline/images.txt  the images that the compose files name
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from runtime.broker.jars import provide_jars

CHECKOUT = Path(__file__).parents[1]


def images(documents: Sequence[Path]) -> list[str]:
    """The images that compose files name, each once, with the defaults of the variables in them."""

    def named(document: Any) -> Iterator[str]:
        for service in (document.get("services") or {}).values():
            if isinstance(service, dict) and "image" in service:
                yield re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", service["image"])

    return sorted({image for each in documents for image in named(yaml.safe_load(each.read_text()))})


def bundle(to: Path, locks: Sequence[str]) -> Path:
    """Makes the file in the folder ``to``; answers its path."""
    to.mkdir(parents=True, exist_ok=True)
    commit = _said("git", "rev-parse", "--short=12", "HEAD")
    if _said("git", "status", "--porcelain", "--untracked-files=no"):
        say(f"the checkout has changes that are not committed: the bundle holds {commit} without them")
    python = "".join(platform.python_version_tuple()[:2])
    path = to / f"backsight-{commit}-{platform.system().lower()}-{platform.machine()}-py{python}.tar"
    with tempfile.TemporaryDirectory(dir=to, prefix="bundle-") as made:
        top = Path(made) / "backsight"
        offline = top / "offline"
        (offline / "jars").mkdir(parents=True)
        archive = Path(made) / "checkout.tar"
        subprocess.run(["git", "archive", "-o", archive, "HEAD"], cwd=CHECKOUT, check=True)
        shutil.unpack_archive(archive, top, filter="data")
        for lock in locks:
            say(f"fetching the packages of requirements/{lock}.lock")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            command += ["--require-hashes", "--only-binary", ":all:", "--dest", str(offline / "wheels")]
            subprocess.run([*command, "-r", f"requirements/{lock}.lock"], cwd=CHECKOUT, check=True)
        for jar in provide_jars(say=say):
            shutil.copy(jar, offline / "jars")
        wanted = images(sorted(top.glob("docker-compose*.yml")))
        (offline / "images.txt").write_text("".join(f"{image}\n" for image in wanted))
        subprocess.run(["tar", "-C", made, "-cf", path, "backsight"], check=True)
    return path


def _said(*command: str) -> str:
    return subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.strip()


def say(line: str) -> None:
    """A line for the person who waits."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=CHECKOUT / "build", metavar="FOLDER")
    parser.add_argument(
        "--lock",
        action="append",
        metavar="NAME",
        help="of requirements/, e.g. ultralytics; may be repeated; run unless given",
    )
    told = parser.parse_args()
    path = bundle(told.to, told.lock or ["run"])
    say(f"{path}: {path.stat().st_size >> 20} MB. docs/offline.md says how to install from it.")


if __name__ == "__main__":
    main()
