"""Reading a topic to its end, again and again."""

import time

import pytest

from runtime.kafka import BrokerUnreachable, deliver, producer
from runtime.topic_reader import TopicReader
from tests.support.broker import settings


def test_every_record_is_given_once_of_every_partition(bootstrap: str, topics: dict[str, str]) -> None:
    client = producer(settings(bootstrap), "test")
    reader = TopicReader(settings(bootstrap), topics["alerts"], "test-reader")
    try:
        assert list(reader.new()) == []
        for number in range(6):
            deliver(client, topics["alerts"], key=None, value=b"%d" % number, partition=number % 3)
        assert sorted(record.value() for record in reader.new()) == [b"%d" % number for number in range(6)]
        assert reader.position == 6
        assert list(reader.new()) == []
        deliver(client, topics["alerts"], key=None, value=b"6", partition=2)
        assert [record.value() for record in reader.new()] == [b"6"]
    finally:
        reader.close()


def test_reading_may_begin_at_an_instant(bootstrap: str, topics: dict[str, str]) -> None:
    client = producer(settings(bootstrap), "test")
    now = round(time.time() * 1000)
    for age in (3_000, 2_000, 1_000):
        deliver(client, topics["alerts"], key=None, value=b"%d" % age, partition=0, timestamp=now - age)
    deliver(client, topics["alerts"], key=None, value=b"old", partition=1, timestamp=now - 9_000)
    reader = TopicReader(settings(bootstrap), topics["alerts"], "test-reader", since=now - 2_000)
    try:
        assert [record.value() for record in reader.new()] == [b"2000", b"1000"]
        deliver(client, topics["alerts"], key=None, value=b"later", partition=1, timestamp=now)
        assert [record.value() for record in reader.new()] == [b"later"]
    finally:
        reader.close()


def test_a_topic_that_is_not_there_is_named(bootstrap: str, prefix: str) -> None:
    reader = TopicReader(settings(bootstrap), f"{prefix}marks", "test-reader")
    try:
        with pytest.raises(BrokerUnreachable, match=f"{prefix}marks"):
            list(reader.new())
    finally:
        reader.close()
