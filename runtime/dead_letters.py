"""What could not be read, judged or delivered is kept with its reason: nothing is lost, nothing blocks."""

from typing import Any, Final

from runtime.kafka import Message, Producer, deliver
from runtime.metrics import DEAD_LETTERS as DEAD_LETTERS_TOTAL
from runtime.redact import redact
from schemas.topics import DEAD_LETTERS, MAX_MESSAGE_BYTES

Headers = list[tuple[str, bytes]]

LONGEST: Final = MAX_MESSAGE_BYTES - 16 * 1024
"""Bytes of a value that fit beside our headers and the record's own."""


def dead_letter(
    stage: str,
    place: tuple[str, int, int],
    timestamp: int,
    value: bytes | None,
    headers: Headers,
    reason: str,
    detail: str = "",
    attempts: int = 1,
) -> tuple[bytes | None, Headers]:
    """The value and headers of a dead letter.

    ``place`` is (topic, partition, offset) of the record. ``reason`` is from a short list; ``detail`` is for a person,
    at most 500 letters are kept. The record's own headers follow as `original.NAME`. A value that would not fit with
    ours beside it is cut, and a header says so.
    """
    topic, partition, offset = place
    facts: dict[str, Any] = {
        "stage": stage,
        "origin_topic": topic,
        "origin_partition": partition,
        "origin_offset": offset,
        "origin_timestamp": timestamp,
        "reason": reason,
        "detail": redact(detail)[:500],
        "attempts": attempts,
    }
    if value is not None and len(value) > LONGEST:
        facts["cut_from_bytes"] = len(value)
        value = value[:LONGEST]
    ours = [(name, str(fact).encode()) for name, fact in facts.items()]
    return value, ours + [(f"original.{name}", content) for name, content in headers]


class DeadLetters:
    """Puts records of one stage on `dead-letters`."""

    def __init__(self, producer: Producer, prefix: str, stage: str) -> None:
        self._producer = producer
        self._topic = DEAD_LETTERS.full_name(prefix)
        self._stage = stage

    def send(self, record: Message, reason: str, detail: str = "", attempts: int = 1) -> None:
        """Waits for the broker's ack, so that the caller may commit past ``record`` afterwards; see `dead_letter`."""
        value, headers = dead_letter(
            self._stage,
            (record.topic(), record.partition(), record.offset()),
            record.timestamp()[1],
            record.value(),
            record.headers() or [],
            reason,
            detail,
            attempts,
        )
        deliver(self._producer, self._topic, value=value, key=record.key(), headers=headers)
        DEAD_LETTERS_TOTAL.labels(self._stage, reason).inc()
