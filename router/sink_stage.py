"""One sink of the router: `alerts` → the sink → `deliveries`, in a consumer group of the sink's own.

Two threads. This one speaks Kafka: it reads alerts, publishes how they ended and commits. The other one delivers
(`router.lanes`), so that a sink that hangs never keeps this one from polling. An offset is committed when nothing
before it waits and every outcome before it is acknowledged; so a crash repeats at most the attempts that were under
way, and what ended is known again from `deliveries`.
"""

import contextlib
import queue
import time
from typing import Final, NamedTuple, Protocol, get_args

from router.delivery_log import DeliveryLog
from router.delivery_thread import DeliveryThread
from router.lanes import Ended, wall_clock
from router.open_alerts import open_alerts
from router.outcomes import Outcomes, delivery_of
from router.planning import Plan, Planner
from router.progress import Progress
from router.retry import RetryPolicy
from router.routing import Leg, Terms, is_system
from router.sinks import Notice, Sink, SinkGone
from runtime.health import Health
from runtime.kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
    consumer,
    producer,
)
from runtime.lifecycle import EXIT_BROKER, EXIT_FAULT, Stop
from runtime.logs import get_logger
from runtime.metrics import (
    DELIVERIES,
    LAST_COMMIT,
    REBALANCES,
    SINK_MAX_AGE,
    SINK_OLDEST,
    SINK_PENDING,
    STAGE_RECORDS_IN,
    STAGE_SECONDS,
)
from runtime.moving import Moving
from runtime.settings import Settings
from runtime.signing import evidence_link
from schemas.codec import decode
from schemas.messages import Alert, Delivery, Outcome
from schemas.problems import Undecodable
from schemas.topics import ALERTS, ALERTS_SYSTEM

OF_SYSTEM: Final = -1
"""The number by which the one partition of `alerts.system` goes here; those of `alerts` go by their own."""
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
UNDECODABLE_IN_A_ROW: Final = 100
"""As many undecodable alerts one after the other are our fault, not theirs: a newer schema, or the wrong topic."""
STUCK_MS: Final = 120_000
CLOSE_SECONDS: Final = 2.0

log = get_logger(__name__)


class Fault(RuntimeError):
    """The stage cannot go on; carries the exit code."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


class _Pending(NamedTuple):
    """A phase on its way since it was read (ms UTC). The same one may have been read twice; every place it was read
    from waits with it."""

    record: Message
    leg: Leg
    places: list[tuple[int, int]]
    since: int


class Way(Protocol):
    """What the router tells a sink's stage of its configuration, at any moment."""

    def leg(self, sink: str, notice: Notice) -> Leg | None:
        """The way on which the sink is told of the alert, or None."""
        ...

    def site(self, alert: Alert) -> str:
        """The site that the alert is of."""
        ...

    def silenced(self, notice: Notice, now: int) -> bool:
        """Whether a silence holds for the alert."""
        ...

    def repeats(self, sink: str) -> bool:
        """Whether any way to the sink tells open alerts again."""
        ...


