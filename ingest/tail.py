"""What was published of a camera before: where its capture times go on after a restart."""

import time
from collections.abc import Collection, Mapping
from typing import Final

from runtime.kafka import Consumer, TopicPartition, reader
from runtime.settings import KafkaSettings
from schemas.frames import read_frame_headers
from schemas.partitioning import partition_of
from schemas.problems import Undecodable

LIVE_RECORDS: Final = 100
"""How far back a live camera is looked for. Older records are older than any two machines' clocks disagree."""

STEP_RECORDS: Final = 100
SECONDS: Final = 20.0


def last_captured(
    kafka: KafkaSettings, topic: str, cameras: Mapping[str, bool], partitions: int, seconds: float = SECONDS
) -> dict[str, int]:
    """The newest ``captured_at`` of each camera that the end of ``topic`` knows.

    ``cameras``: camera id, and whether it is looked for to the beginning of the topic (a file in `complete` mode, which
    goes on where it was) or only in the newest `LIVE_RECORDS`. What cannot be found in ``seconds`` is left out.
    """
    by_partition: dict[int, set[str]] = {}
    for camera_id in cameras:
        by_partition.setdefault(partition_of(camera_id, partitions), set()).add(camera_id)
    client = reader(kafka, "backsight-ingest-tail", queued_max_messages_kbytes=8192)
    found: dict[str, int] = {}
    deadline = time.monotonic() + seconds
    try:
        for partition, wanted in by_partition.items():
            _search(client, TopicPartition(topic, partition), wanted, cameras, found, deadline)
    finally:
        client.close()
    return found


def _search(
    client: Consumer,
    place: TopicPartition,
    wanted: Collection[str],
    thorough: Mapping[str, bool],
    found: dict[str, int],
    deadline: float,
) -> None:
    """Walks backwards from the partition's end in steps until every wanted camera is found."""
    low, end = client.get_watermark_offsets(place, timeout=10)
    high, looked = end, 0
    while high > low and time.monotonic() < deadline:
        missing = {name for name in wanted if name not in found}
        if looked >= LIVE_RECORDS:
            missing = {name for name in missing if thorough[name]}
        if not missing:
            return
        start = max(low, high - STEP_RECORDS)
        for key, captured_at in _read(client, place, start, high, deadline):
            if key in missing:
                found[key] = max(found.get(key, 0), captured_at)
        looked += high - start
        high = start


def _read(client: Consumer, place: TopicPartition, start: int, end: int, deadline: float) -> list[tuple[str, int]]:
    """Keys and capture times of the records from ``start`` up to ``end``."""
    client.assign([TopicPartition(place.topic, place.partition, start)])
    records: list[tuple[str, int]] = []
    while time.monotonic() < deadline:
        message = client.poll(0.2)
        if message is None:
            continue
        if message.error() is not None:
            if message.error().name() == "_PARTITION_EOF":
                break
            continue
        if message.offset() >= end:
            break
        try:
            head = read_frame_headers(message.headers())
            records.append((message.key().decode(), head.captured_at))
        except (Undecodable, UnicodeDecodeError, AttributeError):
            pass
        if message.offset() >= end - 1:
            break
    return records
