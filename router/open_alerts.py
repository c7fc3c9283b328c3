"""Alerts that were opened before this process began and are open still, from the topic `alerts`."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from runtime.settings import KafkaSettings
from runtime.topic_reader import TopicReader
from schemas.codec import decode
from schemas.messages import Alert
from schemas.problems import Undecodable
from schemas.topics import DAY

LOOKED_BACK_MS: Final = 7 * DAY
"""An alert that opened longer ago is not told again, and not told after a silence."""


class OpenAlert(NamedTuple):
    """The opening as it was read, and from which partition."""

    alert: Alert
    value: bytes
    partition: int


def open_alerts(kafka: KafkaSettings, topic: str, committed: Mapping[int, int], now: int) -> list[OpenAlert]:
    """Alerts that are open by what lies before each partition's ``committed`` offset. Raises `BrokerUnreachable`."""
    wanted = tuple(sorted(number for number, end in committed.items() if end > 0))
    if not wanted:
        return []
    reader = TopicReader(kafka, topic, "backsight-router-open", partitions=wanted, since=max(0, now - LOOKED_BACK_MS))
    found: dict[str, OpenAlert] = {}
    try:
        for record in reader.new():
            number, value = int(record.partition() or 0), record.value() or b""
            if int(record.offset() or 0) >= committed[number]:
                continue
            try:
                alert = decode(Alert, value, record.headers() or [])
            except Undecodable:
                continue
            if alert.phase == "opened":
                found[alert.alert_id] = OpenAlert(alert, value, number)
            else:
                found.pop(alert.alert_id, None)
    finally:
        reader.close()
    return list(found.values())
