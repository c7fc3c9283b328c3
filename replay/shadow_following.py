"""Following `detections` in the shadow: judge what comes, write its alerts, and say up to where."""

import time
from typing import Any, Final

from replay.judging import BelowFloor, instant_of
from replay.shadow_judging import PartitionJudging
from replay.shadow_log import CANDIDATE, Candidate, ShadowLog, header_of, is_of, progress_record, shadow_client
from replay.trial import Refused
from rules.engine import ENGINE_VERSION
from runtime.health import Health
from runtime.kafka import BrokerUnreachable, Consumer, KafkaError, Message, TopicPartition, reader
from runtime.lifecycle import Stop
from runtime.logs import get_logger
from runtime.metrics import LAST_COMMIT, RECORD_AGE, SHADOW_ALERTS, STAGE_RECORDS, STAGE_RECORDS_IN, STAGE_SECONDS
from runtime.moving import Moving
from runtime.repeated import Repeated
from runtime.settings import Settings
from schemas.codec import decode, encode, schema_header
from schemas.messages import Alert, DetectionEvent
from schemas.problems import Undecodable
from schemas.topics import ALERTS_SHADOW, DETECTIONS, SHADOW

STAGE: Final = "shadow"
HEADER: Final = "shadow"
"""Header of every alert on `alerts.shadow`: which shadow it is of."""
AT_A_TIME: Final = 2_000
PROGRESS_SECONDS: Final = 5.0
STOP_SECONDS: Final = 5.0
"""For the broker to take what was judged, when the process is told to stop."""

log = get_logger(__name__)


