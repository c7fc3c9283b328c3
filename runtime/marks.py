"""What operators say of alerts, on the topic `marks`, and the alerts they say it of."""

from typing import Final

from runtime.kafka import deliver, producer
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from runtime.topic_reader import TopicReader
from schemas.codec import decode, encode, schema_header
from schemas.messages import Alert, Mark
from schemas.problems import Undecodable
from schemas.topics import ALERTS, DAY, MARKS

SEARCHED_MS: Final = 30 * DAY
"""How far back an alert is looked for unless told otherwise."""

log = get_logger(__name__)


def read_marks(kafka: KafkaSettings, prefix: str = "") -> dict[str, Mark]:
    """The newest mark of every alert that has one, by alert id. Raises `BrokerUnreachable`."""
    found: dict[str, Mark] = {}
    topic = TopicReader(kafka, MARKS.full_name(prefix), "backsight-marks")
    try:
        for record in topic.new():
            try:
                mark = decode(Mark, record.value(), record.headers())
            except Undecodable as error:
                log.error("mark_undecodable", offset=record.offset(), reason=error.reason, detail=error.detail)
                continue
            found[mark.alert_id] = mark  # marks of one alert lie in one partition, in their order
    finally:
        topic.close()
    return found


def publish_mark(kafka: KafkaSettings, prefix: str, mark: Mark) -> None:
    """Writes the mark and waits for the ack. Raises `BrokerUnreachable`."""
    client = producer(kafka, "backsight-marks")
    topic = MARKS.full_name(prefix)
    deliver(client, topic, key=mark.alert_id, value=encode(mark), headers=[schema_header(Mark)])


def find_alert(kafka: KafkaSettings, prefix: str, alert_id: str, since: int) -> Alert | None:
    """The alert (its first record), or None where the topic has none of that id from ``since`` (ms UTC) on.

    The id does not tell the partition, so all of them are read until it turns up. Raises `BrokerUnreachable`.
    """
    written = alert_id.encode()
    topic = TopicReader(kafka, ALERTS.full_name(prefix), "backsight-alerts", since=since)
    try:
        for record in topic.new():
            if written not in (record.value() or b""):
                continue
            try:
                alert = decode(Alert, record.value(), record.headers())
            except Undecodable:
                continue
            if alert.alert_id == alert_id:
                return alert
    finally:
        topic.close()
    return None
