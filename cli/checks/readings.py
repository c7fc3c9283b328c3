"""What a machine says of itself, taken once; tests hand in their own."""

import ctypes
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pynvml

from inference.device import cuda_devices


class Space(NamedTuple):
    """Bytes of a file system, and whether this user may write there."""

    free: int
    total: int
    writable: bool


class Gpu(NamedTuple):
    """A card as NVIDIA's management library names it; bytes of memory."""

    name: str
    free: int
    total: int


@dataclass(frozen=True)
class Readings:
    """``cuda``: the GPUs that this process may use; ``gpus`` and ``driver``: those that the driver knows.

    ``gpu_nodes``: the device files of a card are here. ``synchronized``: whether the kernel's clock follows a time
    server; None where it does not tell.
    """

    memory_available: int
    memory_total: int
    space: Callable[[Path], Space]
    cuda: tuple[str, ...]
    gpus: tuple[Gpu, ...]
    driver: str | None
    gpu_nodes: bool
    synchronized: bool | None
    now: float


def take_readings() -> Readings:
    """Of this machine, or of the container that this process runs in."""
    available, total = _memory()
    driver, gpus = _nvidia()
    return Readings(
        memory_available=available,
        memory_total=total,
        space=space_at,
        cuda=cuda_devices(),
        gpus=gpus,
        driver=driver,
        gpu_nodes=Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists(),
        synchronized=_synchronized(),
        now=time.time(),
    )


def space_at(folder: Path) -> Space:
    """Of the file system on which the folder is, or would be made."""
    here = folder.absolute()
    while not here.exists():
        here = here.parent
    usage = shutil.disk_usage(here)
    return Space(usage.free, usage.total, os.access(here, os.W_OK | os.X_OK))


def _memory() -> tuple[int, int]:
    """Bytes available and in all: of the machine, or of the container's limit where that is less."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    available, total = kilobytes["MemAvailable"] * 1024, kilobytes["MemTotal"] * 1024
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):  # no such group, or "max"
        return available, total
    # What is only cached is given back when it is wanted.
    used -= int(stat.get("inactive_file", 0))
    return min(available, max(0, limit - used)), min(total, limit)


def _nvidia() -> tuple[str | None, tuple[Gpu, ...]]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None, ()
    try:
        cards = []
        for number in range(pynvml.nvmlDeviceGetCount()):
            card = pynvml.nvmlDeviceGetHandleByIndex(number)
            memory = pynvml.nvmlDeviceGetMemoryInfo(card)
            cards.append(Gpu(str(pynvml.nvmlDeviceGetName(card)), int(memory.free), int(memory.total)))
        return str(pynvml.nvmlSystemGetDriverVersion()), tuple(cards)
    except pynvml.NVMLError:
        return None, ()
    finally:
        pynvml.nvmlShutdown()


def _synchronized() -> bool | None:
    """What the kernel says of its clock (adjtimex(2), which only reads when asked for nothing)."""
    room = ctypes.create_string_buffer(512)  # struct timex is 208 bytes; all zero asks only to read
    state = ctypes.CDLL(None, use_errno=True).adjtimex(room)
    unsynchronized = 5  # TIME_ERROR
    return None if state < 0 else state != unsynchronized
