"""Silences on their compacted topic: who must not be told of what, until when."""

from runtime.kafka import deliver, producer
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from runtime.topic_reader import TopicReader
from schemas.codec import decode, encode, schema_header
from schemas.messages import Silence
from schemas.problems import Undecodable
from schemas.topics import SILENCES

log = get_logger(__name__)


class SilenceLog:
    """Follows the topic; `refresh` reads what is new. Not for several threads at once."""

    def __init__(self, kafka: KafkaSettings, prefix: str = "", client_id: str = "backsight-silences") -> None:
        self._reader = TopicReader(kafka, SILENCES.full_name(prefix), client_id)
        self._by_id: dict[str, Silence] = {}

    def refresh(self) -> bool:
        """Reads to the log's end; answers whether anything was new. Raises `BrokerUnreachable`."""
        changed = False
        for record in self._reader.new():
            try:
                silence = decode(Silence, record.value(), record.headers())
            except Undecodable as error:
                log.error("silence_undecodable", offset=record.offset(), reason=error.reason, detail=error.detail)
                continue
            self._by_id[silence.silence_id] = silence
            changed = True
        return changed

    def every(self) -> tuple[Silence, ...]:
        """Each silence there ever was, the newest last."""
        return tuple(sorted(self._by_id.values(), key=lambda each: (each.created_at, each.silence_id)))

    def close(self) -> None:
        """Gives the connection back."""
        self._reader.close()


def read_silences(kafka: KafkaSettings, prefix: str = "") -> tuple[Silence, ...]:
    """Every silence, the newest last. Raises `BrokerUnreachable`."""
    silences = SilenceLog(kafka, prefix)
    try:
        silences.refresh()
        return silences.every()
    finally:
        silences.close()


def publish_silence(kafka: KafkaSettings, prefix: str, silence: Silence) -> None:
    """Writes it and waits for the ack. Raises `BrokerUnreachable`."""
    client = producer(kafka, "backsight-silences")
    deliver(
        client,
        SILENCES.full_name(prefix),
        key=silence.silence_id,
        value=encode(silence),
        headers=[schema_header(Silence)],
        partition=0,
    )
