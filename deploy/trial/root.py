"""A clean Debian root filesystem, made by debootstrap, and commands run in it. Root only; nothing outside it changes.

The machine's own way to the package registries is carried in when a filesystem is made: name servers, Debian's
sources, pip's settings, certificates of its own. None of that is part of what is tried, and none of it is committed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

RELEASE: Final = "bookworm"
_KEPT_SECONDS: Final = 7 * 86_400
_MOZILLA: Final = Path("/usr/share/ca-certificates/mozilla")
_BUNDLE: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_OWN: Final = Path("/usr/local/share/ca-certificates")

# Run as root in namespaces of its own: mounts vanish with it. $1 root, $2 user, $3 folder, $4 ro|rw, $5 net|no-net,
# then pairs FROM TO of folders to show inside, `--`, and the command.
_ENTER: Final = r"""
set -eu
root=$1 user=$2 folder=$3 access=$4 net=$5
shift 5
[ "$net" = net ] || ip link set lo up
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
while [ "$1" != -- ]; do
    [ -e "$root$2" ] || mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    shift 2
done
shift
[ "$access" = rw ] || mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" "$root" /usr/bin/env -i -C "$folder" "$@"
"""


def why_not() -> str | None:
    """Why no root filesystem can be made here; None where one can."""
    if os.geteuid() != 0:
        return "only root can make a root filesystem"
    for tool in ("debootstrap", "unshare", "chroot", "ip"):
        if shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"{tool} is missing (Debian's packages debootstrap, util-linux, coreutils, iproute2)"
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        return "mount namespaces are not allowed here"
    return None


@dataclass
class Root:
    """A root filesystem in a folder."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    def argv(
        self,
        command: Sequence[str],
        *,
        user: str = "0:0",
        folder: str = "/",
        read_only: bool = False,
        network: bool = True,
        shown: Mapping[Path, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> list[str]:
        """The command line that runs ``command`` inside. ``shown``: folders and files from outside, and where to."""
        told = {**self.environment, **(environment or {})}
        mounts = [str(each) for pair in (shown or {}).items() for each in pair]
        return [
            "unshare",
            *("--mount", "--pid", "--fork", "--kill-child"),
            *(() if network else ("--net",)),
            *("sh", "-c", _ENTER, "sh", str(self.path), user, folder),
            *("ro" if read_only else "rw", "net" if network else "no-net", *mounts, "--"),
            *(f"{name}={value}" for name, value in told.items()),
            *command,
        ]


def make(path: Path, kept_in: Path | None = None) -> Root:
    """A fresh minimal Debian at ``path``. The plain one is kept as a tar in ``kept_in`` for a week: making it takes
    minutes, unpacking it seconds."""
    kept = (kept_in or cache()) / f"debian-{RELEASE}-{platform.machine()}.tar"
    if not kept.exists() or time.time() - kept.stat().st_mtime > _KEPT_SECONDS:
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(path, ignore_errors=True)
        _run(["debootstrap", "--variant=minbase", RELEASE, str(path), _mirror()])
        _run(["chroot", str(path), "apt-get", "clean"])
        _run(["tar", "-C", str(path), "-cf", f"{kept}.part", "."])
        Path(f"{kept}.part").replace(kept)
    else:
        path.mkdir(parents=True)
        _run(["tar", "-C", str(path), "-xf", str(kept)])
    return Root(path, _carry_in(path))


def move(root: Root, path: Path) -> Root:
    """The same filesystem at ``path`` instead of where it was."""
    return Root(root.path.rename(path), dict(root.environment))


def copy(root: Root, path: Path) -> Root:
    """The same filesystem again at ``path``."""
    _run(["cp", "-a", "--reflink=auto", str(root.path), str(path)])
    return Root(path, dict(root.environment))


def _carry_in(path: Path) -> dict[str, str]:
    """The machine's way to the registries, put into the filesystem; answers what the environment needs for it."""
    for name in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf"):
        if Path("/", name).exists():
            shutil.copy(Path("/", name), path / name)
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    if sources.exists():
        shutil.copy(sources, path / "etc/apt/sources.list.d")
        (path / "etc/apt/sources.list").unlink(missing_ok=True)
    for options in Path("/etc/apt/apt.conf.d").glob("99*"):
        shutil.copy(options, path / "etc/apt/apt.conf.d")
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    environment |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    own = _own_certificates()
    if own:
        folder = path / _OWN.relative_to("/")
        folder.mkdir(parents=True, exist_ok=True)
        for number, each in enumerate(own):
            (folder / f"machine-{number}.crt").write_text(each)
        bundle = path / "etc/ssl/machine.crt"
        bundle.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_BUNDLE, bundle)
        environment["PIP_CERT"] = "/etc/ssl/machine.crt"
    environment |= {
        name: value for name, value in os.environ.items() if name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
    }
    return environment


def _own_certificates() -> list[str]:
    """The authorities that this machine trusts beyond those that Debian ships."""
    if not _BUNDLE.exists():
        return []

    def certificates(text: str) -> list[str]:
        return re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", text, re.DOTALL)

    shipped = {"".join(each.split()) for file in _MOZILLA.glob("*.crt") for each in certificates(file.read_text())}
    return [each for each in certificates(_BUNDLE.read_text()) if "".join(each.split()) not in shipped]


def _mirror() -> str:
    """Debian's mirror that this machine uses."""
    for file in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")):
        if file.exists() and (found := re.search(r"https?://\S+/debian/?(?=\s|$)", file.read_text())):
            return found[0]
    return "http://deb.debian.org/debian"


def roomy(gigabytes: int) -> Path:
    """Where root filesystems are made: in memory where there is that much, for many small files are slow on a disk."""
    memory = Path("/dev/shm")  # noqa: S108
    if memory.is_dir() and shutil.disk_usage(memory).free > gigabytes << 30:
        return memory
    return Path(tempfile.gettempdir())


def cache() -> Path:
    """Where what the next trial needs again is kept: Debian's tar, pip's downloads."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "backsight" / "trial"


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
