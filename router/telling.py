"""What a sink's stage does with each alert: who is told of it, when, how that ended, and that it is on record.

Alerts come in as they were read; notices go to the delivery thread as the plan has them; ends go to `deliveries`, and
once the broker has one, the places the alert was read from are done. Nothing here polls or commits.
"""

import queue
from collections.abc import Callable
from typing import Final, NamedTuple, get_args

from router.delivery_log import DeliveryLog
from router.delivery_thread import DeliveryThread
from router.lanes import Ended, wall_clock
from router.open_alerts import open_alerts
from router.outcomes import Outcomes, delivery_of
from router.places import OF_SYSTEM, Places
from router.planning import Plan, Planner
from router.retry import RetryPolicy
from router.routing import Leg, Terms, is_system
from router.sinks import Notice, Sink, SinkGone
from router.way import Fault, Way
from runtime.kafka import Message, producer
from runtime.lifecycle import EXIT_FAULT
from runtime.logs import get_logger
from runtime.metrics import DELIVERIES as DELIVERIES_TOTAL
from runtime.metrics import SINK_MAX_AGE, SINK_OLDEST, SINK_PENDING, STAGE_RECORDS_IN, STAGE_SECONDS
from runtime.settings import Settings
from runtime.signing import evidence_link
from runtime.tracing import Tracing, traceparent_of
from schemas.codec import decode
from schemas.messages import Alert, Delivery, Outcome
from schemas.problems import Undecodable
from schemas.topics import DAY, DELIVERIES

UNDECODABLE_IN_A_ROW: Final = 100
"""As many undecodable alerts one after the other are our fault, not theirs: a newer schema, or the wrong topic."""
CLOSE_SECONDS: Final = 2.0
RECORD_MS: Final = (DELIVERIES.retention_ms or 0) - DAY
"""How far back `deliveries` surely knows what was told: less a day, since clocks differ and segments go as a whole."""

log = get_logger(__name__)


class _Pending(NamedTuple):
    """A phase on its way since it was read (ms UTC). The same one may have been read twice; every place it was read
    from waits with it."""

    record: Message
    leg: Leg
    places: list[tuple[int, int]]
    since: int


