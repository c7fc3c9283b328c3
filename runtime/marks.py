"""What operators said of alerts: the compacted topic `marks`."""

from runtime.kafka import (
    OFFSET_BEGINNING,
    BrokerUnreachable,
    KafkaError,
    Producer,
    TopicPartition,
    deliver,
    log_spans,
    reader,
)
from runtime.settings import KafkaSettings
from schemas.codec import decode, encode, schema_header
from schemas.messages import Mark
from schemas.problems import Undecodable
from schemas.topics import MARKS

QUIET_POLLS = 150
"""So many empty polls of 0.2 s in a row, and the broker is away."""


def read_marks(kafka: KafkaSettings, prefix: str = "") -> dict[str, Mark]:
    """The newest mark of each marked alert. Raises `BrokerUnreachable`."""
    topic = MARKS.full_name(prefix)
    client = reader(kafka, "backsight-marks")
    found: dict[str, Mark] = {}
    try:
        unread = {number: end for number, (first, end) in log_spans(client, topic).items() if first < end}
        client.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in unread])
        empty = 0
        while unread:
            records = client.consume(500, 0.2)
            empty = 0 if records else empty + 1
            if empty > QUIET_POLLS:
                raise BrokerUnreachable(f"{topic}: the broker sends nothing")
            for record in records:
                number, problem = record.partition(), record.error()
                if problem is not None:
                    if problem.code() == KafkaError._PARTITION_EOF and (record.offset() or 0) >= unread.get(number, 0):
                        unread.pop(number, None)
                    continue
                if record.offset() + 1 >= unread.get(number, 0):
                    unread.pop(number, None)
                try:
                    mark = decode(Mark, record.value(), record.headers())
                except Undecodable:
                    continue
                known = found.get(mark.alert_id)
                if known is None or known.marked_at <= mark.marked_at:
                    found[mark.alert_id] = mark
    finally:
        client.close()
    return found


def publish_mark(producer: Producer, prefix: str, mark: Mark) -> None:
    """Writes one mark and waits for its ack. Raises `BrokerUnreachable`."""
    deliver(
        producer,
        MARKS.full_name(prefix),
        key=mark.alert_id,
        value=encode(mark),
        headers=[schema_header(Mark)],
        timestamp=mark.marked_at,
    )
