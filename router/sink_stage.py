"""One sink of the router: `alerts` → the sink → `deliveries`, in a consumer group of the sink's own.

Two threads. This one speaks Kafka: it reads alerts, publishes how they ended (`router.telling`) and commits
(`router.places`). The other one delivers (`router.lanes`), so that a sink that hangs never keeps this one from polling.
An offset is committed when nothing before it waits and every outcome before it is acknowledged; so a crash repeats at
most the attempts that were under way, and what ended is known again from `deliveries`.
"""

import contextlib
import queue
import time
from typing import Final

from router.lanes import wall_clock
from router.places import Places
from router.sinks import Sink
from router.telling import Telling
from router.way import Fault, Way
from runtime.health import Health
from runtime.kafka import Consumer, KafkaError, TopicPartition, consumer
from runtime.lifecycle import EXIT_BROKER, Stop
from runtime.logs import get_logger
from runtime.metrics import REBALANCES
from runtime.moving import Moving
from runtime.settings import Settings
from runtime.tracing import Tracing
from schemas.topics import ALERTS, ALERTS_SYSTEM

MOST_PENDING: Final = 256
"""Alerts read and not ended. At this many the partitions are paused, so memory does not grow while a sink is away."""
COMMIT_SECONDS: Final = 1.0
PLAN_SECONDS: Final = 0.1
"""How exactly times of the plan are kept."""
LAG_SECONDS: Final = 5.0
WAIT_SECONDS: Final = 0.02
FULL_SECONDS: Final = 2.0
"""As long the consumer may go without a poll while nothing more is to be read; then the partitions are paused."""
BURST: Final = 100
"""Records taken in a row before ends are published."""
STUCK_MS: Final = 120_000

log = get_logger(__name__)


