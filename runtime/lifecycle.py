"""How a process starts, is told to stop, and says how it ended."""

import ctypes
import os
import signal
import sys
import threading
from types import FrameType
from typing import Final

EXIT_OK: Final = 0
EXIT_FAULT: Final = 1
"""Something broke, or a port is taken: a restart may mend it."""
EXIT_CONFIG: Final = 2
"""A document or setting does not check; a restart mends nothing."""
EXIT_BROKER: Final = 3
"""Kafka cannot be reached, or a topic is missing."""
EXIT_DEVICE: Final = 4
"""The asked-for GPU is not there, taken, or in a state only a new process leaves."""


ORPHAN_SECONDS: Final = 12.0
"""What a stage gets to end by itself when its supervisor is gone."""


class Stop:
    """Set once, when the process is to end; every loop looks at it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """From any thread, any number of times."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether the process is to end."""
        return self._event.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until set, at most ``seconds``; answers whether it is set."""
        return self._event.wait(seconds)


SUPERVISOR: Final = "BACKSIGHT_SUPERVISOR"
"""Environment variable with the pid of the process that supervises us."""


def die_with_parent(supervisor: int) -> None:
    """Asks Linux for a SIGTERM when the process ``supervisor`` is gone, so that nothing outlives a killed `up`.

    Where it is gone already, this process ends. Elsewhere than on Linux it does nothing.
    """
    if sys.platform != "linux":
        return
    pr_set_pdeathsig = 1  # prctl(2)
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != supervisor:
        sys.exit(EXIT_FAULT)


def stop_on_signals() -> Stop:
    """A `Stop` that SIGTERM and SIGINT set. A second signal ends the process at once, for a person who insists."""
    stop = Stop()

    def told(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()
        supervisor = os.environ.get(SUPERVISOR)
        if supervisor and os.getppid() != int(supervisor):
            # A killed `up` takes its broker along: there may be nobody left to leave a group of, or to flush to.
            last = threading.Timer(ORPHAN_SECONDS, os._exit, (EXIT_FAULT,))
            last.daemon = True
            last.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    return stop