class Telling:
    """Everything that is on its way to one sink. ``places`` learns what is done."""

    def __init__(
        self, settings: Settings, sink: Sink, way: Way, places: Places, tracing: Tracing | None = None
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._way = way
        self._places = places
        self._tracing = tracing
        self._planner = Planner(way.silenced)
        self._partition_of: dict[tuple[str, bool], int] = {}
        client = f"backsight-router-{sink.name}"
        self._producer = producer(settings.kafka, client)
        self._outcomes = Outcomes(self._producer, settings.prefix, sink.name)
        self._told = DeliveryLog(settings.kafka, settings.prefix, sink.name, f"{client}-log")
        age = sink.max_age_seconds
        policy = RetryPolicy(max_age_ms=None if age is None else round(age * 1000))
        for outcome in get_args(Outcome):
            DELIVERIES_TOTAL.labels(sink.name, outcome)  # from 0 on, or the first failure would be no increase
        if age is not None:
            SINK_MAX_AGE.labels(sink.name).set(age)
        self.ends: queue.SimpleQueue[Ended | SinkGone] = queue.SimpleQueue()
        self.thread = DeliveryThread(sink, policy, self.ends.put)
        self._pending: dict[str, _Pending] = {}
        self._undecodable = 0
        self.finished = 0
        """Phases whose end is on record, since the start."""
        self.reached_at: int | None = None
        """The record's timestamp of the newest of them."""

    @property
    def holding(self) -> bool:
        """Whether it waits on purpose: for a receiver that is away, or for company."""
        return self.thread.lanes.trouble.since is not None or self._planner.waits

    @property
    def pending(self) -> int:
        """Phases that were read and have not ended."""
        return len(self._pending)

    def offer(self, record: Message) -> None:
        """An alert was read. Raises `Fault` when too many in a row make no sense."""
        partition, offset = self._places.number(record.topic(), record.partition()), int(record.offset() or 0)
        self._places.begin(partition, offset)
        STAGE_RECORDS_IN.labels("router").inc()
        value = record.value()
        try:
            alert = decode(Alert, value, record.headers() or [])
        except Undecodable as undecodable:
            self._set_aside(record, undecodable, partition, offset)
            return
        self._undecodable = 0
        notice = self._notice(alert, value or b"", traceparent_of(record.headers()))
        self._partition_of[_whose(alert)] = partition
        waiting = self._pending.get(notice.delivery_id)
        leg = self._leg(notice)
        if waiting is not None:
            waiting.places.append((partition, offset))
        elif leg is None or self._told.has(notice.delivery_id, notice.instant):
            self._places.done(partition, offset)
        else:
            now = wall_clock()
            self._pending[notice.delivery_id] = _Pending(record, leg, [(partition, offset)], now)
            if alert.phase == "resolved" and self._was_unheard(alert):
                self._planner.know_open(notice, leg, now, silenced=True)
            self._follow(self._planner.take(notice, leg, now))

    def read_back(self) -> None:
        """After an assignment, and before anything of it is looked at: what was told already, and what is open."""
        self._told.refresh()
        sink_asks = hasattr(self._sink, "know_open")
        if not (sink_asks or self._way.repeats(self._sink.name) or self._told.knows_silenced):
            return
        committed = self._places.committed()
        now = wall_clock()
        known = [
            each for topic, done in committed.items() for each in open_alerts(self._settings.kafka, topic, done, now)
        ]
        for each in known:
            notice = self._notice(each.alert, each.value)
            leg = self._way.leg(self._sink.name, notice)
            if leg is not None and self._told.has(notice.delivery_id, notice.instant):
                self._partition_of[_whose(each.alert)] = OF_SYSTEM if is_system(each.alert) else each.partition
                silenced = self._told.was_silenced(notice.delivery_id)
                self._planner.know_open(notice, leg, now, silenced=silenced)
                if sink_asks and not silenced:
                    self.thread.know_open(notice)

    def settle(self, *, plan: bool) -> None:
        """Publishes the ends that the lanes have reported, tells what the ``plan`` has for now, and lets acks in."""
        while not self.ends.empty():
            self.end(self.ends.get_nowait())
        if plan:
            self._follow(self._planner.due(wall_clock()))
        self._outcomes.poll()
        SINK_PENDING.labels(self._sink.name).set(len(self._pending))
        oldest = next(iter(self._pending.values()), None)
        age = 0 if oldest is None else max(0, wall_clock() - oldest.record.timestamp()[1])
        SINK_OLDEST.labels(self._sink.name).set(age / 1000)

    def end(self, ended: Ended | SinkGone) -> None:
        """Publishes how each phase of the notice ended. Raises `Fault` where the sink can tell no more."""
        if isinstance(ended, SinkGone):
            raise Fault(EXIT_FAULT, str(ended))
        leg: Leg | None = None
        for member in ended.notice.members:
            single = ended._replace(notice=member)
            pending = self._pending.get(member.delivery_id)
            if pending is not None:
                leg = pending.leg
                self._trace(single, pending.since)
                self._outcomes.publish(single, pending.record, self._published)
            elif ended.end.outcome == "delivered":
                # Told again, or after a silence, or its partition was lost meanwhile: it was told all the same.
                self._outcomes.put(delivery_of(single, self._sink.name), self._published)
        self._follow(self._planner.ended(ended.notice, leg, wall_clock()))

    def flush(self) -> bool:
        """Waits for every ack; False when the broker did not take everything in time."""
        taken = self._outcomes.flush()
        if not taken:
            log.error("outcomes_not_taken", sink=self._sink.name)
        return taken

    def withdraw(self, partitions: set[int]) -> None:
        """Takes back what is of these partitions alone; attempts under way are awaited."""
        concerned = {
            delivery_id
            for delivery_id, pending in self._pending.items()
            if all(partition in partitions for partition, _ in pending.places)
        }
        theirs = self._theirs(partitions)
        if not self.thread.withdraw(
            lambda notice: any(member.delivery_id in concerned or theirs(member) for member in notice.members)
        ):
            log.error("sink_keeps_no_deadline", sink=self._sink.name)

    def forget(self, partitions: set[int], *, by_sink: bool) -> None:
        """They are another's. ``by_sink``: the sink, too, forgets what is open there."""
        for delivery_id, pending in list(self._pending.items()):
            pending.places[:] = [place for place in pending.places if place[0] not in partitions]
            if not pending.places:
                del self._pending[delivery_id]
        self._planner.forget(self._theirs(partitions))
        if by_sink:
            self.thread.forget(self._theirs(partitions))

    def stop(self) -> None:
        """Ends the delivery thread. What has not ended is told next time."""
        self._pending.clear()
        SINK_PENDING.labels(self._sink.name).set(0)
        SINK_OLDEST.labels(self._sink.name).set(0)
        self.thread.close()

    def close(self) -> None:
        """Gives the connections back."""
        self._producer.flush(CLOSE_SECONDS)
        self._told.close()

    def _set_aside(self, record: Message, undecodable: Undecodable, partition: int, offset: int) -> None:
        self._undecodable += 1
        log.warning("alert_undecodable", reason=undecodable.reason, partition=partition, offset=offset)
        self._outcomes.dead_letters.send(record, undecodable.reason, undecodable.detail)
        self._places.done(partition, offset)
        if self._undecodable >= UNDECODABLE_IN_A_ROW:
            raise Fault(
                EXIT_FAULT,
                f"{self._undecodable} undecodable alerts in a row; the newest: {undecodable.reason} at "
                f"{record.topic()}/{record.partition()}/{offset}. Is it written by a newer version?",
            )

    def _leg(self, notice: Notice) -> Leg | None:
        """The way of a phase. Who was told of an opening is told of its resolve, though the routes have changed since;
        who was not, is not.
        """
        alert = notice.alert
        leg = self._way.leg(self._sink.name, notice)
        if alert.phase == "opened":
            return leg
        opening = f"{alert.alert_id}_0"
        pending = self._pending.get(opening)
        if pending is not None:
            return leg or pending.leg
        if not self._told.has(opening, alert.opened_at):
            # Older than the record it may have been told all the same: a state that some sink keeps hangs on it.
            return leg if wall_clock() - alert.opened_at > RECORD_MS else None
        return leg or (None if self._told.was_silenced(opening) else Leg(self._sink.name, "route", Terms()))

    def _notice(self, alert: Alert, value: bytes, traceparent: str | None = None) -> Notice:
        # The link's time counts from the opening, so that whoever tells it says the same.
        link = None if is_system(alert) else evidence_link(self._settings, alert.alert_id, alert.opened_at)
        return Notice(alert, value, self._way.site(alert), evidence_url=link, traceparent=traceparent)

    def _was_unheard(self, alert: Alert) -> bool:
        """Whether nobody was told of the opening, be it by the process before this one."""
        opening = f"{alert.alert_id}_0"
        return self._told.has(opening, alert.opened_at) and self._told.was_silenced(opening)

    def _follow(self, plan: Plan) -> None:
        for notice in plan.tell:
            if notice.repeat and self._way.leg(self._sink.name, notice) is None:
                self._follow(self._planner.ended(notice, None, wall_clock()))  # the routes have changed since
                continue
            for member in notice.members:
                self._told.is_heard(member.delivery_id)
            self.thread.offer(notice)
        for notice in plan.kept_silent:
            now = wall_clock()
            self._outcomes.put(
                Delivery(notice.delivery_id, self._sink.name, "silenced", 0, now, now, "silence"), self._published
            )

    def _trace(self, ended: Ended, since: int) -> None:
        parent = ended.notice.traceparent
        if self._tracing is not None and parent is not None:
            name, end = self._sink.name, ended.end
            self._tracing.span("deliver", since, ended.last_attempt_at, parent, sink=name, outcome=end.outcome)

    def _published(self, delivery: Delivery) -> None:
        """The broker has the outcome: the places the alert was read from are done."""
        silenced = delivery.outcome == "silenced"
        self._told.add(delivery.delivery_id, delivery.last_attempt_at, silenced=silenced)
        pending = self._pending.pop(delivery.delivery_id, None)
        if pending is None:
            return
        self.finished += 1
        self.reached_at = pending.record.timestamp()[1]
        STAGE_SECONDS.labels("router").observe(max(0, wall_clock() - pending.since) / 1000)
        for partition, offset in pending.places:
            self._places.done(partition, offset)

    def _theirs(self, partitions: set[int]) -> Callable[[Notice], bool]:
        return lambda notice: self._partition_of.get(_whose(notice.alert)) in partitions


def _whose(alert: Alert) -> tuple[str, bool]:
    """What is all in one partition: a camera's alerts, or what `alerts.system` says of one thing."""
    return alert.camera_id, is_system(alert)
