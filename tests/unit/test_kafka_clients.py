"""What our Kafka clients say when a cluster forbids everything, and how long they ask one that is slow."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import confluent_kafka
import pytest

from runtime import kafka
from runtime.kafka import (
    BrokerUnreachable,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
    deliver,
    log_span,
    producer,
)
from runtime.revisions import publish_revisions
from runtime.settings import KafkaSettings
from schemas.effective import CameraRules, RoiRevision

NOWHERE = KafkaSettings(bootstrap_servers="127.0.0.1:1")
FORBIDDEN = 31
"""CLUSTER_AUTHORIZATION_FAILED: an idempotent producer without it gets no producer id, and is broken for good."""
RECORD_FAULTS = 20
"""Which of the two comes first, the fault or the record's report, is librdkafka's to choose."""


class Forbidden(Producer):
    """A producer that learns, as soon as it has a record to send, that it may write nothing."""

    def produce(self, *args: Any, **told: Any) -> None:
        super().produce(*args, **told)
        # librdkafka's own way to test this. The handle is the first thing after Python's own two words.
        handle = ctypes.c_void_p.from_address(id(self) + object.__basicsize__)
        _librdkafka().rd_kafka_test_fatal_error(handle, FORBIDDEN, b"you may not")


def _librdkafka() -> ctypes.CDLL:
    beside = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    found = sorted(beside.glob("librdkafka*"))
    if not found:
        pytest.skip("this build of confluent-kafka brings no librdkafka of its own")
    return ctypes.CDLL(str(found[0]))


def _deliver() -> None:
    deliver(producer(NOWHERE, "test"), "alerts", value=b"x", key="a", seconds=20)


def _publish() -> None:
    publish_revisions(NOWHERE, "", [RoiRevision("gate", "a" * 16, 0, 0, "file", CameraRules("gate"))])


@pytest.mark.parametrize("write", [_deliver, _publish])
def test_a_client_that_may_write_nothing_says_why(monkeypatch: pytest.MonkeyPatch, write: Callable[[], None]) -> None:
    monkeypatch.setattr(kafka, "Producer", Forbidden)
    for _ in range(RECORD_FAULTS):
        with pytest.raises(BrokerUnreachable, match="you may not"):
            write()


class Slow:
    """A consumer whose broker answers the question for a log's ends after so many seconds; and the time it has."""

    def __init__(self, answers_after: float) -> None:
        self.now = 0.0
        self._answers_after = answers_after

    def get_watermark_offsets(self, _place: TopicPartition, timeout: float) -> tuple[int, int]:
        self.now += timeout
        if self.now < self._answers_after:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return 3, 7

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_broker_under_load_is_asked_again_where_a_log_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(answers_after=25.0)
    monkeypatch.setattr(kafka, "time", slow)
    assert log_span(cast(Consumer, slow), TopicPartition("alerts", 2)) == (3, 7)


def test_a_broker_that_never_says_where_a_log_ends_is_given_up_with_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    never = Slow(answers_after=1e9)
    monkeypatch.setattr(kafka, "time", never)
    with pytest.raises(
        BrokerUnreachable, match=r"alerts: the log end of partition 2 was not told within 30 s \(.*load"
    ):
        log_span(cast(Consumer, never), TopicPartition("alerts", 2))
    assert 30.0 <= never.now <= 36.0
