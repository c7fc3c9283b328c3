"""The only door to confluent-kafka: clients with the settings that every stage shares."""

import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_CREATE_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from runtime.logs import get_logger
from runtime.repeated import Repeated
from runtime.settings import KafkaSettings
from schemas.topics import MAX_MESSAGE_BYTES

__all__ = [
    "OFFSET_BEGINNING",
    "OFFSET_END",
    "TIMESTAMP_CREATE_TIME",
    "AdminClient",
    "BrokerUnreachable",
    "Consumer",
    "KafkaError",
    "KafkaException",
    "Message",
    "Producer",
    "TopicPartition",
    "admin",
    "await_acks",
    "consumer",
    "deliver",
    "log_span",
    "log_spans",
    "producer",
    "reader",
    "topic_id",
    "wait_for_broker",
]

FLUSH_SECONDS: Final = 30.0
SPAN_SECONDS: Final = 30.0
"""A broker that is there may take as long to tell where a partition ends: one under load has other things to do."""
ASK_SECONDS: Final = 5.0
"""Then it is asked again: a request that a broker lost in a change of leader gets no answer."""

log = get_logger(__name__)


class BrokerUnreachable(RuntimeError):
    """No broker answered, or a record was not taken within its time."""


def _shared(kafka: KafkaSettings, client_id: str) -> dict[str, Any]:
    return {
        **kafka.client_config(),
        "client.id": client_id,
        "error_cb": _reporting(),
        # librdkafka writes to stderr by itself otherwise, 20 lines a second while a broker is away (they are of level
        # 3); error_cb says what matters.
        "log_level": 2,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2000,
    }


def _reporting() -> Callable[[KafkaError], None]:
    """A client's trouble in the log: each kind at once, then a line a minute with a count."""
    kinds: dict[str, Repeated] = {}

    def report(error: KafkaError) -> None:
        # librdkafka repeats itself for as long as a broker is away, and goes on trying all the while.
        repeated = kinds.setdefault(error.name(), Repeated(log, "kafka_trouble"))
        now = round(time.monotonic() * 1000)
        repeated.happened(now, code=error.name(), reason=error.str(), fatal=error.fatal())

    return report


def producer(kafka: KafkaSettings, client_id: str, **overrides: Any) -> Producer:
    """A producer: idempotent, acks from all, murmur2 as Faust and Java hash keys, 2 MiB at most.

    ``overrides`` are librdkafka settings with underscores for dots, or callbacks.
    """
    return Producer(
        {
            **_shared(kafka, client_id),
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "linger.ms": 5,
            **_dotted(overrides),
        }
    )


def consumer(kafka: KafkaSettings, group: str, client_id: str, **overrides: Any) -> Consumer:
    """A consumer in a group (KIP-848 protocol): offsets are committed by hand, a new group begins at the oldest."""
    return Consumer(
        {
            **_shared(kafka, client_id),
            "group.id": group,
            "group.protocol": "consumer",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            **_fetching(),
            **_dotted(overrides),
        }
    )


def reader(kafka: KafkaSettings, client_id: str, **overrides: Any) -> Consumer:
    """A consumer outside any group, for `assign`: it commits nothing and joins nothing."""
    return Consumer(
        {
            **_shared(kafka, client_id),
            # librdkafka wants a name; it is never used, since nothing is subscribed or committed.
            "group.id": f"{client_id}-unused",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            **_fetching(),
            **_dotted(overrides),
        }
    )


def admin(kafka: KafkaSettings, client_id: str = "backsight-admin") -> AdminClient:
    """An admin client."""
    return AdminClient(_shared(kafka, client_id))


_REASONS: Final = {
    "SASL": "it refused the login: KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD",
    "SSL": "TLS failed: KAFKA_SECURITY_PROTOCOL, KAFKA_SSL_CA_LOCATION, and is this the right port?",
    "resolve": "the host's name is not known here",
}
"""What librdkafka's words mean here. Its codes do not tell: most of it is `_TRANSPORT`."""


def wait_for_broker(kafka: KafkaSettings, seconds: float = 10.0) -> int:
    """How many brokers the cluster has, as soon as it answers; `BrokerUnreachable` says why it does not in time."""
    said: list[KafkaError] = []
    client = AdminClient({**_shared(kafka, "backsight-admin"), "error_cb": said.append})
    try:
        return len(client.list_topics(timeout=seconds).brokers)
    except KafkaException as error:
        client.poll(0)  # which calls error_cb
        words = [each.str() for each in said]
        reasons = (reason for word, reason in _REASONS.items() if any(word in each for each in words))
        reason = next(reasons, error.args[0].str())
        raise BrokerUnreachable(
            f"no Kafka broker answered at {kafka.bootstrap_servers} within {seconds:g} s ({reason}); "
            "is it running? `backsight kafka up` starts a local one, KAFKA_BOOTSTRAP_SERVERS names another"
        ) from None


