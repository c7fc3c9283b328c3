"""Tells `revision-acks` which revisions this worker knows of the cameras that it judges.

Best effort, in the follower's thread and through a producer of its own: what goes wrong here is told again a second
later and never holds up the judging.
"""

import time
from typing import Final, NamedTuple

from runtime.kafka import KafkaError, KafkaException, Message, Producer, producer
from runtime.logs import get_logger
from runtime.repeated import Repeated
from runtime.revisions import RevisionHistory
from runtime.settings import KafkaSettings
from schemas.codec import encode, schema_header
from schemas.effective import RoiRevision
from schemas.messages import RevisionAck
from schemas.partitioning import partition_of
from schemas.topics import DAY, DETECTIONS, REVISION_ACKS

AGAIN_MS: Final = DAY
"""What was acknowledged as long ago is acknowledged again: the topic forgets after seven days."""
LOOK_SECONDS: Final = 5.0

log = get_logger(__name__)


class Told(NamedTuple):
    """What was last acknowledged of a camera, and when (ms UTC)."""

    effective_from: int
    revision: str
    at: int


class Acknowledgements:
    """What this worker has told. ``partitions``: those of `detections` that it judges; set by the app."""

    def __init__(self, kafka: KafkaSettings, prefix: str, worker: str) -> None:
        self._kafka = kafka
        self._topic = REVISION_ACKS.full_name(prefix)
        self._detections = DETECTIONS.full_name(prefix)
        self._worker = worker
        self._client: Producer | None = None
        self._count = 0
        self._told: dict[str, Told] = {}
        self._trouble = Repeated(log, "acknowledging_failed")
        self.partitions: frozenset[int] = frozenset()

    def tell(self, history: RevisionHistory, now: int) -> None:
        """Acknowledges what is known and was not told yet. ``now`` is milliseconds UTC."""
        try:
            self._tell(history, now)
        except (KafkaException, BufferError) as error:
            self._failed(type(error).__name__, str(error))
            self._client = None

    def _tell(self, history: RevisionHistory, now: int) -> None:
        if self._client is None:
            self._client = producer(self._kafka, f"{self._worker}-acks")
        self._client.poll(0)
        if not self._count:
            described = self._client.list_topics(self._detections, timeout=LOOK_SECONDS).topics[self._detections]
            self._count = len(described.partitions)
            if not self._count:
                return
        partitions = self.partitions
        judged = [each for each in history.cameras() if partition_of(each, self._count) in partitions]
        self._told = {camera_id: self._told[camera_id] for camera_id in judged if camera_id in self._told}
        for revision in due([history.newest(camera_id) for camera_id in judged], self._told, now):
            ack = RevisionAck(self._worker, revision.camera_id, revision.revision, revision.effective_from, now)
            self._client.produce(
                self._topic,
                key=f"{self._worker}/{revision.camera_id}",
                value=encode(ack),
                headers=[schema_header(RevisionAck)],
                partition=0,
                on_delivery=self._reported,
            )
            self._told[revision.camera_id] = Told(revision.effective_from, revision.revision, now)
            log.info(
                "revision_acknowledged",
                camera=revision.camera_id,
                revision=revision.revision,
                since=revision.effective_from,
            )

    def _reported(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._told.pop((message.key() or b"").decode().removeprefix(f"{self._worker}/"), None)
            self._failed(error.name(), error.str())

    def _failed(self, kind: str, reason: str) -> None:
        self._trouble.happened(round(time.monotonic() * 1000), kind=kind, reason=reason)


def due(newest: list[RoiRevision | None], told: dict[str, Told], now: int) -> list[RoiRevision]:
    """The revisions to acknowledge: those not told, told otherwise, or told too long ago."""
    return [
        revision
        for revision in newest
        if revision is not None
        and (
            (before := told.get(revision.camera_id)) is None
            or before[:2] != (revision.effective_from, revision.revision)
            or now - before.at >= AGAIN_MS
        )
    ]
