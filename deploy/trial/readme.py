"""Follows the README on a clean machine, and writes down what happened: `python -m deploy.trial.readme`.

The machine is a root filesystem that debootstrap makes: Debian, and nothing of ours. A person clones the repository,
runs the demo, then sets up two cameras of their own (a video file, and one over RTSP with a password), with ROIs and a
class of their own, and waits for an alert of each. What the README has to say for that is looked up in it first. The
transcript goes to docs/tried.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from demos.rtsp_server import RtspServer
from demos.yard import Yard
from demos.yard.clip import write_clip
from deploy.trial import root
from deploy.trial.root import Root
from deploy.trial.terminal import COLUMNS, machine_hosts, scrubbed, shortened, typed

CHECKOUT = Path(__file__).parents[2]
HOME = "/root/backsight"
PASSWORD = "rose & bud"  # noqa: S105 - of a camera that lives for a minute
PORT = 8554

CAMERAS = f"""\
cameras:
  - id: dock
    rtsp_url: "/root/videos/dock.mp4"
    loop: true
    fps_target: 5.0
  - id: gate
    rtsp_url: "rtsp://admin:${{CAM_PASSWORD}}@127.0.0.1:{PORT}/gate"
    fps_target: 5.0
"""

ROIS = """\
cameras:
  - camera_id: dock
    forbidden_rois:
      - name: no_walking
        points: [[20, 100], [620, 100], [620, 350], [20, 350]]
    allowed_classes: [pine, object]
    alert_classes: [worker]
  - camera_id: gate
    forbidden_rois:
      - name: gateway
        points: [[10, 60], [630, 60], [630, 355], [10, 355]]
    allowed_classes: [pine, worker]
    alert_classes: [object]