class SinkStage:
    """One sink with its consumer group."""

    def __init__(
        self, settings: Settings, sink: Sink, way: Way, health: Health, tracing: Tracing | None = None
    ) -> None:
        self._sink = sink
        self._health = health
        self._stage = f"router.{sink.name}"
        self._places = Places(self._stage, ALERTS.full_name(settings.prefix), ALERTS_SYSTEM.full_name(settings.prefix))
        self._consumer: Consumer = consumer(
            settings.kafka,
            f"{settings.prefix}router.{sink.name}",
            f"backsight-router-{sink.name}",
            # A sink may take its whole deadline when partitions are revoked; alerts are small and few.
            max_poll_interval_ms=600_000,
            queued_max_messages_kbytes=4096,
            on_commit=self._places.commit_ended,
        )
        self._places.follow(self._consumer)
        self._telling = Telling(settings, sink, way, self._places, tracing)
        self._must_refresh = False
        self._paused = False
        self._full_since: float | None = None
        self._closing = False
        self._moving = Moving(self._stage)
        self._commit_due = self._lag_due = self._plan_due = 0.0

    def run(self, stop: Stop) -> None:
        """Until ``stop`` is set; then ends what is under way, begins nothing, and commits. Raises `Fault`."""
        name = self._sink.name
        self._health.check(f"{name}: assigned", lambda: None if self._places.ours else "has no partition of alerts yet")
        self._health.check(f"{name}: delivering", self.stuck, "degraded")
        self._health.check(f"{name}: moving", self._moving.fault, "alive")
        self._telling.thread.start()
        self._consumer.subscribe(
            list(self._places.topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )
        try:
            while not stop.is_set():
                self._health.beat()
                self._take()
                self._read_back()
                self._settle()
                self._keep_up()
            self._drain()
        finally:
            self._health.uncheck(f"{name}: assigned", f"{name}: delivering", f"{name}: moving")
            self._close()

    def _take(self) -> None:
        """Reads what is there, a burst at most, and hands it to the lanes."""
        if self._is_full():
            with contextlib.suppress(queue.Empty):
                self._telling.end(self._telling.ends.get(timeout=WAIT_SECONDS))
            return
        seconds = 0.1 if not self._telling.pending else WAIT_SECONDS  # a short wait while ends are to be published
        for _ in range(BURST):
            record = self._consumer.poll(seconds)
            seconds = 0.0
            if record is None:
                return
            error = record.error()
            if error is not None:
                self._trouble(error)
                return
            self._read_back()
            self._telling.offer(record)
            if self._telling.pending >= MOST_PENDING:
                return

    def _is_full(self) -> bool:
        """Whether nothing more is to be read now. Pauses the partitions where that lasts.

        To pause throws away what was fetched, so a sink that is merely slower than Kafka is waited for.
        """
        now, pending = time.monotonic(), self._telling.pending
        if pending < MOST_PENDING:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        lasts = self._full_since is not None and now - self._full_since > FULL_SECONDS
        if lasts and not self._paused:
            self._consumer.pause(self._consumer.assignment())
            self._paused = True
        elif self._paused and pending < MOST_PENDING // 2:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False
        return self._full_since is not None and not self._paused

    def _trouble(self, error: KafkaError) -> None:
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise Fault(EXIT_BROKER, f"there is no topic {' or '.join(self._places.topics)} any more")
        if error.fatal():
            raise Fault(EXIT_BROKER, error.str())
        log.warning("consume_trouble", code=error.name(), reason=error.str())

    def _read_back(self) -> None:
        if self._must_refresh:
            self._must_refresh = False
            self._telling.read_back()

    def _settle(self) -> None:
        now = time.monotonic()
        due = now >= self._plan_due
        if due:
            self._plan_due = now + PLAN_SECONDS
        self._telling.settle(plan=due)

    def _keep_up(self) -> None:
        """Commits and measures the lag, each now and then."""
        now = time.monotonic()
        if now >= self._commit_due:
            self._commit_due = now + COMMIT_SECONDS
            self._places.commit(wait=False)
        if now >= self._lag_due:
            self._lag_due = now + LAG_SECONDS
            telling = self._telling
            self._moving.look(self._places.lag(), telling.finished, telling.reached_at, holding=telling.holding)

    def stuck(self) -> str | None:
        """Says so where every attempt has failed for two minutes; from any thread."""
        trouble = self._telling.thread.lanes.trouble
        if trouble.since is None or wall_clock() - trouble.since < STUCK_MS:
            return None
        seconds = (wall_clock() - trouble.since) // 1000
        return f"{self._sink.name} has failed for {seconds} s: {trouble.last_reason}"

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = self._numbers(partitions)
        log.info("partitions_assigned", sink=self._sink.name, partitions=numbers)
        REBALANCES.labels(self._stage).inc()
        self._places.given(numbers)
        self._must_refresh = True
        self._paused = False

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Ends what is under way in these partitions and commits, so that the next owner repeats nothing."""
        numbers = set(self._numbers(partitions))
        if not self._closing:  # else it is done, and the lanes have ended
            self._telling.withdraw(numbers)
            if self._settle_all():
                self._places.commit(wait=True, numbers=numbers)
        self._forget(numbers)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """They belong to somebody else already: nothing of them may be committed any more."""
        numbers = set(self._numbers(partitions))
        log.warning("partitions_lost", sink=self._sink.name, partitions=sorted(numbers))
        if not self._closing:
            self._telling.withdraw(numbers)
        self._forget(numbers)

    def _numbers(self, partitions: list[TopicPartition]) -> list[int]:
        return [self._places.number(each.topic, each.partition) for each in partitions]

    def _forget(self, numbers: set[int]) -> None:
        self._places.forget(numbers)
        self._telling.forget(numbers, by_sink=not self._closing)

    def _settle_all(self) -> bool:
        """Publishes every end; False when the broker did not take them in time."""
        self._settle()
        return self._telling.flush()

    def _drain(self) -> None:
        self._telling.withdraw(self._places.ours)
        if not self._settle_all():
            raise Fault(EXIT_BROKER, "the broker did not take every outcome; those alerts will be told again")
        self._places.commit(wait=True)
        log.info("router_drained", sink=self._sink.name, left_for_next_time=self._telling.pending)

    def _close(self) -> None:
        self._closing = True
        self._telling.stop()
        self._consumer.close()
        self._telling.close()
