"""Waiting until everything that was written has been worked off, stage by stage."""

import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import ConsumerGroupTopicPartitions

from runtime.kafka import AdminClient, KafkaException, log_spans, reader
from runtime.settings import KafkaSettings

IDLE_SECONDS: Final = 60.0
"""Without any progress for as long, something is broken and waiting on would hide it."""
LOOK_SECONDS: Final = 0.25


class Stalled(RuntimeError):
    """Nothing moved for `IDLE_SECONDS`; the text names what remains."""


def log_ends(kafka: KafkaSettings, topic: str) -> dict[int, int]:
    """The log end of every partition that holds anything, at this moment."""
    client = reader(kafka, "backsight-drain")
    try:
        return {number: high for number, (low, high) in log_spans(client, topic).items() if high > low}
    finally:
        client.close()


def committed(admin: AdminClient, group: str, topic: str) -> dict[int, int]:
    """The group's committed offsets of the topic; empty for a group that never committed."""
    try:
        answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(10)
    except KafkaException:
        return {}
    return {each.partition: each.offset for each in answer.topic_partitions if each.topic == topic and each.offset >= 0}


def await_group(
    kafka: KafkaSettings,
    admin: AdminClient,
    topic: str,
    group: str,
    *,
    told_to_stop: Callable[[float], bool],
    progress: Callable[[int], None] = lambda _left: None,
    idle_seconds: float = IDLE_SECONDS,
) -> bool:
    """Freezes the topic's ends and waits until ``group`` has committed them.

    ``told_to_stop(seconds)`` waits and answers whether to give up; then the answer here is False. ``progress`` hears
    how many records are left. Raises `Stalled` after ``idle_seconds`` without progress.
    """
    ends = log_ends(kafka, topic)
    moved_at = time.monotonic()
    least = None
    while True:
        done = committed(admin, group, topic)
        left = {number: end - done.get(number, 0) for number, end in ends.items() if done.get(number, 0) < end}
        total = sum(left.values())
        progress(total)
        if not left:
            return True
        if least is None or total < least:
            least, moved_at = total, time.monotonic()
        elif time.monotonic() - moved_at > idle_seconds:
            where = ", ".join(f"{topic}[{number}] {count}" for number, count in sorted(left.items()))
            raise Stalled(f"{group} made no progress for {idle_seconds:g} s; records left: {where}")
        if told_to_stop(LOOK_SECONDS):
            return False
