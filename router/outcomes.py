"""How deliveries end, on the record: the dead letter first, then the outcome on `deliveries`, then the offset."""

from collections.abc import Callable
from typing import Final, NamedTuple

from router.lanes import Ended, wall_clock
from runtime.dead_letters import DeadLetters
from runtime.kafka import KafkaError, Message, Producer
from runtime.logs import get_logger
from runtime.metrics import DELIVERIES as DELIVERIES_TOTAL
from runtime.metrics import END_TO_END, PRODUCE_ERRORS, RECORD_AGE, STAGE_RECORDS
from schemas.codec import encode, schema_header
from schemas.messages import Delivery
from schemas.topics import DELIVERIES

FLUSH_SECONDS: Final = 10.0

log = get_logger(__name__)


def delivery_of(ended: Ended, sink: str) -> Delivery:
    """The end of a delivery as it goes on the record."""
    return Delivery(
        delivery_id=ended.notice.delivery_id,
        sink=sink,
        outcome=ended.end.outcome,
        attempts=ended.attempts,
        first_attempt_at=ended.first_attempt_at,
        last_attempt_at=ended.last_attempt_at,
        reason=ended.end.reason,
    )


class _Unpublished(NamedTuple):
    delivery: Delivery
    published: Callable[[Delivery], None]


class Outcomes:
    """Publishes the outcomes of one sink. An outcome that the broker does not take is offered again, for ever."""

    def __init__(self, producer: Producer, prefix: str, sink: str) -> None:
        self._producer = producer
        self._sink = sink
        self._topic = DELIVERIES.full_name(prefix)
        self.dead_letters = DeadLetters(producer, prefix, f"router.{sink}")
        self._unpublished: list[_Unpublished] = []

    def publish(self, ended: Ended, record: Message, published: Callable[[Delivery], None]) -> None:
        """Puts the end of ``record``'s delivery on the topics; ``published`` is called once the broker has it.

        Raises `BrokerUnreachable` when a dead letter is not taken.
        """
        notice, end = ended.notice, ended.end
        if end.outcome != "delivered":
            log.warning(
                "alert_not_delivered",
                sink=self._sink,
                delivery_id=notice.delivery_id,
                outcome=end.outcome,
                reason=end.reason,
                detail=ended.detail,
                attempts=ended.attempts,
            )
            self.dead_letters.send(record, end.reason, f"{end.outcome}: {ended.detail or end.reason}", ended.attempts)
        else:
            END_TO_END.labels(self._sink).observe(max(0, ended.last_attempt_at - notice.instant) / 1000)
        DELIVERIES_TOTAL.labels(self._sink, end.outcome).inc()
        STAGE_RECORDS.labels("router").inc()
        RECORD_AGE.labels("router").observe(max(0, wall_clock() - notice.instant) / 1000)
        self.put(delivery_of(ended, self._sink), published)

    def put(self, delivery: Delivery, published: Callable[[Delivery], None]) -> None:
        """Puts an outcome on the topic; ``published`` is called once the broker has it."""
        self._produce(_Unpublished(delivery, published))

    def poll(self) -> None:
        """Lets acks in, and offers again what was not taken."""
        again, self._unpublished = self._unpublished, []
        for each in again:
            self._produce(each)
        self._producer.poll(0)

    def flush(self) -> bool:
        """Waits for every ack; False when the broker did not take everything in time."""
        self.poll()
        return self._producer.flush(FLUSH_SECONDS) == 0 and not self._unpublished

    def _produce(self, each: _Unpublished) -> None:
        def reported(error: KafkaError | None, _record: Message) -> None:
            if error is None:
                each.published(each.delivery)
                return
            PRODUCE_ERRORS.labels("router").inc()
            log.error("outcome_not_taken", delivery_id=each.delivery.delivery_id, reason=error.str())
            self._unpublished.append(each)

        try:
            self._producer.produce(
                self._topic,
                key=f"{self._sink}/{each.delivery.delivery_id}",
                value=encode(each.delivery),
                headers=[schema_header(Delivery)],
                timestamp=each.delivery.last_attempt_at,
                on_delivery=reported,
            )
        except BufferError:
            self._unpublished.append(each)