class SinkStage:
    """One sink with its consumer group."""

    def __init__(self, settings: Settings, sink: Sink, way: Way, health: Health) -> None:
        self._sink = sink
        self._settings = settings
        self._kafka = settings.kafka
        self._way = way
        self._planner = Planner(way.silenced)
        self._partition_of: dict[tuple[str, bool], int] = {}
        self._health = health
        self._alerts = ALERTS.full_name(settings.prefix)
        self._of_system = ALERTS_SYSTEM.full_name(settings.prefix)
        client = f"backsight-router-{sink.name}"
        self._consumer: Consumer = consumer(
            settings.kafka,
            f"{settings.prefix}router.{sink.name}",
            client,
            # A sink may take its whole deadline when partitions are revoked; alerts are small and few.
            max_poll_interval_ms=600_000,
            queued_max_messages_kbytes=4096,
            on_commit=self._commit_ended,
        )
        self._producer = producer(settings.kafka, client)
        self._outcomes = Outcomes(self._producer, settings.prefix, sink.name)
        self._told = DeliveryLog(settings.kafka, settings.prefix, sink.name, f"{client}-log")
        age = sink.max_age_seconds
        policy = RetryPolicy(max_age_ms=None if age is None else round(age * 1000))
        for outcome in get_args(Outcome):
            DELIVERIES.labels(sink.name, outcome)  # from 0 on, or the first failure would be no increase
        if age is not None:
            SINK_MAX_AGE.labels(sink.name).set(age)
        self._ended: queue.SimpleQueue[Ended | SinkGone] = queue.SimpleQueue()
        self._thread = DeliveryThread(sink, policy, self._ended.put)
        self._pending: dict[str, _Pending] = {}
        self._progress: dict[int, Progress] = {}
        self._committed: dict[int, int] = {}
        self._undecodable = 0
        self._must_refresh = False
        self._paused = False
        self._full_since: float | None = None
        self._closing = False
        self._stage = f"router.{sink.name}"
        self._moving = Moving(self._stage)
        self._finished = 0
        self._reached_at: int | None = None
        self._commit_due = self._lag_due = self._plan_due = 0.0

    def run(self, stop: Stop) -> None:
        """Until ``stop`` is set; then ends what is under way, begins nothing, and commits. Raises `Fault`."""
        name = self._sink.name
        self._health.check(f"{name}: assigned", lambda: None if self._progress else "has no partition of alerts yet")
        self._health.check(f"{name}: delivering", self.stuck, "degraded")
        self._health.check(f"{name}: moving", self._moving.fault, "alive")
        self._thread.start()
        topics = [self._alerts, self._of_system]
        self._consumer.subscribe(topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
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
            self._wait_for_an_end()
            return
        seconds = 0.1 if not self._pending else WAIT_SECONDS  # a short wait while ends are to be published
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
            self._offer(record)
            if len(self._pending) >= MOST_PENDING:
                return

    def _is_full(self) -> bool:
        """Whether nothing more is to be read now. Pauses the partitions where that lasts.

        To pause throws away what was fetched, so a sink that is merely slower than Kafka is waited for.
        """
        now = time.monotonic()
        if len(self._pending) < MOST_PENDING:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        lasts = self._full_since is not None and now - self._full_since > FULL_SECONDS
        if lasts and not self._paused:
            self._consumer.pause(self._consumer.assignment())
            self._paused = True
        elif self._paused and len(self._pending) < MOST_PENDING // 2:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False
        return self._full_since is not None and not self._paused

    def _wait_for_an_end(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._end_or_fault(self._ended.get(timeout=WAIT_SECONDS))

    def _trouble(self, error: KafkaError) -> None:
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise Fault(EXIT_BROKER, f"there is no topic {self._alerts} or {self._of_system} any more")
        if error.fatal():
            raise Fault(EXIT_BROKER, error.str())
        log.warning("consume_trouble", code=error.name(), reason=error.str())

    def _offer(self, record: Message) -> None:
        partition, offset = self._number(record.topic(), record.partition()), record.offset()
        progress = self._progress.setdefault(partition, Progress())
        progress.begin(offset)
        STAGE_RECORDS_IN.labels("router").inc()
        value = record.value()
        try:
            alert = decode(Alert, value, record.headers() or [])
        except Undecodable as undecodable:
            self._undecodable += 1
            log.warning("alert_undecodable", reason=undecodable.reason, partition=partition, offset=offset)
            self._outcomes.dead_letters.send(record, undecodable.reason, undecodable.detail)
            progress.done(offset)
            if self._undecodable >= UNDECODABLE_IN_A_ROW:
                raise Fault(
                    EXIT_FAULT,
                    f"{self._undecodable} undecodable alerts in a row; the newest: {undecodable.reason} at "
                    f"{record.topic()}/{record.partition()}/{offset}. Is it written by a newer version?",
                ) from None
            return
        self._undecodable = 0
        notice = self._notice(alert, value or b"")
        self._partition_of[_whose(alert)] = partition
        waiting = self._pending.get(notice.delivery_id)
        leg = self._way.leg(self._sink.name, notice) or self._way_before(alert)
        if waiting is not None:
            waiting.places.append((partition, offset))
        elif leg is None or self._told.has(notice.delivery_id, notice.instant):
            progress.done(offset)
        else:
            now = wall_clock()
            self._pending[notice.delivery_id] = _Pending(record, leg, [(partition, offset)], now)
            if alert.phase == "resolved" and self._was_unheard(alert):
                self._planner.know_open(notice, leg, now, silenced=True)
            self._follow(self._planner.take(notice, leg, now))

    def _way_before(self, alert: Alert) -> Leg | None:
        """Whoever was told of an opening is told of the resolve, though the routes have changed since."""
        if alert.phase == "opened":
            return None
        opening = f"{alert.alert_id}_0"
        pending = self._pending.get(opening)
        if pending is not None:
            return pending.leg
        heard = self._told.has(opening, alert.opened_at) and not self._told.was_silenced(opening)
        return Leg(self._sink.name, "route", Terms()) if heard else None

    def _notice(self, alert: Alert, value: bytes) -> Notice:
        # The link's time counts from the opening, so that whoever tells it says the same.
        link = None if is_system(alert) else evidence_link(self._settings, alert.alert_id, alert.opened_at)
        return Notice(alert, value, self._way.site(alert), evidence_url=link)

    def _was_unheard(self, alert: Alert) -> bool:
        """Whether nobody was told of the opening, be it by the process before this one."""
        opening = f"{alert.alert_id}_0"
        return self._told.has(opening, alert.opened_at) and self._told.was_silenced(opening)

    def _read_back(self) -> None:
        """After an assignment, and before anything of it is looked at: what was told already, and what is open."""
        if self._must_refresh:
            self._must_refresh = False
            self._told.refresh()
            self._know_open()

    def _know_open(self) -> None:
        """Tells planner and sink of alerts that were opened before our time and are open still, where it may matter."""
        sink_asks = hasattr(self._sink, "know_open")
        if not (sink_asks or self._way.repeats(self._sink.name) or self._told.knows_silenced):
            return
        places = [self._place(number) for number in self._progress]
        committed = self._consumer.committed(places, timeout=30)
        now = wall_clock()
        known = [
            each
            for topic in (self._alerts, self._of_system)
            for each in open_alerts(
                self._kafka, topic, {at.partition: at.offset for at in committed if at.topic == topic}, now
            )
        ]
        for each in known:
            notice = self._notice(each.alert, each.value)
            leg = self._way.leg(self._sink.name, notice)
            if leg is not None and self._told.has(notice.delivery_id, notice.instant):
                self._partition_of[_whose(each.alert)] = OF_SYSTEM if is_system(each.alert) else each.partition
                silenced = self._told.was_silenced(notice.delivery_id)
                self._planner.know_open(notice, leg, now, silenced=silenced)
                if sink_asks and not silenced:
                    self._thread.know_open(notice)

    def _follow(self, plan: Plan) -> None:
        for notice in plan.tell:
            if notice.repeat and self._way.leg(self._sink.name, notice) is None:
                self._follow(self._planner.ended(notice, None, wall_clock()))  # the routes have changed since
                continue
            for member in notice.members:
                self._told.is_heard(member.delivery_id)
            self._thread.offer(notice)
        for notice in plan.kept_silent:
            now = wall_clock()
            self._outcomes.put(
                Delivery(notice.delivery_id, self._sink.name, "silenced", 0, now, now, "silence"), self._published
            )

    def _settle(self) -> None:
        """Publishes the ends that the lanes have reported."""
        while True:
            try:
                ended = self._ended.get_nowait()
            except queue.Empty:
                break
            self._end_or_fault(ended)
        if time.monotonic() >= self._plan_due:
            self._plan_due = time.monotonic() + PLAN_SECONDS
            self._follow(self._planner.due(wall_clock()))
        self._outcomes.poll()
        SINK_PENDING.labels(self._sink.name).set(len(self._pending))
        oldest = next(iter(self._pending.values()), None)
        SINK_OLDEST.labels(self._sink.name).set(0 if oldest is None else self._age_of(oldest.record))

    def _end_or_fault(self, ended: Ended | SinkGone) -> None:
        if isinstance(ended, SinkGone):
            raise Fault(EXIT_FAULT, str(ended))
        self._end(ended)

    def _end(self, ended: Ended) -> None:
        """Publishes how each phase of the notice ended."""
        leg: Leg | None = None
        for member in ended.notice.members:
            single = ended._replace(notice=member)
            pending = self._pending.get(member.delivery_id)
            if pending is not None:
                leg = pending.leg
                self._outcomes.publish(single, pending.record, self._published)
            elif ended.end.outcome == "delivered":
                # Told again, or after a silence, or its partition was lost meanwhile: it was told all the same.
                self._outcomes.put(delivery_of(single, self._sink.name), self._published)
        self._follow(self._planner.ended(ended.notice, leg, wall_clock()))

    def _published(self, delivery: Delivery) -> None:
        """The broker has the outcome: the places the alert was read from are done."""
        silenced = delivery.outcome == "silenced"
        self._told.add(delivery.delivery_id, delivery.last_attempt_at, silenced=silenced)
        pending = self._pending.pop(delivery.delivery_id, None)
        if pending is None:
            return
        self._finished += 1
        self._reached_at = pending.record.timestamp()[1]
        STAGE_SECONDS.labels("router").observe(max(0, wall_clock() - pending.since) / 1000)
        for partition, offset in pending.places:
            self._progress[partition].done(offset)

    def _keep_up(self) -> None:
        """Commits and measures the lag, each now and then."""
        now = time.monotonic()
        if now >= self._commit_due:
            self._commit_due = now + COMMIT_SECONDS
            self._commit(wait=False)
        if now >= self._lag_due:
            self._lag_due = now + LAG_SECONDS
            # A receiver that is away is waited for, and company is: that is no stall.
            holding = self._thread.lanes.trouble.since is not None or self._planner.waits
            self._moving.look(self._lag(), self._finished, self._reached_at, holding=holding)

    def _commit(self, *, wait: bool, partitions: set[int] | None = None) -> None:
        ready = {
            number: offset
            for number, progress in self._progress.items()
            if (partitions is None or number in partitions)
            and (offset := progress.committable) is not None
            and offset != self._committed.get(number)
        }
        if not ready:
            return
        offsets = [self._place(number, offset) for number, offset in ready.items()]
        self._committed.update(ready)
        try:
            self._consumer.commit(offsets=offsets, asynchronous=not wait)
        except KafkaException as error:
            self._commit_ended(error.args[0], offsets)

    def _commit_ended(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """A commit that failed is made good by the next one, or by `deliveries` after a crash."""
        failed = [each for each in offsets if error is not None or each.error is not None]
        for each in failed:
            self._committed.pop(self._number(each.topic, each.partition), None)
        if len(failed) < len(offsets):
            LAST_COMMIT.labels(self._stage).set_to_current_time()
        if failed:
            log.warning("commit_failed", reason=(error or failed[0].error).str())

    def _lag(self) -> int:
        lag = 0
        for number, progress in self._progress.items():
            _, end = self._consumer.get_watermark_offsets(self._place(number), cached=True)
            at = progress.committable
            if end > 0 and at is not None:
                lag += max(0, end - at)
        return lag

    def stuck(self) -> str | None:
        """Says so where every attempt has failed for two minutes; from any thread."""
        since = self._thread.lanes.trouble.since
        if since is None or wall_clock() - since < STUCK_MS:
            return None
        seconds = (wall_clock() - since) // 1000
        return f"{self._sink.name} has failed for {seconds} s: {self._thread.lanes.trouble.last_reason}"

    @staticmethod
    def _age_of(record: Message) -> float:
        return float(max(0, wall_clock() - record.timestamp()[1])) / 1000

    def _number(self, topic: str | None, partition: int | None) -> int:
        return OF_SYSTEM if topic == self._of_system else int(partition or 0)

    def _place(self, number: int, offset: int = 0) -> TopicPartition:
        topic, partition = (self._of_system, 0) if number == OF_SYSTEM else (self._alerts, number)
        return TopicPartition(topic, partition, offset)

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [self._number(each.topic, each.partition) for each in partitions]
        log.info("partitions_assigned", sink=self._sink.name, partitions=numbers)
        REBALANCES.labels(self._stage).inc()
        for number in numbers:
            self._progress[number] = Progress()
        self._must_refresh = True
        self._paused = False

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Ends what is under way in these partitions and commits, so that the next owner repeats nothing."""
        numbers = {self._number(each.topic, each.partition) for each in partitions}
        if not self._closing:  # else it is done, and the lanes have ended
            self._withdraw(numbers)
            if self._settle_all():
                self._commit(wait=True, partitions=numbers)
        self._forget(numbers)

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """They belong to somebody else already: nothing of them may be committed any more."""
        numbers = {self._number(each.topic, each.partition) for each in partitions}
        log.warning("partitions_lost", sink=self._sink.name, partitions=sorted(numbers))
        if not self._closing:
            self._withdraw(numbers)
        self._forget(numbers)

    def _withdraw(self, partitions: set[int]) -> None:
        concerned = {
            delivery_id
            for delivery_id, pending in self._pending.items()
            if all(partition in partitions for partition, _ in pending.places)
        }
        if not self._thread.withdraw(
            lambda notice: any(
                member.delivery_id in concerned or self._partition_of.get(_whose(member.alert)) in partitions
                for member in notice.members
            )
        ):
            log.error("sink_keeps_no_deadline", sink=self._sink.name)

    def _forget(self, partitions: set[int]) -> None:
        for number in partitions:
            self._progress.pop(number, None)
            self._committed.pop(number, None)
        for delivery_id, pending in list(self._pending.items()):
            pending.places[:] = [place for place in pending.places if place[0] not in partitions]
            if not pending.places:
                del self._pending[delivery_id]

        def theirs(notice: Notice) -> bool:
            return self._partition_of.get(_whose(notice.alert)) in partitions

        self._planner.forget(theirs)
        if not self._closing:
            self._thread.forget(theirs)

    def _settle_all(self) -> bool:
        """Publishes every end; False when the broker did not take them in time."""
        self._settle()
        taken = self._outcomes.flush()
        if not taken:
            log.error("outcomes_not_taken", sink=self._sink.name)
        return taken

    def _drain(self) -> None:
        self._withdraw(set(self._progress))
        if not self._settle_all():
            raise Fault(EXIT_BROKER, "the broker did not take every outcome; those alerts will be told again")
        self._commit(wait=True)
        log.info("router_drained", sink=self._sink.name, left_for_next_time=len(self._pending))

    def _close(self) -> None:
        self._closing = True
        self._pending.clear()
        SINK_PENDING.labels(self._sink.name).set(0)
        SINK_OLDEST.labels(self._sink.name).set(0)
        self._thread.close()
        self._consumer.close()
        self._producer.flush(CLOSE_SECONDS)
        self._told.close()


def _whose(alert: Alert) -> tuple[str, bool]:
    """What is all in one partition: a camera's alerts, or what `alerts.system` says of one thing."""
    return alert.camera_id, is_system(alert)
