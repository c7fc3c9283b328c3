"""Records to a Kafka cluster whose acks are awaited in an event loop."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from router.retry import ACCEPTED, Answer
from runtime.kafka import KafkaError, KafkaException, Message, producer
from runtime.settings import KafkaSettings

POLL_SECONDS: Final = 0.1
END_SECONDS: Final = 2.0

_UNAUTHORIZED: Final = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
_NO_TOPIC: Final = (KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART)
_REFUSED: Final = (KafkaError.INVALID_RECORD, KafkaError.POLICY_VIOLATION)
_UNREACHABLE: Final = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)
_GAVE_UP: Final = (KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)


class Record(NamedTuple):
    """One record; ``timestamp`` in milliseconds UTC."""

    key: str
    value: bytes
    headers: list[tuple[str, bytes]]
    timestamp: int


class Sending:
    """A producer of one cluster, in the event loop that makes it. A thread of its own hears the acks.

    A record that is not acknowledged within ``seconds`` is taken back, so that a later one never overtakes it.
    """

    def __init__(self, kafka: KafkaSettings, client_id: str, seconds: float) -> None:
        """Raises `KafkaException` for settings that the client does not take."""
        self._loop = asyncio.get_running_loop()
        self._trouble: KafkaError | None = None
        self._ended = threading.Event()
        self._producer = producer(
            kafka,
            client_id,
            linger_ms=0,
            message_timeout_ms=round(seconds * 1000),
            topic_metadata_propagation_max_ms=1000,  # else a topic that is missing is a time-out and nothing more
            error_cb=self._troubled,
        )
        self.broken = False
        self._thread = threading.Thread(target=self._hear, name=client_id, daemon=True)
        self._thread.start()

    async def send(self, topic: str, records: Sequence[Record]) -> Answer:
        """Accepted when all are acknowledged; else what became of the first that is not."""
        acks: list[asyncio.Future[KafkaError | None]] = []
        for record in records:
            ack = self._loop.create_future()
            try:
                self._producer.produce(topic, on_delivery=self._settling(ack), **record._asdict())
            except KafkaException as error:
                return answer_of(error.args[0], self._trouble)
            except BufferError:
                return Answer("later", "broken", "too many records wait for acks")
            acks.append(ack)
        failed = [error for error in await asyncio.gather(*acks) if error is not None]
        if failed:
            return answer_of(failed[0], self._trouble)
        self._trouble = None
        return ACCEPTED

    async def close(self) -> None:
        """Ends the thread; what has no ack by now is taken back."""
        await asyncio.to_thread(self._end)

    def _settling(self, ack: "asyncio.Future[KafkaError | None]") -> Any:
        def settle(error: KafkaError | None) -> None:
            if not ack.done():
                ack.set_result(error)

        def heard(error: KafkaError | None, _record: Message) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(settle, error)

        return heard

    def _hear(self) -> None:
        while not self._ended.is_set():
            self._producer.poll(POLL_SECONDS)
            if self._trouble is not None and self._trouble.code() in _UNAUTHORIZED:
                self._producer.purge()  # the client would ask again and again until the records' time is over

    def _troubled(self, error: KafkaError) -> None:
        self.broken = self.broken or error.fatal()
        # "All brokers are down" follows every other trouble and says less.
        if self._trouble is None or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._trouble = error

    def _end(self) -> None:
        self._ended.set()
        self._thread.join(END_SECONDS)
        self._producer.purge()
        self._producer.flush(END_SECONDS)


def answer_of(error: KafkaError, trouble: KafkaError | None) -> Answer:
    """What a record's failure means. ``trouble``: what the client said of its connections last."""
    code = error.code()
    if code in _GAVE_UP and trouble is not None and trouble.code() not in _GAVE_UP:
        return answer_of(trouble, None)
    if code in _GAVE_UP:
        return Answer("later", "timeout", "no ack in time")
    if code in _UNAUTHORIZED:
        what = "login" if code in _UNAUTHORIZED[:2] else "right to write"
        return Answer("later", "unauthorized", f"the {what} was refused")
    if code in _NO_TOPIC:
        return Answer("later", "not_found", "there is no such topic")
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return Answer("never", "too_large", "larger than the topic takes")
    if code in _REFUSED:
        return Answer("never", "rejected", error.name())
    if code == KafkaError._RESOLVE:
        return Answer("later", "dns", "the host name is not known")
    if code == KafkaError._SSL:
        return Answer("later", "tls", "TLS failed")
    if code in _UNREACHABLE:
        return Answer("later", "unreachable", "no connection")
    return Answer("later", "server_error", error.name())
