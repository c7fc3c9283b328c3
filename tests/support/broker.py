"""Topic prefixes, and small ways to write to and read from the broker of the test session."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.broker import BrokerError, LocalBroker
from runtime.kafka import AdminClient, KafkaError, Message, admin, deliver, log_spans, producer, reader
from runtime.kafka import TopicPartition as Place
from runtime.pipeline.drain import committed, group_view
from runtime.provision import remove_topics
from runtime.settings import KafkaSettings

# Full segments and indexes of a hundred topics would fill a small /tmp; tests write little.
SMALL = {"log.segment.bytes": "4194304", "log.index.size.max.bytes": "65536", "file.delete.delay.ms": "1000"}


def settings(bootstrap: str) -> KafkaSettings:
    """The settings of a client of that broker."""
    return KafkaSettings(bootstrap_servers=bootstrap)


@contextmanager
def running_broker() -> Iterator[LocalBroker]:
    """A broker on free ports in a folder of its own; both are gone afterwards.

    Where it cannot be started the tests are skipped with the reason, but in CI (CI=true) they fail.
    """
    folder = Path(tempfile.mkdtemp(prefix="backsight-kafka-"))
    broker = LocalBroker(folder, port=0, overrides=SMALL, bound=True)
    try:
        try:
            broker.start()
        except BrokerError as error:
            if os.environ.get("CI", "").lower() in {"1", "true"}:
                pytest.fail(f"no local Kafka in CI: {error}", pytrace=False)
            pytest.skip(f"no local Kafka here: {error}")
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)


def new_prefix() -> str:
    """A topic prefix that no other test has, such as `t3f2a1.`."""
    return f"t{secrets.token_hex(3)}."


def remove_prefixed(bootstrap: str, prefix: str) -> None:
    """Delete every topic whose name begins with the prefix; the broker of a session holds few partitions then."""
    cluster: AdminClient = admin(settings(bootstrap))
    remove_topics(cluster, [name for name in cluster.list_topics(timeout=10).topics if name.startswith(prefix)])


def write_all(bootstrap: str, topic: str, values: list[bytes], key: bytes | None = None, seconds: float = 30.0) -> None:
    """Write records one after the other, each acknowledged within `seconds` (else BrokerUnreachable)."""
    sender = producer(settings(bootstrap), "test-writer")
    for value in values:
        deliver(sender, topic, value=value, key=key, seconds=seconds)


def read_all(bootstrap: str, topic: str, seconds: float = 20.0) -> list[Message]:
    """Every record that is in the topic now, partition by partition in offset order."""
    source = reader(settings(bootstrap), "test-reader")
    try:
        # Asked again while a broker that was just started has no leader for the topic.
        missing = {number: end for number, (first, end) in log_spans(source, topic).items() if end > first}
        source.assign([Place(topic, number, 0) for number in missing])
        found: list[Message] = []
        deadline = time.monotonic() + seconds
        while missing:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}: partitions {sorted(missing)} were not read to their end in {seconds} s")
            message = source.poll(0.2)
            if message is None:
                continue
            number, error = message.partition(), message.error()
            if error is None:
                found.append(message)
            elif error.code() != KafkaError._PARTITION_EOF:
                continue  # the client goes on by itself, and the deadline stands
            # Either the last record or the end of the partition: compaction may have taken the last one.
            if error is not None or message.offset() + 1 >= missing.get(number, 0):
                missing.pop(number, None)
        return sorted(found, key=lambda each: (each.partition(), each.offset()))
    finally:
        source.close()


def committed_offsets(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """What the group has committed of the topic, by partition; without the partitions of which it never did."""
    view = group_view(settings(bootstrap), group)
    try:
        return committed(view, topic, sorted(log_spans(view, topic)))
    finally:
        view.close()
