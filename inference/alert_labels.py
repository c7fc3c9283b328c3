"""Which labels can alert, by camera and time: `alert_classes` of the ROI revisions, read in a thread of its own."""

import threading
import time
from typing import Final

from runtime.kafka import BrokerUnreachable, KafkaException
from runtime.logs import get_logger
from runtime.repeated import Repeated
from runtime.revisions import RevisionHistory, RevisionLog
from runtime.settings import KafkaSettings

REFRESH_SECONDS: Final = 2.0
"""Well under the 10 s that a revision is published ahead of taking effect."""
FIRST_SECONDS: Final = 10.0

log = get_logger(__name__)


class AlertLabels:
    """Follows the revisions; a broker that is away leaves the labels as they were.

    ``always``: these labels, and no revision is read.
    """

    def __init__(self, kafka: KafkaSettings, prefix: str, always: tuple[str, ...] | None = None) -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._always = always
        self._history = RevisionHistory()
        self._stopped = threading.Event()
        self._looked = threading.Event()
        self._trouble = Repeated(log, "alert_labels_not_read")
        self._thread = threading.Thread(target=self._follow, name="alert-labels", daemon=True)

    def start(self) -> None:
        """Begins, and returns after the first look, or without it after seconds."""
        if self._always is not None:
            return
        self._thread.start()
        self._looked.wait(FIRST_SECONDS)

    def stop(self) -> None:
        """Ends; does not wait for it."""
        self._stopped.set()

    def at(self, camera_id: str, captured_at: int) -> tuple[str, ...]:
        """The labels that can alert there and then; none where no revision holds."""
        if self._always is not None:
            return self._always
        revision = self._history.at(camera_id, captured_at)
        return () if revision is None else revision.document.alert_classes

    def _follow(self) -> None:
        revisions = RevisionLog(self._kafka, self._prefix, "backsight-inference-revisions")
        seen = -1
        while not self._stopped.is_set():
            try:
                revisions.refresh()
            except (BrokerUnreachable, KafkaException) as error:
                self._trouble.happened(round(time.monotonic() * 1000), reason=str(error))
            if revisions.position != seen:
                # A copy: who asks must never see a history half changed.
                seen, history = revisions.position, revisions.history
                self._history = RevisionHistory(each for camera in history.cameras() for each in history.of(camera))
            self._looked.set()
            self._stopped.wait(REFRESH_SECONDS)
        revisions.close()
