"""The topic `roi-revisions` as a history: which ROIs hold for a camera at an instant.

The whole topic is read, outside any group, because history must stay whole: a replay asks for last week's revision.
"""

import time
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from typing import Any, Final

from runtime.kafka import (
    BrokerUnreachable,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    await_acks,
    deliver,
    producer,
)
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from runtime.topic_reader import PATIENCE_SECONDS, TopicReader
from schemas.codec import decode, encode, schema_header
from schemas.effective import RoiRevision
from schemas.problems import BadDocument, Problem, Undecodable
from schemas.topics import MAX_MESSAGE_BYTES, ROI_REVISIONS

PUBLISH_SECONDS: Final = 4.0
"""A record that the broker has not taken by then is given up. A change takes effect 10 s after it was planned, and an
event is judged after a refresh at most 5 s before it: a record that comes more than 5 s late could hold for events that
were judged without it."""

MOST_BYTES: Final = MAX_MESSAGE_BYTES - 4096
"""Of a record's value; the rest is for key and headers."""

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

    def __init__(
        self,
        kafka: KafkaSettings,
        prefix: str = "",
        client_id: str = "backsight-revisions",
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        topic = ROI_REVISIONS.full_name(prefix)
        self._reader = TopicReader(kafka, topic, client_id, partitions=(0,), patience_seconds=patience_seconds)
        self.history = RevisionHistory()
        self.refreshed_at = 0

    def refresh(self) -> int:
        """Reads every record up to the log's end; answers the wall time (ms UTC) at which the reading began.

        Raises `BrokerUnreachable` when the topic's end cannot be learned or reached.
        """
        began = round(time.time() * 1000)
        for record in self._reader.new():
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
        return self._reader.position

    def close(self) -> None:
        """Gives the connection back."""
        self._reader.close()


def publish_revision(producer: Producer, prefix: str, revision: RoiRevision) -> None:
    """Writes one record and waits for its ack. No two records share a key, so compaction removes none."""
    deliver(producer, ROI_REVISIONS.full_name(prefix), **_record(revision))


def publish_revisions(kafka: KafkaSettings, prefix: str, revisions: Sequence[RoiRevision]) -> None:
    """Writes what `plan_revisions` has just planned, all at once, and waits for the acks.

    Raises `BrokerUnreachable` naming the cameras whose record was not taken in time and is given up, and `BadDocument`,
    with nothing written, where a camera's document is larger than a message may be.
    """
    topic = ROI_REVISIONS.full_name(prefix)
    records = [_record(revision) for revision in revisions]
    too_large = [
        Problem(revision.camera_id, f"its document is larger than {MOST_BYTES} bytes")
        for revision, record in zip(revisions, records, strict=True)
        if len(record["value"]) > MOST_BYTES
    ]
    if too_large:
        raise BadDocument(too_large)
    left = {revision.camera_id: "no answer" for revision in revisions}
    client = producer(kafka, "backsight-config", message_timeout_ms=round(PUBLISH_SECONDS * 1000))

    def reported(error: KafkaError | None, message: Message) -> None:
        camera_id = (message.key() or b"").decode().rpartition("/")[0]
        if error is None:
            del left[camera_id]
        else:
            left[camera_id] = error.str()

    try:
        for record in records:
            client.produce(topic, **record, on_delivery=reported)
        await_acks(client, 2 * PUBLISH_SECONDS, lambda: not len(client))
    except KafkaException as error:  # this client writes nothing any more: it may not
        raise BrokerUnreachable(f"{topic}: {error.args[0].str()}") from None
    if left:
        said = ", ".join(f"{camera_id} ({reason})" for camera_id, reason in sorted(left.items()))
        raise BrokerUnreachable(f"{topic}: the broker did not take the revision of {said}")


def _record(revision: RoiRevision) -> dict[str, Any]:
    return {
        "key": f"{revision.camera_id}/{revision.effective_from}",
        "value": encode(revision),
        "headers": [schema_header(RoiRevision)],
        "partition": 0,
    }
