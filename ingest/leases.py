"""Which cameras are ours: several ingest processes share them through a consumer group.

The topic ``ingest-leases`` holds nothing. A camera belongs to the partition that its id hashes to, and whoever is
assigned the partition runs the camera. The coordinator sees to it that no partition has two owners, and gives those of
a dead process to the others.
"""

from collections.abc import Callable
from typing import Final

from ingest.trouble import Trouble
from runtime.kafka import Consumer, TopicPartition, consumer
from runtime.logs import get_logger
from runtime.metrics import REBALANCES
from runtime.settings import KafkaSettings
from schemas.partitioning import partition_of
from schemas.topics import INGEST_LEASES

SESSION_TIMEOUT_MS: Final = 6_000
"""A process that is silent for so long is dead and its cameras move: the least that brokers allow by default. The same
time passes after the broker itself was restarted, since the group waits for members it remembers. The group uses the
classic protocol because KIP-848 lets only the cluster set this time, to 45 s by default."""

log = get_logger(__name__)


class Leases:
    """This process's part of the cameras. Callbacks run within `poll`.

    ``taken_away`` is called with the partitions that another process is about to get, and must not return before their
    cameras have stopped.
    """

    def __init__(
        self, kafka: KafkaSettings, prefix: str, partitions: int, taken_away: Callable[[set[int]], None]
    ) -> None:
        self._partitions = partitions
        self._topic = INGEST_LEASES.full_name(prefix)
        self._taken_away = taken_away
        self._trouble = Trouble(log)
        self.held: set[int] = set()
        self.settled = False
        """Whether the group has answered at least once."""
        self._client: Consumer = consumer(
            kafka,
            f"{prefix}ingest",
            "backsight-ingest",
            group_protocol="classic",
            partition_assignment_strategy="cooperative-sticky",
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=SESSION_TIMEOUT_MS // 4,
            # Nothing is fetched, so an empty answer may take its time.
            fetch_wait_max_ms=5000,
        )
        self._client.subscribe([self._topic], on_assign=self._given, on_revoke=self._revoked, on_lost=self._revoked)

    def holds(self, camera_id: str) -> bool:
        """Whether the camera is ours now."""
        return partition_of(camera_id, self._partitions) in self.held

    def poll(self, seconds: float) -> None:
        """Keeps the lease; to be called at least every few seconds."""
        message = self._client.poll(seconds)
        if message is not None and (error := message.error()) is not None:
            self._trouble.report("leases_trouble", error.name(), topic=self._topic, reason=error.str())

    def close(self) -> None:
        """Gives everything back at once, so that others need not wait for the session's end."""
        self._client.close()

    def _given(self, client: Consumer, places: list[TopicPartition]) -> None:
        client.incremental_assign(places)
        self.held |= {place.partition for place in places}
        self.settled = True
        REBALANCES.labels("ingest").inc()
        log.info("leases_given", partitions=len(places), held=len(self.held))

    def _revoked(self, client: Consumer, places: list[TopicPartition]) -> None:
        gone = {place.partition for place in places}
        self.held -= gone
        self._taken_away(gone)
        client.incremental_unassign(places)
        log.info("leases_taken", partitions=len(places), held=len(self.held))