def await_acks(to: Producer, seconds: float, done: Callable[[], object]) -> None:
    """Hears what the broker says of records until ``done`` answers yes, ``seconds`` at most.

    Raises `KafkaException` when this client may write nothing any more. `Producer.flush` does not do so reliably: it
    goes on to the callbacks of records while that exception is pending, and Python makes a SystemError of it. `poll`
    stops at once.
    """
    deadline = time.monotonic() + seconds
    while not done() and (left := deadline - time.monotonic()) > 0:
        to.poll(left)


def deliver(
    to: Producer,
    topic: str,
    *,
    value: bytes | None,
    key: bytes | str | None,
    headers: list[tuple[str, bytes]] | None = None,
    timestamp: int | None = None,
    partition: int | None = None,
    seconds: float = FLUSH_SECONDS,
) -> None:
    """Sends one record and waits for the broker's ack; raises `BrokerUnreachable` when it is not taken in time."""
    failed: list[KafkaError | None] = []

    def reported(error: KafkaError | None, _message: Message) -> None:
        failed.append(error)

    extra: dict[str, Any] = {}
    if timestamp is not None:
        extra["timestamp"] = timestamp
    if partition is not None:
        extra["partition"] = partition
    try:
        to.produce(topic, value=value, key=key, headers=headers or [], on_delivery=reported, **extra)
        await_acks(to, seconds, lambda: failed)
    except KafkaException as error:  # this client writes nothing any more: it may not
        raise BrokerUnreachable(f"{topic}: {error.args[0].str()}") from None
    if not failed:
        raise BrokerUnreachable(f"{topic}: the broker did not take a record within {seconds:g} s")
    if failed[0] is not None:
        raise BrokerUnreachable(f"{topic}: {failed[0].str()}")


def log_span(client: Consumer, partition: TopicPartition, seconds: float = SPAN_SECONDS) -> tuple[int, int]:
    """The partition's first offset and its log end. Raises `BrokerUnreachable` when nobody tells within ``seconds``.

    It is asked again and again: a topic that was made a moment ago has no leader for some tenths of a second, and a
    broker under load answers late.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            low, high = client.get_watermark_offsets(partition, timeout=min(ASK_SECONDS, seconds))
            return int(low), int(high)
        except KafkaException as error:
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            missing = error.args[0].code() == KafkaError._UNKNOWN_PARTITION
            hint = (
                "`backsight topics apply` makes the topics"
                if missing
                else "is the broker there, or under too much load?"
            )
            raise BrokerUnreachable(
                f"{partition.topic}: the log end of partition {partition.partition} was not told within {seconds:g} s "
                f"({error.args[0].str()}); {hint}"
            ) from None


def log_spans(client: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    """`log_span` of every partition of the topic; raises `BrokerUnreachable` where there is no such topic."""
    try:
        described = client.list_topics(topic, timeout=10).topics[topic]
    except KafkaException as error:
        raise BrokerUnreachable(f"{topic}: {error.args[0].str()}") from None
    if described.error is not None:
        raise BrokerUnreachable(f"{topic}: {described.error.str()}; `backsight topics apply` makes the topics")
    return {number: log_span(client, TopicPartition(topic, number)) for number in described.partitions}


def topic_id(kafka: KafkaSettings, topic: str) -> str:
    """The cluster's own id of a topic: one that was deleted and made anew has another. Raises `BrokerUnreachable`."""
    cluster = admin(kafka)  # which must outlive the answer
    try:
        described = cluster.describe_topics(TopicCollection([topic]), request_timeout=10)
        return str(described[topic].result().topic_id)
    except KafkaException as error:
        raise BrokerUnreachable(f"{topic}: {error.args[0].str()}; `backsight topics apply` makes the topics") from None


def _fetching() -> dict[str, Any]:
    return {
        "fetch.message.max.bytes": 2 * MAX_MESSAGE_BYTES,
        "fetch.max.bytes": 16 * MAX_MESSAGE_BYTES,
        "receive.message.max.bytes": 16 * MAX_MESSAGE_BYTES + 4096,
        # An empty partition answers after this long: 50 ms keeps an alert's way short.
        "fetch.wait.max.ms": 50,
    }


def _dotted(overrides: dict[str, Any]) -> dict[str, Any]:
    # Callbacks (on_commit, stats_cb) are the client's own and are spelt with underscores.
    return {name if callable(value) else name.replace("_", "."): value for name, value in overrides.items()}
