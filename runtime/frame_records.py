"""Single frames by their offsets, while retention still has them."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from runtime.kafka import BrokerUnreachable, KafkaException, Message, TopicPartition, log_spans, reader
from runtime.settings import KafkaSettings
from schemas.frames import FrameHead, read_frame_headers
from schemas.messages import FrameRef
from schemas.problems import Undecodable

PATIENCE_SECONDS: Final = 15.0
MARGIN_MS: Final = 2000
"""By which a frame may be sent later than another that was captured at the same time."""


class Frame(NamedTuple):
    """A frame as ingest sent it."""

    camera_id: str
    head: FrameHead
    jpeg: bytes


class FrameRecords:
    """Reads frames one by one, in the order of partition and offset, and no more of the log than that takes."""

    def __init__(self, kafka: KafkaSettings, client_id: str) -> None:
        # As little as possible is fetched beyond a frame. librdkafka would then wait a second before it looks whether
        # its queue has room again, and a new place in the log does not end that wait.
        self._client = reader(
            kafka,
            client_id,
            queued_min_messages=1,
            fetch_queue_backoff_ms=1,
            fetch_message_max_bytes=64 * 1024,
            enable_partition_eof=False,
        )

    def read(self, refs: Iterable[FrameRef]) -> Iterator[tuple[FrameRef, Frame]]:
        """The frames that are still there. A record that is no frame, or a tick, is left out.

        Raises `BrokerUnreachable`, also where there is no such topic.
        """
        by_topic: defaultdict[str, set[FrameRef]] = defaultdict(set)
        for ref in refs:
            by_topic[ref.topic].add(ref)
        for topic, wanted in sorted(by_topic.items()):
            spans = log_spans(self._client, topic)  # asked anew: the log goes on while we are here
            for ref in sorted(wanted, key=lambda each: (each.partition, each.offset)):
                first, end = spans.get(ref.partition, (0, 0))
                record = self._record(ref) if first <= ref.offset < end else None
                frame = None if record is None else _frame(record)
                if frame is not None:
                    yield ref, frame

    def around(self, ref: FrameRef, before_ms: int, after_ms: int) -> Iterator[Frame]:
        """The frames of the same camera, captured from so long before that one to so long after, while they are there.

        Nothing where that frame itself is gone. Where to look is told by when frames were sent, so of a file that was
        read slower than it plays the beginning is missed. Raises `BrokerUnreachable`.
        """
        span = log_spans(self._client, ref.topic).get(ref.partition, (0, 0))
        record = self._record(ref) if span[0] <= ref.offset < span[1] else None
        middle = None if record is None else _frame(record)
        if record is None or middle is None:
            return
        sent, captured = record.timestamp()[1], middle.head.captured_at
        place = self._place(ref, sent - before_ms - MARGIN_MS)
        self._client.assign([TopicPartition(ref.topic, ref.partition, max(span[0], min(place, ref.offset)))])
        heard = time.monotonic()
        while True:
            record = self._client.poll(0.2)
            if record is None or record.error() is not None:
                if time.monotonic() - heard > PATIENCE_SECONDS:
                    raise BrokerUnreachable(f"{ref.topic}: partition {ref.partition} sent nothing")
                continue
            heard = time.monotonic()
            frame = _frame(record)
            if frame is not None and frame.camera_id == middle.camera_id:
                by = frame.head.captured_at - captured
                if by > after_ms:
                    return
                if by >= -before_ms:
                    yield frame
            if record.timestamp()[1] > sent + after_ms + MARGIN_MS or record.offset() + 1 >= span[1]:
                return

    def _place(self, ref: FrameRef, sent: int) -> int:
        """The offset of the first record that was sent then or later."""
        try:
            found = self._client.offsets_for_times([TopicPartition(ref.topic, ref.partition, max(0, sent))], timeout=10)
        except KafkaException as error:
            raise BrokerUnreachable(f"{ref.topic}: {error.args[0].str()}") from None
        return int(found[0].offset) if found[0].offset >= 0 else ref.offset

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
