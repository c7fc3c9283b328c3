"""Installs from a bundle where there is no internet: `python -m deploy.trial.offline BUNDLE`.

A clean Debian gets what docs/offline.md asks of a machine (from Debian's own packages), then loses every network but
loopback. The bundle is unpacked and the demo is run from it: packages, jars and Kafka have to come out of the file.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from deploy.trial import root

WANTED = "python3 python3-venv make libgl1 libglib2.0-0"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    told = parser.parse_args()
    if reason := root.why_not():
        raise SystemExit(f"not tried: {reason}")
    if WANTED not in (Path(__file__).parents[2] / "docs/offline.md").read_text():
        raise SystemExit(f"docs/offline.md does not ask for {WANTED} any more")
    with tempfile.TemporaryDirectory(prefix="backsight-offline-", dir=root.roomy(6)) as made:
        machine = root.make(Path(made) / "root")
        prepare = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {WANTED}"
        subprocess.run(machine.argv(["sh", "-c", prepare]), check=True)
        subprocess.run(["tar", "-C", machine.path / "root", "-xf", told.bundle], check=True)
        alone = root.Root(machine.path, {"PATH": machine.environment["PATH"], "HOME": "/root", "LANG": "C.UTF-8"})
        demo = alone.argv(["make", "demo"], folder="/root/backsight", network=False)
        subprocess.run(demo, check=True)


if __name__ == "__main__":
    main()
