"""Looks at every camera once a second, so that one that hangs in a read still has a clock."""

import threading
import time
from collections.abc import Callable, Sequence

from ingest.camera import CameraRun
from runtime.logs import get_logger

log = get_logger(__name__)


class Ticker:
    """Calls every camera's `tick` on the second; ``cameras`` answers those that run now."""

    def __init__(self, cameras: Callable[[], Sequence[CameraRun]]) -> None:
        self._cameras = cameras
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticks", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; no tick is sent afterwards."""
        self._stopping.set()
        self._thread.join(5)

    def _run(self) -> None:
        due = time.monotonic() + 1
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            for camera in self._cameras():
                try:
                    camera.tick()
                except Exception as error:  # one camera's trouble must not stop the others' clocks
                    log.error("tick_failed", camera=camera.camera.id, reason=f"{type(error).__name__}: {error}")
            due = max(due + 1, time.monotonic())