"""


GIVEN = (
    "make demo",
    "rtsp_url:",
    "${CAM_PASSWORD}",
    ".venv/bin/backsight cameras probe",
    "cameras snapshot",
    "forbidden_rois:",
    "model_path: models/mine.onnx",
    ".venv/bin/backsight doctor",
    ".venv/bin/backsight up",
)
"""What the README has to say for what is typed here to be following it."""


class Person:
    """Somebody who reads the README and types. Everything is written down."""

    def __init__(self, machine: Root, network: str) -> None:
        self._machine = machine
        self._network = network
        self.lines: list[str] = []
        self.failed: list[str] = []

    def says(self, words: str) -> None:
        """A paragraph between commands."""
        self.lines += ["", textwrap.fill(" ".join(words.split()), COLUMNS), ""]

    def reads(self, heading: str) -> None:
        """Goes on with the next part of the README."""
        self.lines += ["", f"## {heading}"]
        print(f"== {heading}", file=sys.stderr, flush=True)

    def types(self, command: str, *, until: str | None = None, alone: bool = False) -> str:
        """Types a command. ``until`` that is printed: then Ctrl-C. ``alone``: in a network of its own, where only this
        machine is."""
        print(f"$ {command}", file=sys.stderr, flush=True)
        begun = time.monotonic()
        argv = self._machine.argv(
            ["bash", "-c", command],
            folder=HOME if (self._machine.path / HOME[1:]).is_dir() else "/root",
            environment={"HOME": "/root", "TERM": "dumb"},
        )
        said, code = typed([*(("ip", "netns", "exec", self._network) if alone else ()), *argv], until)
        shown = scrubbed(shortened(said), machine_hosts())
        print(shown[-2500:], file=sys.stderr, flush=True)
        ended = "Ctrl-C, then exit code" if until else "exit code"
        took = f"[{ended} {code} after {time.monotonic() - begun:.0f} s]"
        self.lines += ["", "```console", f"$ {command}", *shown.splitlines(), took, "```"]
        if code:
            self.failed.append(f"{command}: {took}")
        return said

    def writes(self, name: str, text: str) -> None:
        """Writes a document in an editor."""
        (self._machine.path / HOME[1:] / name).write_text(text)
        self.lines += [
            "",
            f"`{name}`:",
            "",
            f"```{'yaml' if name.endswith('.yaml') else 'sh'}",
            *text.splitlines(),
            "```",
        ]


def follow(person: Person) -> None:
    """The README, from the top."""
    person.reads("The clone, and the demo")
    person.says(
        "A minimal Debian has neither git nor make. The clone is from a file: this machine has no other way to it."
    )
    person.types("apt-get update -qq && apt-get install -y -qq --no-install-recommends git make")
    person.types("git clone -q /root/backsight.bundle backsight")
    person.types("make demo")

    person.reads("Your own cameras")
    person.says(
        """Two cameras: a recording of their own, and one that speaks RTSP and wants a password (a GStreamer server
        beside this filesystem stands for it). From here on there is no network but loopback."""
    )
    person.writes("configs/cameras.yaml", CAMERAS)
    person.writes(".env", f'CAM_PASSWORD="{PASSWORD}"\n')
    person.types(".venv/bin/backsight cameras probe gate", alone=True)
    person.writes("configs/rois.yaml", ROIS)
    person.types(".venv/bin/backsight cameras snapshot dock --rois", alone=True)
    person.says("A model of their own: the shipped one under another name, since there is no other here.")
    person.types("cp models/yard/yard-2.onnx models/mine.onnx", alone=True)
    person.types("sed -i 's|model_path: .*|model_path: models/mine.onnx|' configs/services.yaml", alone=True)
    person.types(".venv/bin/backsight doctor", alone=True)
    person.says("Then it runs, until both cameras have alerted; Ctrl-C ends it.")
    both = r"(?s)(no_walking.*gateway|gateway.*no_walking)"
    person.types(".venv/bin/backsight up", alone=True, until=both)


@contextmanager
def network() -> Iterator[str]:
    """A network namespace of its own: loopback alone."""
    name = f"backsight-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


@contextmanager
def camera(name: str, clip: Path) -> Iterator[None]:
    """A camera that speaks RTSP, in the network ``name``, under another user than ours would be."""
    if not RtspServer.available():
        raise SystemExit("not tried: GStreamer's RTSP server is missing (CONTRIBUTING.md names the packages)")
    code = (
        "import sys; from pathlib import Path; from demos.rtsp_server import RtspServer\n"
        f"with RtspServer({{'gate': Path({str(clip)!r})}}, 'admin', {PASSWORD!r}, port={PORT}): sys.stdin.read()"
    )
    server = subprocess.Popen(
        ["ip", "netns", "exec", name, sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=CHECKOUT
    )
    try:
        yield
    finally:
        server.communicate()


def said(*command: str) -> str:
    """What a command in the checkout prints."""
    return subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=CHECKOUT / "docs/tried.md")
    told = parser.parse_args()
    if reason := root.why_not():
        raise SystemExit(f"not tried: {reason}")
    readme = (CHECKOUT / "README.md").read_text()
    if gone := [each for each in GIVEN if each not in readme]:
        raise SystemExit(f"README.md does not say any more: {', '.join(gone)}")
    commit = said("git", "rev-parse", "--short=12", "HEAD")
    with tempfile.TemporaryDirectory(prefix="backsight-readme-", dir=root.roomy(6)) as made, network() as name:
        machine = root.make(Path(made) / "root")
        home = machine.path / "root"
        # With a branch beside HEAD a clone is on that branch, as a clone from a server is.
        refs = ["HEAD", said("git", "rev-parse", "--abbrev-ref", "HEAD")]
        subprocess.run(["git", "bundle", "create", "-q", home / "backsight.bundle", *refs], cwd=CHECKOUT, check=True)
        (home / "videos").mkdir()
        write_clip(home / "videos/dock.mp4", Yard(31, "dock"), 20)
        gate = Path(made) / "gate.mp4"
        write_clip(gate, Yard(32, "gate"), 20)
        person = Person(machine, name)
        with camera(name, gate):
            follow(person)
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    page = HEAD.format(today=today, commit=commit) + "\n".join(person.lines).lstrip("\n") + "\n"
    if person.failed:
        failed = CHECKOUT / "build" / told.to.name
        failed.parent.mkdir(exist_ok=True)
        failed.write_text(page)
        raise SystemExit("\n".join([*person.failed, f"the transcript is in {failed}"]))
    told.to.write_text(page)


HEAD = """\
# As tried

A person follows nothing but the README on a machine that has nothing but a minimal Debian 12. This page is written
by `make readme-trial` (`deploy/trial/readme.py`), the last time on {today} with commit {commit}; everything
below was typed and answered as it stands, in a root filesystem made by debootstrap (two cores, no GPU, as root).
apt-get's own lines are counted instead of shown, and a mirror's name is left out.

"""


if __name__ == "__main__":
    main()
