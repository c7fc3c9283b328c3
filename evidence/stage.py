"""The evidence stage: `alerts` → the evidence store, in the consumer group `evidence`.

A frame is taken from its topic as soon as its alert is read, and waits in memory while the store is away; so evidence
is not lost to retention while a store has a bad hour. An offset is committed when the alert before it is kept.
"""

import time
from collections import deque
from contextlib import closing
from typing import Final, NamedTuple

from evidence.keeping import Evidence, evidence_of, keep, roi_in
from evidence.store import EvidenceStore
from evidence.trouble import Trouble
from runtime.frame_records import FrameRecords
from runtime.health import Health
from runtime.kafka import (
    BrokerUnreachable,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
    consumer,
)
from runtime.lifecycle import EXIT_BROKER, EXIT_OK, Stop
from runtime.logs import get_logger
from runtime.metrics import (
    EVIDENCE_TROUBLE,
    EVIDENCE_WAITING,
    LAST_COMMIT,
    REBALANCES,
    RECORD_AGE,
    STAGE_RECORDS,
    STAGE_RECORDS_IN,
    STAGE_SECONDS,
)
from runtime.moving import Moving
from runtime.repeated import Repeated
from runtime.revisions import RevisionLog
from runtime.settings import Settings
from runtime.store import StoreTrouble
from schemas.codec import decode
from schemas.effective import RoiRules
from schemas.messages import Alert
from schemas.problems import Undecodable
from schemas.topics import ALERTS, DAY, FRAMES

GROUP: Final = "evidence"
MOST_WAITING: Final = 64
"""Alerts with their frames in memory while the store is away; with frames of 200 kB that is 26 MB."""
COMMIT_SECONDS: Final = 1.0
FORGET_EVERY_SECONDS: Final = 3600.0

log = get_logger(__name__)


class _Waiting(NamedTuple):
    """A record that was read, and what is to be kept of it; None where it asks for nothing."""

    record: Message
    alert: Alert | None
    evidence: Evidence | None


