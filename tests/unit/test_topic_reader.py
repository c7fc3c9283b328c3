"""Reading a topic to its end while others write to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import pytest

from runtime import topic_reader
from runtime.kafka import KafkaError, TopicPartition
from runtime.settings import KafkaSettings
from runtime.topic_reader import TopicReader


class End:
    """An end of a partition, as librdkafka tells it once whenever it comes to one."""

    def code(self) -> int:
        return int(KafkaError._PARTITION_EOF)


class Record:
    """A record, or an end."""

    def __init__(self, partition: int, offset: int, *, end: bool = False) -> None:
        self._partition, self._offset, self._end = partition, offset, end

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def error(self) -> End | None:
        return End() if self._end else None


class Broker:
    """Two partitions, their log ends, and what comes next."""

    def __init__(self) -> None:
        self.ends = {0: 1, 1: 1}
        self.coming: deque[Record] = deque()

    def assign(self, _places: Iterable[TopicPartition]) -> None:
        pass

    def poll(self, _seconds: float) -> Record | None:
        return self.coming.popleft() if self.coming else None


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr(topic_reader, "reader", lambda *_: made)
    monkeypatch.setattr(topic_reader, "log_span", lambda _client, place, _seconds: (0, made.ends[place.partition]))
    return made


def test_what_was_written_while_it_was_read_is_given_once_and_not_waited_for_again(broker: Broker) -> None:
    """Record 1 of partition 0 comes after its end was asked for, and its own end while partition 1 is waited for."""
    topic = TopicReader(KafkaSettings(), "deliveries", "test", partitions=(0, 1), patience_seconds=0.1)
    broker.coming.extend([Record(0, 0), Record(0, 1), Record(0, 2, end=True), Record(1, 0)])
    assert [(each.partition(), each.offset()) for each in topic.new()] == [(0, 0), (0, 1), (1, 0)]
    broker.ends = {0: 2, 1: 1}
    assert list(topic.new()) == [], "there is nothing more; it had been waited for until somebody wrote again"
    assert topic.position == 3


def test_an_end_behind_which_compaction_left_nothing_is_the_end(broker: Broker) -> None:
    topic = TopicReader(KafkaSettings(), "marks", "test", partitions=(0, 1), patience_seconds=0.1)
    broker.ends = {0: 3, 1: 2}
    broker.coming.extend([Record(0, 0), Record(0, 4, end=True), Record(1, 1)])
    assert [(each.partition(), each.offset()) for each in topic.new()] == [(0, 0), (1, 1)]
    broker.ends = {0: 4, 1: 2}
    assert list(topic.new()) == []


def test_an_end_that_was_seen_before_the_newest_record_is_none(broker: Broker) -> None:
    topic = TopicReader(KafkaSettings(), "marks", "test", partitions=(0, 1), patience_seconds=0.1)
    broker.coming.extend([Record(0, 0, end=True), Record(1, 0), Record(0, 0)])
    assert [(each.partition(), each.offset()) for each in topic.new()] == [(1, 0), (0, 0)]
