"""Waiting until everything that was written has been worked off, stage by stage."""

import time
from collections.abc import Callable
from typing import Final

from runtime.kafka import Consumer, KafkaException, TopicPartition, consumer, log_spans
from runtime.settings import KafkaSettings

IDLE_SECONDS: Final = 60.0
"""Without any progress for as long, something is broken and waiting on would hide it."""
LOOK_SECONDS: Final = 0.25


class Stalled(RuntimeError):
    """Nothing moved for `IDLE_SECONDS`; the text names what remains."""


def log_ends(client: Consumer, topic: str) -> dict[int, int]:
    """The log end of every partition that holds anything, at this moment."""
    return {number: high for number, (low, high) in log_spans(client, topic).items() if high > low}


def group_view(kafka: KafkaSettings, group: str) -> Consumer:
    """A client that asks what ``group`` has committed. It never subscribes, so it joins nothing.

    The admin client's way to ask crashed the process now and then (confluent-kafka 2.16.1).
    """
    return consumer(kafka, group, "backsight-drain", group_protocol="classic")


def committed(client: Consumer, topic: str, partitions: list[int]) -> dict[int, int]:
    """What the client's group has committed; without the partitions of which it never did, or nobody tells."""
    try:
        places = client.committed([TopicPartition(topic, number) for number in partitions], timeout=10)
    except KafkaException:
        return {}
    return {place.partition: place.offset for place in places if place.offset >= 0}


def await_group(
    kafka: KafkaSettings,
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
    client = group_view(kafka, group)
    try:
        ends = log_ends(client, topic)
        moved_at = time.monotonic()
        least = None
        while True:
            done = committed(client, topic, sorted(ends))
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
    finally:
        client.close()
