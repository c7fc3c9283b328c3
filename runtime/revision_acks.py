"""Which rules worker judges which camera by which revision: the topic `revision-acks`, and who should be on it."""

import os
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from runtime.kafka import BrokerUnreachable, KafkaException, admin
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from runtime.topic_reader import TopicReader
from schemas.codec import decode
from schemas.effective import RoiRevision
from schemas.messages import RevisionAck
from schemas.partitioning import partition_of
from schemas.problems import Undecodable
from schemas.topics import DETECTIONS, REVISION_ACKS

LOOK_SECONDS: Final = 0.5

log = get_logger(__name__)


def worker_name() -> str:
    """What this process is called among the rules workers, and its client id in their consumer group."""
    return f"backsight-rules-{socket.gethostname()}-{os.getpid()}"


class AckLog:
    """Follows the topic. Not for several threads at once."""

    def __init__(self, kafka: KafkaSettings, prefix: str = "") -> None:
        topic = REVISION_ACKS.full_name(prefix)
        self._reader = TopicReader(kafka, topic, "backsight-acks", partitions=(0,))
        self._seen: dict[tuple[str, str, int], RevisionAck] = {}

    def refresh(self) -> tuple[RevisionAck, ...]:
        """Every acknowledgement that the topic still holds, oldest first; the first of each worker and revision.

        Raises `BrokerUnreachable`.
        """
        for record in self._reader.new():
            try:
                ack = decode(RevisionAck, record.value(), record.headers())
            except Undecodable as error:
                log.error("ack_undecodable", offset=record.offset(), reason=error.reason, detail=error.detail)
                continue
            self._seen.setdefault((ack.worker, ack.camera_id, ack.effective_from), ack)
        return tuple(self._seen.values())

    def close(self) -> None:
        """Gives the connection back."""
        self._reader.close()


class Judging(NamedTuple):
    """Who judges what: ``workers`` maps a partition of `detections` to the worker that has it.

    Nobody has a partition while the group hands them out anew.
    """

    partitions: int
    workers: Mapping[int, str]

    def worker_of(self, camera_id: str) -> str | None:
        """The one worker that judges the camera, or None."""
        return self.workers.get(partition_of(camera_id, self.partitions))


def judging(kafka: KafkaSettings, prefix: str = "") -> Judging:
    """Asks the cluster. Raises `BrokerUnreachable`."""
    topic, group = DETECTIONS.full_name(prefix), f"{prefix}rules"
    client = admin(kafka)
    try:
        described = client.list_topics(topic, timeout=10).topics[topic]
        if described.error is not None:
            raise BrokerUnreachable(f"{topic}: {described.error.str()}; `backsight topics apply` makes the topics")
        members = client.describe_consumer_groups([group], request_timeout=10)[group].result().members
    except KafkaException as error:
        raise BrokerUnreachable(f"{group}: {error.args[0].str()}") from None
    workers = {
        place.partition: member.client_id
        for member in members
        for place in member.assignment.topic_partitions
        if place.topic == topic
    }
    return Judging(len(described.partitions), workers)


class Unacknowledged(NamedTuple):
    """A revision of which its worker has not said that it knows it. ``worker`` None: nobody judges the camera."""

    revision: RoiRevision
    worker: str | None


def unacknowledged(
    revisions: Iterable[RoiRevision], now_judging: Judging, acks: Iterable[RevisionAck]
) -> list[Unacknowledged]:
    """Those of the revisions that the camera's worker has not acknowledged, nor a later one of the camera.

    A worker reads the topic in order: one that knows a later revision knows this one too.
    """
    known: dict[tuple[str, str], int] = {}
    for ack in acks:
        place = (ack.worker, ack.camera_id)
        known[place] = max(known.get(place, 0), ack.effective_from)
    missing = []
    for revision in revisions:
        worker = now_judging.worker_of(revision.camera_id)
        if worker is None or known.get((worker, revision.camera_id), -1) < revision.effective_from:
            missing.append(Unacknowledged(revision, worker))
    return missing


def await_acks(
    kafka: KafkaSettings, prefix: str, revisions: Iterable[RoiRevision], seconds: float
) -> list[Unacknowledged]:
    """Waits until every revision is acknowledged, at most ``seconds``; answers what then is not.

    Raises `BrokerUnreachable`.
    """
    wanted = tuple(revisions)
    deadline = time.monotonic() + seconds
    acks = AckLog(kafka, prefix)
    try:
        while True:
            missing = unacknowledged(wanted, judging(kafka, prefix), acks.refresh())
            if not missing or time.monotonic() >= deadline:
                return missing
            time.sleep(LOOK_SECONDS)
    finally:
        acks.close()
