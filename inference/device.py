"""Which processor detects: the CPU, or a GPU that no other consumer on this machine has.

A GPU is asked for and not there: that is an error which says so, never a silent fall to the CPU, where the same
cameras would be hours behind by morning. Processes on one machine share out its GPUs by locks on files, which the
kernel lets go when a process ends, however it ends.
"""

import ctypes
import fcntl
import os
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

CPU: Final = "cpu"


class NoDevice(RuntimeError):
    """The asked-for GPU is not there, or another process has it."""


def cuda_devices() -> tuple[str, ...]:
    """The identities of the GPUs this process may see, in CUDA's order; empty without a driver.

    The driver is asked, not a framework: ONNX Runtime cannot count, and torch need not be there. `CUDA_VISIBLE_DEVICES`
    is honoured by the driver, so cuda:0 may be another card in another process: hence identities.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    return tuple(_identity(driver, number) for number in range(count.value))


def _identity(driver: ctypes.CDLL, number: int) -> str:
    device = ctypes.c_int()
    identity = (ctypes.c_ubyte * 16)()
    if driver.cuDeviceGet(ctypes.byref(device), number) or driver.cuDeviceGetUuid(ctypes.byref(identity), device):
        return f"number-{number}"
    return bytes(identity).hex()


class Claim:
    """A device that is ours until `release`, or until the process ends. ``device`` is `cpu` or `cuda:N`."""

    def __init__(self, device: str, lock: IO[str] | None = None) -> None:
        self.device = device
        self._lock = lock

    def release(self) -> None:
        """Lets the device go."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def choose(asked: str, devices: Sequence[str]) -> tuple[int, ...]:
    """The numbers of the GPUs that answer to ``asked`` (`auto`, `cpu`, `cuda`, `cuda:N`); none: the CPU it is.

    Raises `NoDevice` where a GPU was asked for by name and is not there.
    """
    if asked == CPU or (asked == "auto" and not devices):
        return ()
    if not devices:
        raise NoDevice(
            f"INFERENCE_DEVICE is {asked}, but there is no CUDA device here (no driver, or none visible to this "
            "process); INFERENCE_DEVICE=auto takes the CPU where there is no GPU"
        )
    if asked in ("auto", "cuda"):
        return tuple(range(len(devices)))
    number = int(asked.removeprefix("cuda:"))
    if number >= len(devices):
        raise NoDevice(f"INFERENCE_DEVICE is {asked}, but there are {len(devices)} CUDA devices here, from cuda:0 on")
    return (number,)


def pick(asked: str, devices: Sequence[str] | None = None) -> str:
    """The device for ``asked`` without claiming it, for a process that may share one (the API): `cpu` or `cuda:N`."""
    candidates = choose(asked, cuda_devices() if devices is None else devices)
    return f"cuda:{candidates[0]}" if candidates else CPU


def claim(asked: str, devices: Sequence[str] | None = None, folder: Path | None = None) -> Claim:
    """The first device for ``asked`` that nobody on this machine has claimed.

    ``devices`` are identities as `cuda_devices` gives them, ``folder`` holds the lock files (of this user); containers
    know of one another by a folder that they share. Raises `NoDevice` where none is there or none is free.
    """
    found = cuda_devices() if devices is None else devices
    candidates = choose(asked, found)
    if not candidates:
        return Claim(CPU)
    folder = folder or Path(tempfile.gettempdir()) / f"backsight-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        # Somebody else's folder could hold links to files that we would empty.
        raise NoDevice(
            f"{folder}: belongs to another user; remove it, or point TMPDIR or BACKSIGHT_GPU_LOCKS elsewhere"
        )
    holders: list[str] = []
    for number in candidates:
        lock = _try_lock(folder / f"{found[number]}.lock")
        if isinstance(lock, str):
            holders.append(f"cuda:{number} by process {lock}")
        else:
            return Claim(f"cuda:{number}", lock)
    raise NoDevice(
        f"INFERENCE_DEVICE is {asked}, but every CUDA device that answers to it is taken on this machine "
        f"({', '.join(holders)}); one inference process uses one GPU"
    )


def _try_lock(path: Path) -> IO[str] | str:
    """The locked file, or who has it: process id and host, which for a container is its own id."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read(100).strip() or "unknown"
        file.close()
        return holder
    file.truncate(0)
    file.write(f"{os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file
