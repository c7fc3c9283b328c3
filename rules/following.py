"""The ROI revisions, read in a thread of their own and looked at by the judge."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final

from runtime.kafka import BrokerUnreachable
from runtime.logs import get_logger
from runtime.revisions import RevisionHistory, RevisionLog
from runtime.settings import KafkaSettings
from schemas.effective import RoiRevision

REFRESH_SECONDS: Final = 1.0
"""Well under the 5 s of the rule, so that an event of now is never held up."""

LEEWAY_MS: Final = 5_000
"""An event is judged only after a refresh at wall time `captured_at` less this. A revision is published at least 10 s
before it takes effect, so that refresh has seen every revision that the event may be judged by."""

AHEAD_LOG_SECONDS: Final = 60.0

log = get_logger(__name__)


class RevisionFollower:
    """Keeps the history fresh. `at` and `covers` answer from what the last refresh saw.

    ``seen`` is told of the history after every refresh, in the follower's thread, with the refresh's wall time.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        prefix: str,
        failed: Callable[[BaseException], None],
        seen: Callable[[RevisionHistory, int], None] = lambda _history, _now: None,
    ) -> None:
        self._kafka = kafka
        self._failed = failed
        self._seen = seen
        self._prefix = prefix
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="revisions", daemon=True)
        self._history = RevisionHistory()
        self._said_at = 0.0
        self.refreshed_at = 0
        self.trouble: str | None = None
        self.holding_until = 0
        """Wall time (ms UTC) until which an event dated ahead of the clock holds the stream; 0 while none does."""

    def start(self) -> None:
        """Begins reading."""
        self._thread.start()

    def stop(self) -> None:
        """Ends reading; does not wait for it."""
        self._stopped.set()

    def at(self, camera_id: str, captured_at: int) -> RoiRevision | None:
        """The revision by which an event of the camera at ``captured_at`` is judged."""
        return self._history.at(camera_id, captured_at)

    def covers(self, captured_at: int) -> bool:
        """Whether an event of that time may be judged now."""
        return self.refreshed_at > 0 and self.refreshed_at >= captured_at - LEEWAY_MS

    async def until_covered(self, captured_at: int, go_on: Callable[[], bool]) -> bool:
        """Waits until `covers`, or until ``go_on`` says no; answers which."""
        while go_on():
            if self.covers(captured_at):
                self.holding_until = 0
                return True
            ahead_ms = captured_at - LEEWAY_MS - round(time.time() * 1000)
            if ahead_ms > 0:
                self.holding_until = captured_at - LEEWAY_MS
                if time.monotonic() - self._said_at > AHEAD_LOG_SECONDS:
                    self._said_at = time.monotonic()
                    log.warning("event_ahead_of_the_clock", captured_at=captured_at, waits_seconds=ahead_ms // 1000)
            await asyncio.sleep(0.02)
        self.holding_until = 0
        return False

    def _follow(self) -> None:
        try:
            self._refresh_until_stopped()
        except Exception as error:
            # A thread that dies in silence would hold every event for ever.
            self._failed(error)

    def _refresh_until_stopped(self) -> None:
        revisions = RevisionLog(self._kafka, self._prefix, "backsight-rules-revisions")
        position = -1
        while not self._stopped.is_set():
            try:
                began = revisions.refresh()
            except BrokerUnreachable as error:
                if self.trouble is None:
                    log.warning("revisions_unreachable", reason=str(error))
                self.trouble = str(error)
            else:
                if revisions.position != position:
                    # A copy: the judge must never see a history half changed.
                    position, history = revisions.position, revisions.history
                    self._history = RevisionHistory(each for camera in history.cameras() for each in history.of(camera))
                self.trouble = None
                self.refreshed_at = began
                self._seen(self._history, began)
            self._stopped.wait(REFRESH_SECONDS)
        revisions.close()
