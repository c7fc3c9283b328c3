"""How far inference has come with a camera's frames: what a file played without loss waits for."""

import threading
import time
from collections.abc import Iterable
from typing import Final

from runtime.kafka import Consumer, KafkaException, TopicPartition, consumer
from runtime.settings import KafkaSettings

FRAMES_AHEAD: Final = 200
"""A file runs this many frames ahead of inference's committed offset: 200 frames of 200 kB are 40 MB of topic."""

REFRESH_SECONDS: Final = 0.2


class Headway:
    """Inference's committed offset per partition of ``frames``, asked for at most five times a second."""

    def __init__(self, kafka: KafkaSettings, prefix: str, topic: str) -> None:
        self._kafka = kafka
        self._group = f"{prefix}inference"
        self._topic = topic
        self._lock = threading.Lock()
        self._client: Consumer | None = None
        self._committed: dict[int, int] = {}
        self._asked = 0.0

    def committed(self, partition: int, partitions: Iterable[int]) -> int:
        """The offset that inference will read next in ``partition``; 0 while it has committed none."""
        with self._lock:
            if time.monotonic() - self._asked >= REFRESH_SECONDS:
                self._refresh({partition, *partitions})
                self._asked = time.monotonic()
            return self._committed.get(partition, 0)

    def _refresh(self, partitions: set[int]) -> None:
        if self._client is None:
            # Never subscribes: it only asks for what the group has committed.
            self._client = consumer(self._kafka, self._group, "backsight-ingest-headway", group_protocol="classic")
        asked = [TopicPartition(self._topic, partition) for partition in sorted(partitions)]
        try:
            for place in self._client.committed(asked, timeout=5):
                if place.offset >= 0:
                    self._committed[place.partition] = place.offset
        except KafkaException:
            pass  # the broker is away: what was known holds, and the file waits

    def close(self) -> None:
        """Lets go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
