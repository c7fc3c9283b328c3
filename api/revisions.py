"""The ROIs in force as the API reads and replaces them: the topic `roi-revisions`."""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from runtime.kafka import BrokerUnreachable
from runtime.revisions import RevisionHistory, RevisionLog, publish_revisions
from runtime.roi_apply import Plan, plan_revisions
from runtime.settings import Settings
from schemas.documents.rois import RoiDefaults, Rois
from schemas.effective import RoiRevision

PATIENCE_SECONDS: Final = 5.0


class Changed(Exception):
    """The ROIs are not those that the caller saw. ``newest`` came last."""

    def __init__(self, newest: RoiRevision | None) -> None:
        self.newest = newest
        super().__init__("changed")


class Revisions:
    """``read`` answers the whole history, ``write`` writes records; both raise `BrokerUnreachable`.

    One request at a time, so that of two that saw the same ROIs only the first replaces them.
    """

    def __init__(
        self,
        read: Callable[[], RevisionHistory],
        write: Callable[[Sequence[RoiRevision]], None],
        defaults: RoiDefaults,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._read = read
        self._write = write
        self._defaults = defaults
        self._turn = threading.Lock()
        self.close = close

    def newest(self) -> tuple[RoiRevision, ...]:
        """Every camera's newest revision, also where it does not hold yet."""
        return self._answered(newest_of)

    def at(self, instant: int) -> tuple[RoiRevision, ...]:
        """What held for every camera at the instant (ms UTC)."""

        def held(history: RevisionHistory) -> tuple[RoiRevision, ...]:
            found = [history.at(camera_id, instant) for camera_id in history.cameras()]
            return tuple(each for each in found if each is not None)

        return self._answered(held)

    def replace(self, rois: Rois, seen: Callable[[str], bool]) -> tuple[Plan, tuple[RoiRevision, ...]]:
        """Publishes the cameras that the whole document changes; answers the plan and the newest revisions after it.

        ``seen`` tells whether a tag is the one the caller saw. Raises `Changed`, `BrokerUnreachable` (also when only
        some cameras were taken; the same request again then publishes the others) and `BadDocument`.
        """
        self._begin()
        try:
            history = self._read()
            before = newest_of(history)
            if not seen(tag_of(before)):
                raise Changed(max(before, key=lambda each: each.published_at, default=None))
            plan = plan_revisions(history, rois, self._defaults, round(time.time() * 1000), origin="api")
            self._write(plan.publish)
            after = {each.camera_id: each for each in (*before, *plan.publish)}
            return plan, tuple(after[camera_id] for camera_id in sorted(after))
        finally:
            self._turn.release()

    def _answered(self, ask: Callable[[RevisionHistory], tuple[RoiRevision, ...]]) -> tuple[RoiRevision, ...]:
        self._begin()
        try:
            return ask(self._read())
        finally:
            self._turn.release()

    def _begin(self) -> None:
        if not self._turn.acquire(timeout=PATIENCE_SECONDS):
            raise BrokerUnreachable("the requests before this one still wait for Kafka")


def newest_of(history: RevisionHistory) -> tuple[RoiRevision, ...]:
    """Every camera's newest revision."""
    found = [history.newest(camera_id) for camera_id in history.cameras()]
    return tuple(each for each in found if each is not None)


def tag_of(revisions: Sequence[RoiRevision]) -> str:
    """An entity tag: another one whenever any camera's newest revision is another one."""
    said = "\n".join(f"{each.camera_id}/{each.effective_from}/{each.revision}" for each in revisions)
    return f'"{hashlib.sha256(said.encode()).hexdigest()[:16]}"'


def kafka_revisions(settings: Settings) -> Revisions:
    """Those of the cluster; nothing is asked of it before the first request."""
    logs: list[RevisionLog] = []

    def read() -> RevisionHistory:
        if not logs:
            logs.append(
                RevisionLog(settings.kafka, settings.prefix, "backsight-api", patience_seconds=PATIENCE_SECONDS)
            )
        logs[0].refresh()
        return logs[0].history

    def write(revisions: Sequence[RoiRevision]) -> None:
        publish_revisions(settings.kafka, settings.prefix, revisions)

    def close() -> None:
        for log in logs:
            log.close()

    return Revisions(read, write, settings.roi_defaults, close)