class EvidenceStage:
    """Reads alerts in order and keeps what opened them."""

    def __init__(self, settings: Settings, store: EvidenceStore, health: Health) -> None:
        self._told = settings.services.evidence
        self._store = store
        self._health = health
        self._alerts = ALERTS.full_name(settings.prefix)
        self._frames_topic = FRAMES.full_name(settings.prefix)
        self._consumer: Consumer = consumer(
            settings.kafka,
            f"{settings.prefix}{GROUP}",
            "backsight-evidence",
            max_poll_interval_ms=600_000,
            queued_max_messages_kbytes=4096,
        )
        self._frames = FrameRecords(settings.kafka, "backsight-evidence-frames")
        self._revisions = RevisionLog(settings.kafka, settings.prefix, "backsight-evidence-revisions")
        self._waiting: deque[_Waiting] = deque()
        self._paused = False
        self._trouble = Trouble()
        self._not_kept = Repeated(log, "evidence_not_kept")
        self._done: dict[int, int] = {}
        self._held: set[int] = set()
        self._moving = Moving(GROUP)
        self._finished = 0
        self._reached_at: int | None = None
        self._forget_at = self._commit_at = 0.0
        health.check("store", lambda: self._trouble.stuck(time.monotonic()))
        health.check("assigned", lambda: None if self._held else "has no partition of alerts yet")
        health.check("moving", self._moving.fault, "alive")

    def run(self, stop: Stop) -> int:
        """Until ``stop`` is set; answers an exit code."""
        self._consumer.subscribe([self._alerts], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
        with closing(self._consumer), closing(self._frames), closing(self._revisions):
            while not stop.is_set():
                self._health.beat()
                EVIDENCE_WAITING.set(len(self._waiting))
                fault = self._take()
                if fault is not None:
                    return fault
                self._keep()
                if time.monotonic() >= self._commit_at:
                    self._commit(wait=False)
                self._forget()
            self._trouble.over()  # one more attempt
            self._keep()
            self._commit(wait=True)
        return EXIT_OK

    def _take(self) -> int | None:
        """Reads one alert, and its frame with it. Answers an exit code where the stage cannot go on."""
        full = len(self._waiting) >= MOST_WAITING
        if full != self._paused:
            (self._consumer.pause if full else self._consumer.resume)(self._consumer.assignment())
            self._paused = full
        record = self._consumer.poll(0.2)
        if record is None:
            return None
        error = record.error()
        if error is None:
            STAGE_RECORDS_IN.labels(GROUP).inc()
            self._waiting.append(self._looked_up(record))
            return None
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART or error.fatal():
            log.error("evidence_stopped", reason=error.str())
            return EXIT_BROKER
        log.warning("consume_trouble", code=error.name(), reason=error.str())
        return None

    def _looked_up(self, record: Message) -> _Waiting:
        try:
            alert = decode(Alert, record.value(), record.headers() or [])
        except Undecodable as undecodable:
            # The router puts it on dead-letters; one copy there is enough.
            log.warning("alert_undecodable", reason=undecodable.reason, offset=record.offset())
            return _Waiting(record, None, None)
        too_old = alert.opened_at < _now() - self._told.days * DAY
        if alert.phase != "opened" or too_old:
            return _Waiting(record, None, None)
        try:
            return _Waiting(record, alert, self._evidence(alert))
        except BrokerUnreachable as unreachable:
            self._failed(str(unreachable))
            return _Waiting(record, alert, None)

    def _evidence(self, alert: Alert) -> Evidence:
        topic = alert.evidence.frame.topic
        if topic != self._frames_topic:  # which may not be there at all, and would be waited for
            return Evidence(
                None, None, f"the frame lies on {topic}, and frames of this installation on {self._frames_topic}"
            )
        return evidence_of(alert, self._frames, self._roi, self._told.quality)

    def _roi(self, alert: Alert) -> RoiRules | None:
        roi = roi_in(self._revisions.history.of(alert.camera_id), alert)
        if roi is None:
            self._revisions.refresh()
            roi = roi_in(self._revisions.history.of(alert.camera_id), alert)
        return roi

    def _keep(self) -> None:
        """Keeps what waits, in order, and commits it."""
        while self._waiting and self._trouble.may_try(time.monotonic()):
            record, alert, evidence = self._waiting[0]
            began = time.perf_counter()
            try:
                if alert is not None:
                    keep(self._store, alert, self._evidence(alert) if evidence is None else evidence, _now())
            except (StoreTrouble, BrokerUnreachable) as error:
                self._failed(str(error))
                return
            self._trouble.over()
            self._waiting.popleft()
            STAGE_RECORDS.labels(GROUP).inc()
            STAGE_SECONDS.labels(GROUP).observe(time.perf_counter() - began)
            self._finished += 1
            self._reached_at = record.timestamp()[1]
            RECORD_AGE.labels(GROUP).observe(max(0, _now() - self._reached_at) / 1000)
            self._done[record.partition()] = record.offset() + 1

    def _commit(self, *, wait: bool) -> None:
        self._commit_at = time.monotonic() + COMMIT_SECONDS
        if not wait:
            # A store that is away is waited for: `store` says so.
            self._moving.look(self._lag(), self._finished, self._reached_at, holding=bool(self._waiting))
        if not self._done:
            return
        places = [TopicPartition(self._alerts, number, offset) for number, offset in self._done.items()]
        self._done = {}
        try:
            self._consumer.commit(offsets=places, asynchronous=not wait)
        except KafkaException as error:  # made good by the next one; what is looked at again is kept once
            log.warning("commit_failed", reason=error.args[0].str())
        else:
            LAST_COMMIT.labels(GROUP).set_to_current_time()

    def _lag(self) -> int:
        """What waits in memory, and what is to be read, as far as the client knows."""
        lag = len(self._waiting)
        for place in self._consumer.position([TopicPartition(self._alerts, number) for number in self._held]):
            _, end = self._consumer.get_watermark_offsets(place, cached=True)
            lag += max(0, int(end) - int(place.offset)) if place.offset >= 0 else 0
        return lag

    def _failed(self, reason: str) -> None:
        now = time.monotonic()
        self._trouble.failed(now)
        EVIDENCE_TROUBLE.inc()
        self._not_kept.happened(round(now * 1000), reason=reason, waiting=len(self._waiting))

    def _forget(self) -> None:
        if time.monotonic() < self._forget_at:
            return
        self._forget_at = time.monotonic() + FORGET_EVERY_SECONDS
        try:
            gone = self._store.forget(_now() - self._told.days * DAY)
        except StoreTrouble as error:  # tried again in an hour
            log.warning("evidence_not_forgotten", reason=str(error))
            return
        if gone:
            log.info("evidence_forgotten", files=gone)

    def _assigned(self, _client: Consumer, partitions: list[TopicPartition]) -> None:
        REBALANCES.labels(GROUP).inc()
        self._held |= {each.partition for each in partitions}
        self._paused = False  # what is new is not

    def _revoked(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        self._commit(wait=True)
        self._lost(client, partitions)

    def _lost(self, _client: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {each.partition for each in partitions}
        self._held -= gone
        self._done = {number: offset for number, offset in self._done.items() if number not in gone}
        self._waiting = deque(each for each in self._waiting if each.record.partition() not in gone)


def _now() -> int:
    return round(time.time() * 1000)
