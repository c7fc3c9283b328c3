"""The topic `roi-revisions` as a history: which ROIs hold for a camera at an instant.

The whole topic is read, outside any group, because history must stay whole: a replay asks for last week's revision.
"""

import time
from bisect import bisect_right, insort
from collections.abc import Iterable
from typing import Final

from runtime.kafka import (
    OFFSET_BEGINNING,
    BrokerUnreachable,
    Consumer,
    KafkaError,
    Producer,
    TopicPartition,
    deliver,
    log_span,
    reader,
)
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from schemas.codec import decode, encode, schema_header
from schemas.effective import RoiRevision
from schemas.problems import Undecodable
from schemas.topics import ROI_REVISIONS

ENDS_SECONDS: Final = 10.0
"""A log end is asked for at most as long; a broker that takes longer is away."""

log = get_logger(__name__)


class RevisionHistory:
    """Revisions per camera in the order in which they take effect. Holds values, reads nothing."""

    def __init__(self, revisions: Iterable[RoiRevision] = ()) -> None:
        self._by_camera: dict[str, list[RoiRevision]] = {}
        for revision in revisions:
            self.add(revision)

    def add(self, revision: RoiRevision) -> None:
        """Adds one; a record of the same camera and instant takes the place of the one before."""
        known = self._by_camera.setdefault(revision.camera_id, [])
        known[:] = [each for each in known if each.effective_from != revision.effective_from]
        insort(known, revision, key=lambda each: each.effective_from)

    def at(self, camera_id: str, captured_at: int) -> RoiRevision | None:
        """The newest with ``effective_from <= captured_at``, or None."""
        known = self._by_camera.get(camera_id)
        if not known:
            return None
        place = bisect_right(known, captured_at, key=lambda each: each.effective_from)
        return known[place - 1] if place else None

    def newest(self, camera_id: str) -> RoiRevision | None:
        """The one that will hold last, even where it does not hold yet."""
        known = self._by_camera.get(camera_id)
        return known[-1] if known else None

    def of(self, camera_id: str) -> tuple[RoiRevision, ...]:
        """All of a camera's, oldest first."""
        return tuple(self._by_camera.get(camera_id, ()))

    def cameras(self) -> tuple[str, ...]:
        """Every camera that ever had one."""
        return tuple(sorted(self._by_camera))


class RevisionLog:
    """Follows the topic. `refresh` reads to the log's end of that moment and answers when that was.

    Not for several threads at once.
    """

    def __init__(self, kafka: KafkaSettings, prefix: str = "", client_id: str = "backsight-revisions") -> None:
        self._topic = ROI_REVISIONS.full_name(prefix)
        self._consumer: Consumer = reader(kafka, client_id)
        self._next = 0
        self._assigned = False
        self.history = RevisionHistory()
        self.refreshed_at = 0

    def refresh(self) -> int:
        """Reads every record up to the log's end; answers the wall time (ms UTC) at which the reading began.

        Raises `BrokerUnreachable` when the topic's end cannot be learned or reached.
        """
        began = round(time.time() * 1000)
        deadline = time.monotonic() + ENDS_SECONDS
        if not self._assigned:
            self._consumer.assign([TopicPartition(self._topic, 0, OFFSET_BEGINNING)])
            self._assigned = True
        _, end = log_span(self._consumer, TopicPartition(self._topic, 0), ENDS_SECONDS)
        while self._next < end:
            record = self._consumer.poll(0.2)
            if record is None:
                if time.monotonic() > deadline:
                    raise BrokerUnreachable(f"{self._topic}: stuck at offset {self._next} of {end}")
                continue
            problem = record.error()
            if problem is not None:
                # An end seen before the newest record came may still be in the queue: only one at `end` counts.
                # It does count where compaction has removed the last records.
                if problem.code() == KafkaError._PARTITION_EOF and (record.offset() or 0) >= end:
                    self._next = end
                continue
            self._next = record.offset() + 1
            try:
                self.history.add(decode(RoiRevision, record.value(), record.headers()))
            except Undecodable as error:
                log.error("revision_undecodable", offset=record.offset(), reason=error.reason, detail=error.detail)
        self.refreshed_at = began
        return began

    def at(self, camera_id: str, captured_at: int) -> RoiRevision | None:
        """See `RevisionHistory.at`; of what the last `refresh` saw."""
        return self.history.at(camera_id, captured_at)

    @property
    def position(self) -> int:
        """The offset up to which `history` has the topic."""
        return self._next

    def close(self) -> None:
        """Gives the connection back."""
        self._consumer.close()


def publish_revision(producer: Producer, prefix: str, revision: RoiRevision) -> None:
    """Writes one record and waits for its ack. No two records share a key, so compaction removes none."""
    deliver(
        producer,
        ROI_REVISIONS.full_name(prefix),
        key=f"{revision.camera_id}/{revision.effective_from}",
        value=encode(revision),
        headers=[schema_header(RoiRevision)],
        partition=0,
    )
