"""The cameras that `cameras.yaml` names, followed while the process runs."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from runtime.configs import ResolvedCamera, load_cameras
from runtime.logs import get_logger
from runtime.metrics import CONFIG_RELOAD_OK, RELOADS
from schemas.problems import BadDocument

LOOK_SECONDS: Final = 2.0

log = get_logger(__name__)


class Roster:
    """The enabled cameras, by id. The first reading raises `BadDocument`; a later one that does not check changes
    nothing and is said once."""

    def __init__(self, configs: Path, environ: Mapping[str, str]) -> None:
        self._configs = configs
        self._environ = environ
        self._file = configs / "cameras.yaml"
        self._seen = self._stamp()
        self._looked = time.monotonic()
        self.cameras = self._load()
        CONFIG_RELOAD_OK.labels(self._file.name).set(1)

    def look(self) -> bool:
        """Reads the file again if it is time and it has changed; answers whether the cameras are others now."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            cameras = self._load()
        except BadDocument as bad:
            log.error("cameras_not_changed", problems=[str(problem) for problem in bad.problems])
            self._count(refused=True)
            return False
        self._count(refused=False)
        before, self.cameras = self.cameras, cameras
        log.info("cameras_read", cameras=len(cameras))
        return before != cameras

    def _count(self, *, refused: bool) -> None:
        RELOADS.labels(self._file.name, "refused" if refused else "taken").inc()
        CONFIG_RELOAD_OK.labels(self._file.name).set(not refused)

    def _load(self) -> dict[str, ResolvedCamera]:
        return {each.camera.id: each for each in load_cameras(self._configs, self._environ)}

    def _stamp(self) -> tuple[int, int, int] | None:
        # A file that is replaced (as editors and ConfigMaps do) has another inode, even within one tick of mtime.
        try:
            found = self._file.stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino)
