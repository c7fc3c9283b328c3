"""Single frames by their offsets, while retention still has them."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from runtime.kafka import BrokerUnreachable, Message, TopicPartition, log_spans, reader
from runtime.settings import KafkaSettings
from schemas.frames import FrameHead, read_frame_headers
from schemas.messages import FrameRef
from schemas.problems import Undecodable

PATIENCE_SECONDS: Final = 15.0


class Frame(NamedTuple):
    """A frame as ingest sent it."""

    camera_id: str
    head: FrameHead
    jpeg: bytes


class FrameRecords:
    """Reads frames one by one, in the order of partition and offset, and no more of the log than that takes."""

    def __init__(self, kafka: KafkaSettings) -> None:
        # As little as possible is fetched beyond a frame. librdkafka would then wait a second before it looks whether
        # its queue has room again, and a new place in the log does not end that wait.
        self._client = reader(
            kafka,
            "backsight-report",
            queued_min_messages=1,
            fetch_queue_backoff_ms=1,
            fetch_message_max_bytes=64 * 1024,
            enable_partition_eof=False,
        )
        self._spans: dict[str, dict[int, tuple[int, int]]] = {}

    def read(self, refs: Iterable[FrameRef]) -> Iterator[tuple[FrameRef, Frame]]:
        """The frames that are still there. A record that is no frame, or a tick, is left out.

        Raises `BrokerUnreachable`, also where there is no such topic.
        """
        by_topic: defaultdict[str, set[FrameRef]] = defaultdict(set)
        for ref in refs:
            by_topic[ref.topic].add(ref)
        for topic, wanted in sorted(by_topic.items()):
            if topic not in self._spans:
                self._spans[topic] = log_spans(self._client, topic)
            for ref in sorted(wanted, key=lambda each: (each.partition, each.offset)):
                first, end = self._spans[topic].get(ref.partition, (0, 0))
                record = self._record(ref) if first <= ref.offset < end else None
                frame = None if record is None else _frame(record)
                if frame is not None:
                    yield ref, frame

    def close(self) -> None:
        """Gives the connection back."""
        self._client.close()

    def _record(self, ref: FrameRef) -> Message | None:
        self._client.assign([TopicPartition(ref.topic, ref.partition, ref.offset)])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            record = self._client.poll(0.2)
            if record is None or record.error() is not None:
                continue
            # Retention may have taken it since: then the oldest there is comes in its place.
            return record if record.offset() == ref.offset else None
        raise BrokerUnreachable(f"{ref.topic}: partition {ref.partition} sent nothing for {PATIENCE_SECONDS:g} s")


def _frame(record: Message) -> Frame | None:
    try:
        head = read_frame_headers(record.headers())
    except Undecodable:
        return None
    value = record.value()
    return Frame((record.key() or b"").decode(errors="replace"), head, value) if value else None