class Follower:
    """Judges what is there and what comes, from the candidate's progress on."""

    def __init__(self, settings: Settings, shadow_log: ShadowLog, candidate: Candidate, health: Health) -> None:
        self._candidate = candidate
        self._health = health
        self._detections = DETECTIONS.full_name(settings.prefix)
        self._alerts = ALERTS_SHADOW.full_name(settings.prefix)
        self._shadow = SHADOW.full_name(settings.prefix)
        progress, side = shadow_log.progress(candidate.shadow), candidate.side()
        self._partitions = {number: PartitionJudging(candidate, side, each) for number, each in progress.items()}
        self._written = {number: each.position for number, each in progress.items()}
        self._producer = shadow_client(settings)
        # Without "error", records that were deleted before they were read would be passed over in silence.
        self._consumer: Consumer = reader(settings.kafka, "backsight-shadow", auto_offset_reset="error")
        places = [TopicPartition(self._detections, number, position) for number, position in self._written.items()]
        self._consumer.assign([*places, TopicPartition(self._shadow, 0, shadow_log.position)])
        self._headers = [
            schema_header(Alert),
            ("engine", ENGINE_VERSION.encode()),
            (HEADER, candidate.shadow.encode()),
        ]
        self._stop = Stop()
        self._refused: list[str] = []
        self._waits_since: float | None = None
        self._stop_by: float | None = None
        self._replaced = False
        self._left_out = Repeated(log, "record_left_out")
        self._records, self._age = STAGE_RECORDS.labels(STAGE), RECORD_AGE.labels(STAGE)
        self._taken, self._seconds = STAGE_RECORDS_IN.labels(STAGE), STAGE_SECONDS.labels(STAGE)
        self._finished = 0
        self._reached_at: int | None = None
        self._moving = Moving(STAGE)

    def run(self, stop: Stop) -> bool:
        """Until ``stop`` is set, or the candidate is replaced or stopped: then the answer is False.

        Raises `BelowFloor`, `Refused` where detections were deleted before they were judged, `BrokerUnreachable` where
        the broker refuses what is written.
        """
        self._stop = stop
        self._health.check("broker", self._not_taken)
        self._health.check("moving", self._moving.fault, "alive")
        due = time.monotonic() + PROGRESS_SECONDS
        try:
            while not stop.is_set() and not self._replaced:
                self._health.beat()
                for record in self._consumer.consume(AT_A_TIME, 0.2):
                    self._take(record)
                if time.monotonic() >= due:
                    self._write_progress()
                    due = time.monotonic() + PROGRESS_SECONDS
            if not self._replaced:
                self._write_progress()
        except BelowFloor:
            self._write_progress()
            raise
        finally:
            self._consumer.close()
        return not self._replaced

    def _take(self, record: Message) -> None:
        error = record.error()
        if error is not None:
            self._trouble(record, error)
        elif record.topic() == self._shadow:
            if record.key() == CANDIDATE and not is_of(record.value(), self._candidate.shadow):
                self._replaced = True
        else:
            self._judge(record)

    def _judge(self, record: Message) -> None:
        began = time.perf_counter()
        self._taken.inc()
        number, offset = record.partition(), record.offset()
        partition = self._partitions[number]
        try:
            event = decode(DetectionEvent, record.value(), record.headers() or [])
            alerts = partition.judge(offset, event)
        except BelowFloor:
            raise
        except (Undecodable, ValueError) as error:  # the rules put those on dead-letters
            partition.leave_out(offset)
            self._finished += 1
            now = round(time.monotonic() * 1000)
            self._left_out.happened(now, partition=number, offset=offset, reason=f"{type(error).__name__}: {error}")
            return
        for alert in alerts:
            self._produce(
                self._alerts,
                key=alert.camera_id.encode(),
                value=encode(alert),
                partition=number,
                timestamp=instant_of(alert),
                headers=self._headers,
            )
            SHADOW_ALERTS.labels(alert.camera_id, alert.phase).inc()
        self._finished += 1
        self._reached_at = event.captured_at
        self._records.inc()
        self._seconds.observe(time.perf_counter() - began)
        self._age.observe(max(0.0, time.time() - event.captured_at / 1000))

    def _trouble(self, record: Message, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise Refused(f"detections were deleted before they were judged ({error.str()}); --restart begins anew")
        if error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise BrokerUnreachable(f"{record.topic()}: {error.str()}")
        log.warning("consume_trouble", code=error.name(), reason=error.str())

    def _produce(self, topic: str, **record: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, **record, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.2)
                self._wait()
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._refused.append(f"{message.topic()}: {error.str()}")

    def _write_progress(self) -> None:
        """Waits until the broker has every alert so far, then says so."""
        self._flush()
        now = round(time.time() * 1000)
        for number, partition in self._partitions.items():
            if partition.position != self._written[number]:
                key, value = record = progress_record(partition.progress(now))
                self._produce(self._shadow, key=key, value=value, partition=0, headers=header_of(record))
                self._written[number] = partition.position
        self._flush()
        LAST_COMMIT.labels(STAGE).set_to_current_time()
        self._moving.look(self._lag(), self._finished, self._reached_at)

    def _flush(self) -> None:
        while self._producer.flush(0.2):
            self._wait()
        self._waits_since = None
        self._check_taken()

    def _wait(self) -> None:
        """A turn of waiting for the broker, without end but when told to stop. Raises `BrokerUnreachable`."""
        self._health.beat()
        self._check_taken()
        now = time.monotonic()
        self._waits_since = self._waits_since or now
        if self._stop.is_set():
            self._stop_by = self._stop_by or now + STOP_SECONDS
            if now > self._stop_by:
                raise BrokerUnreachable("the broker did not take what was judged last; it will be judged again")

    def _check_taken(self) -> None:
        if self._refused:
            raise BrokerUnreachable(self._refused[0])

    def _not_taken(self) -> str | None:
        since = self._waits_since
        waits = 0.0 if since is None else time.monotonic() - since
        return None if waits < 10 else f"takes nothing for {waits:.0f} s"

    def _lag(self) -> int:
        """Records that wait, as far as the client knows."""
        waiting = 0
        for number, position in self._written.items():
            place = TopicPartition(self._detections, number)
            _, high = self._consumer.get_watermark_offsets(place, cached=True)
            waiting += max(0, high - position)
        return waiting
