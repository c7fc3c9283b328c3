"""What the Faust agent does with one record: decode, wait for the revisions, judge, send, write, acknowledge."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError

from rules.acknowledging import InOrder
from rules.engine import ENGINE_VERSION, Document, Judged, compile_rules, step
from rules.following import RevisionFollower
from rules.state import NEVER, CameraState
from rules.tables import RulesTables
from runtime import metrics
from runtime.dead_letters import dead_letter
from runtime.kafka import BrokerUnreachable
from runtime.logs import get_logger
from runtime.redact import redact
from runtime.repeated import Repeated
from runtime.tracing import Header, Tracing, traceparent_of
from schemas.codec import decode, encode, schema_header
from schemas.effective import RoiRevision
from schemas.messages import Alert, DetectionEvent
from schemas.problems import Undecodable
from schemas.topics import ALERTS, DEAD_LETTERS

STAGE: Final = "rules"

MOST_BAD_IN_A_ROW: Final = 100
"""So many records in a row that cannot be judged are no accident: something else writes to the topic."""

SEND_SECONDS: Final = 60.0
"""An alert that the broker has not taken after this long ends the process, unacknowledged."""

log = get_logger(__name__)


class TooManyBad(RuntimeError):
    """The topic holds something else than detection events."""


class Judge:
    """The agent's body and what it keeps in memory. One per process: a Faust agent handles one event at a time."""

    def __init__(
        self,
        app: Any,
        prefix: str,
        tables: RulesTables,
        revisions: RevisionFollower,
        failed: Callable[..., None],
        tracing: Tracing | None = None,
    ) -> None:
        self._app = app
        self._alerts = ALERTS.full_name(prefix)
        self._dead_letters = DEAD_LETTERS.full_name(prefix)
        self._tables = tables
        self._revisions = revisions
        self._failed = failed
        self._tracing = tracing
        self._cameras: dict[str, CameraState] = {}
        self._watermarks: dict[str, int] = {}
        self._documents: dict[str, tuple[RoiRevision, Document]] = {}
        self._unruled: set[str] = set()
        self._bad_in_a_row = 0
        self._repeated: dict[tuple[str, str], Repeated] = {}
        self._records = metrics.STAGE_RECORDS.labels(STAGE)
        self._age = metrics.RECORD_AGE.labels(STAGE)
        self._taken = metrics.STAGE_RECORDS_IN.labels(STAGE)
        self._seconds = metrics.STAGE_SECONDS.labels(STAGE)
        self.waiting = InOrder(failed)
        self.stopping = False
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self.finished = 0
        """Records judged or put away since the start, for the watchdog."""
        self.reached_at: int | None = None
        """The capture time (ms UTC) of the event judged last."""

    def read_back(self, watermarks: dict[str, int]) -> None:
        """The tables are as their changelogs say: everything known from before is forgotten."""
        self.waiting.forget()
        self._cameras.clear()
        self._documents.clear()
        metrics.ROI_REVISION.clear()  # a camera that is judged elsewhere now has none here
        self._watermarks = watermarks
        self._tables.read_back()

    async def run(self, stream: Any) -> None:
        """Judges until the app stops. Catches what its own work throws, since Faust would acknowledge and go on."""
        unacknowledged = stream.noack()
        async for _ in unacknowledged:
            event = unacknowledged.current_event
            if self.stopping or not self.is_ours(event.message):
                continue
            self._at_rest.clear()
            self._taken.inc()
            began = time.perf_counter()
            try:
                await self._take(event)
                self._seconds.observe(time.perf_counter() - began)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self.stopping = True
                self._failed(error)
            finally:
                self._at_rest.set()

    def is_ours(self, message: Any) -> bool:
        """Whether the record's partition is ours in the generation in which the record was fetched."""
        app = self._app
        return bool(
            message.generation_id == app.consumer_generation_id and app.flow_control.is_active() and not app.rebalancing
        )

    async def drained(self) -> None:
        """Takes no more events; returns when those taken are acknowledged."""
        self.stopping = True
        await self._at_rest.wait()
        await self.waiting.all_acknowledged()

    async def _take(self, event: Any) -> None:
        message = event.message
        began = time.time()
        try:
            detected = decode(DetectionEvent, message.value, message.headers)
        except Undecodable as bad:
            await self._put_away(event, bad.reason, bad.detail)
            return
        if not self._revisions.covers(detected.captured_at) and not await self._revisions.until_covered(
            detected.captured_at, lambda: self.is_ours(message) and not self.stopping
        ):
            return
        camera_id = detected.camera_id
        state = self._cameras.get(camera_id)
        if state is None:
            state = self._tables.camera(camera_id, self._watermarks.get(camera_id, NEVER))
        try:
            judged = step(self._document(camera_id, detected.captured_at), state, detected)
        except Exception as error:
            log.exception("unjudgeable", camera=camera_id, offset=message.offset, partition=message.partition)
            await self._put_away(event, "unjudgeable", f"{type(error).__name__}: {error}")
            return
        traced = [] if self._tracing is None else self._traced(self._tracing, message, detected, judged, began)
        for alert in judged.alerts:
            await self._send_alert(message.partition, alert, traced)
        written = []
        if judged.changed or judged.remembered:
            if not self.is_ours(message):
                return
            written = self._tables.write(camera_id, message.partition, detected.captured_at, judged)
        self._cameras[camera_id] = judged.state
        self.waiting.add(event, written)
        self._bad_in_a_row = 0
        self._count(detected, judged)
        if written:
            await self.waiting.room()

    def _document(self, camera_id: str, captured_at: int) -> Document | None:
        revision = self._revisions.at(camera_id, captured_at)
        if revision is None:
            if camera_id not in self._unruled:
                self._unruled.add(camera_id)
                log.warning("camera_without_rois", camera=camera_id)
            return None
        known = self._documents.get(camera_id)
        if known is not None and known[0] == revision:
            return known[1]
        document = compile_rules(revision.document, revision.revision, revision.effective_from)
        self._documents[camera_id] = (revision, document)
        if known is not None:
            with contextlib.suppress(KeyError):
                metrics.ROI_REVISION.remove(camera_id, known[0].revision)
        metrics.ROI_REVISION.labels(camera_id, revision.revision).set(1)
        log.info("revision_applies", camera=camera_id, revision=revision.revision, since=revision.effective_from)
        return document

    def _traced(
        self, tracing: Tracing, message: Any, detected: DetectionEvent, judged: Judged, began: float
    ) -> list[Header]:
        """The header for the event's alerts. A frame that raises one is traced whether it was sampled or not."""
        parent = traceparent_of(message.headers)
        if parent is None:
            if not any(alert.phase == "opened" for alert in judged.alerts):
                return []
            parent = tracing.looked_back(detected.camera_id, detected.captured_at, message.headers)
        return [tracing.span("judge", began * 1000, time.time() * 1000, parent, camera=detected.camera_id)]

    async def _send_alert(self, partition: int, alert: Alert, traced: list[Header]) -> None:
        instant = alert.opened_at if alert.resolved_at is None else alert.resolved_at
        key, headers = alert.camera_id.encode(), [schema_header(Alert), ("engine", ENGINE_VERSION.encode()), *traced]
        await self._send(self._alerts, key, encode(alert), partition, instant, headers)
        metrics.ALERTS.labels(alert.camera_id, alert.severity, alert.phase).inc()
        if alert.phase == "opened" and alert.suppressed:
            metrics.ALERTS_SUPPRESSED.labels(alert.camera_id).inc(alert.suppressed)
        facts = {"camera": alert.camera_id, "roi": alert.roi, "label": alert.label, "alert_id": alert.alert_id}
        log.info(f"alert_{alert.phase}", **facts, at=instant, revision=alert.roi_revision)

    async def _put_away(self, event: Any, reason: str, detail: str) -> None:
        """Puts the record on `dead-letters` and acknowledges it."""
        message = event.message
        value, headers = dead_letter(
            STAGE,
            (message.topic, message.partition, message.offset),
            round((message.timestamp or 0) * 1000),
            message.value,
            list(message.headers or ()),
            reason,
            detail,
        )
        await self._send(self._dead_letters, message.key, value, None, None, headers)
        metrics.DEAD_LETTERS.labels(STAGE, reason).inc()
        self._sometimes("record_put_away", kind=reason, detail=detail, partition=message.partition)
        self.waiting.add(event, [])
        self.finished += 1
        self._records.inc()
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= MOST_BAD_IN_A_ROW:
            raise TooManyBad(
                f"{self._bad_in_a_row} records of {message.topic} in a row cannot be judged; the last, partition "
                f"{message.partition} offset {message.offset}: {reason}; is something else writing to the topic?"
            )

    async def _send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: int | None,
        headers: list[tuple[str, bytes]],
    ) -> None:
        """Sends one record and awaits its ack; raises `BrokerUnreachable` when it was not taken within 60 s."""
        began = time.monotonic()
        # Faust multiplies by 1000 and cuts the rest off: the half keeps the millisecond what it was.
        seconds = None if timestamp is None else (timestamp + 0.5) / 1000
        while True:
            try:
                await self._app.producer.send_and_wait(topic, key, value, partition, seconds, headers)
            except (KafkaError, ProducerSendError) as error:
                metrics.PRODUCE_ERRORS.labels(STAGE).inc()
                if time.monotonic() - began > SEND_SECONDS:
                    raise BrokerUnreachable(f"{topic}: not taken within {SEND_SECONDS:g} s: {error}") from error
                self._sometimes("send_failed", kind=type(error).__name__, reason=redact(str(error)), topic=topic)
                await asyncio.sleep(0.5)
            else:
                return

    def _count(self, detected: DetectionEvent, judged: Judged) -> None:
        self.finished += 1
        self.reached_at = detected.captured_at
        self._records.inc()
        if judged.late:
            metrics.EVENTS_LATE.inc()
        if judged.hits:
            metrics.HITS.labels(detected.camera_id).inc(judged.hits)
        if judged.unlisted:
            metrics.LABELS_UNLISTED.labels(detected.camera_id).inc(len(judged.unlisted))
        if judged.out_of_bounds:
            log.warning(
                "rois_reach_beyond_the_picture",
                camera=detected.camera_id,
                rois=list(judged.out_of_bounds),
                size=[detected.width, detected.height],
            )
        self._age.observe(max(0.0, time.time() - detected.captured_at / 1000))

    def _sometimes(self, event: str, **facts: Any) -> None:
        """Logs at once and then at most once a minute per reason; the metrics count every one."""
        repeated = self._repeated.setdefault((event, str(facts.get("kind"))), Repeated(log, event))
        repeated.happened(round(time.monotonic() * 1000), **facts)
