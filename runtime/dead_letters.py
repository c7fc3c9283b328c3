"""What could not be read, judged or delivered is kept with its reason: nothing is lost, nothing blocks."""

from typing import Any

from runtime.kafka import Message, Producer, deliver
from runtime.metrics import DEAD_LETTERS as DEAD_LETTERS_TOTAL
from runtime.redact import redact
from schemas.topics import DEAD_LETTERS, MAX_MESSAGE_BYTES

Headers = list[tuple[str, bytes]]


def dead_letter_headers(
    stage: str, topic: str, partition: int, offset: int, timestamp: int, reason: str, detail: str, attempts: int
) -> Headers:
    """A dead letter's headers. ``reason`` is from a short list; ``detail`` is for a person, at most 500 letters."""
    values: dict[str, Any] = {
        "stage": stage,
        "origin_topic": topic,
        "origin_partition": partition,
        "origin_offset": offset,
        "origin_timestamp": timestamp,
        "reason": reason,
        "detail": redact(detail)[:500],
        "attempts": attempts,
    }
    return [(name, str(value).encode()) for name, value in values.items()]


class DeadLetters:
    """Puts records of one stage on `dead-letters`."""

    def __init__(self, producer: Producer, prefix: str, stage: str) -> None:
        self._producer = producer
        self._topic = DEAD_LETTERS.full_name(prefix)
        self._stage = stage

    def send(self, record: Message, reason: str, detail: str = "", attempts: int = 1) -> None:
        """Waits for the broker's ack, so that the caller may commit past ``record`` afterwards.

        Key, value and headers stay as they were; ours are added. A value that would not fit is cut, and says so.
        """
        value = record.value()
        headers = dead_letter_headers(
            self._stage,
            record.topic(),
            record.partition(),
            record.offset(),
            record.timestamp()[1],
            reason,
            detail,
            attempts,
        )
        if value is not None and len(value) > MAX_MESSAGE_BYTES - 16 * 1024:
            headers.append(("cut_from_bytes", str(len(value)).encode()))
            value = value[: MAX_MESSAGE_BYTES - 16 * 1024]
        original = [(f"original.{name}", content) for name, content in record.headers() or []]
        deliver(self._producer, self._topic, value=value, key=record.key(), headers=headers + original)
        DEAD_LETTERS_TOTAL.labels(self._stage, reason).inc()
