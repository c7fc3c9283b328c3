"""Watches the installation and writes what is the matter to `alerts.system`, from where sinks are told.

Whichever router has the partition of that topic observes; the topic itself says what is open when another takes over.
"""

import contextlib
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec
from prometheus_client import Gauge

from router.configuration import CAMERAS, ROUTES, Configuration
from router.lanes import wall_clock
from router.routing import is_system
from router.system import WATCHDOG, Backlog, CameraFact, Facts, Growth, SystemWatch, watchdog
from runtime.configs import expand
from runtime.kafka import (
    OFFSET_END,
    BrokerUnreachable,
    Consumer,
    KafkaException,
    TopicPartition,
    consumer,
    deliver,
    log_spans,
    producer,
    reader,
)
from runtime.lifecycle import Stop
from runtime.logs import get_logger
from runtime.metrics import CONFIG_RELOAD_OK, SINK_BREAKER_OPEN
from runtime.repeated import Repeated
from runtime.settings import Settings, environment
from runtime.topic_reader import TopicReader
from schemas.codec import decode, encode, schema_header
from schemas.documents.cameras import Cameras, source_kind
from schemas.documents.reading import read_document, read_yaml
from schemas.documents.routes import SystemAlerts
from schemas.messages import Alert, CameraStatus, FrameRef, Skipped
from schemas.problems import BadDocument, Undecodable
from schemas.topics import ALERTS_SYSTEM, CAMERA_STATUS, DAY, DEAD_LETTERS, DETECTIONS, FRAMES, MINUTE

GROUP: Final = "router-system"
LOOK_SECONDS: Final = 2.0
LOOKED_BACK_MS: Final = 7 * DAY
STAGES: Final = {"inference": FRAMES, "rules": DETECTIONS}
"""Groups, and what they read. A sink that waits has its breaker to say so."""

STATUS_BELIEVED_MS: Final = 3 * MINUTE
"""A camera's status is said again every minute; what is older says that nobody reads the camera, and no more."""

log = get_logger(__name__)


class Way(Protocol):
    """What the router tells the observer, at any moment."""

    configuration: Configuration


class _Head(msgspec.Struct, frozen=True):
    """As much of a detection event as matters here."""

    camera_id: str
    frame: FrameRef
    skipped: Skipped | None = None


class Observer(threading.Thread):
    """Observes until ``stop`` is set, whenever this router is the one to do so and `routes.yaml` asks for it."""

    def __init__(self, settings: Settings, way: Way, stop: Stop) -> None:
        super().__init__(name="observer", daemon=True)
        self._settings = settings
        self._way = way
        self._stop_asked = stop
        self._topic = ALERTS_SYSTEM.full_name(settings.prefix)
        self._mine = False
        self._eyes: _Eyes | None = None
        self._watch = SystemWatch()
        self._last_watchdog: int | None = None

    def run(self) -> None:
        """The thread's own; use `start`."""
        trouble = Repeated(log, "observer_trouble")
        share = consumer(
            self._settings.kafka,
            f"{self._settings.prefix}{GROUP}",
            "backsight-router-system",
            fetch_wait_max_ms=5000,  # nothing that is fetched is of use
        )
        share.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)
        due = 0.0
        try:
            while not self._stop_asked.is_set():
                share.poll(0.2)
                limits = self._way.configuration.system
                if not self._mine or limits is None:
                    self._blink()
                elif time.monotonic() >= due:
                    due = time.monotonic() + LOOK_SECONDS
                    try:
                        self._look(limits)
                    except (BrokerUnreachable, KafkaException) as error:
                        trouble.happened(wall_clock(), reason=str(error))
                        self._blink()
        except Exception:
            log.exception("observer_broke")  # sinks go on without it
        finally:
            self._blink()
            share.close()

    def _assigned(self, share: Consumer, partitions: list[TopicPartition]) -> None:
        # Only who has it matters: what is in it is read by others.
        share.incremental_assign([TopicPartition(each.topic, each.partition, OFFSET_END) for each in partitions])
        self._mine = bool(partitions)

    def _revoked(self, _share: Consumer, _partitions: list[TopicPartition]) -> None:
        self._mine = False

    def _blink(self) -> None:
        """Forgets what was seen: the next look begins with what the topic says."""
        if self._eyes is not None:
            self._eyes.close()
            self._eyes = None

    def _look(self, limits: SystemAlerts) -> None:
        if self._eyes is None:
            self._read_back()
            self._eyes = _Eyes(self._settings, wall_clock())
            log.info("observing", topic=self._topic)
        configuration = self._way.configuration
        now = wall_clock()
        phases = self._watch.look(self._eyes.facts(configuration, now), limits, now)
        told = watchdog(limits.watchdog, self._last_watchdog, now) if limits.watchdog is not None else None
        if told is not None:
            self._last_watchdog = told[0].opened_at
            phases += told
        for alert in phases:
            self._eyes.write(self._topic, alert)
            log.info("system_alert", phase=alert.phase, label=alert.label, about=alert.roi, subject=alert.camera_id)

    def _read_back(self) -> None:
        """What is open, and when the last watchdog was, from the topic."""
        past = TopicReader(
            self._settings.kafka, self._topic, "backsight-router-system-past", since=wall_clock() - LOOKED_BACK_MS
        )
        found: dict[str, Alert] = {}
        self._last_watchdog = None
        try:
            for record in past.new():
                try:
                    alert = decode(Alert, record.value(), record.headers() or [])
                except Undecodable:
                    continue
                if not is_system(alert):
                    continue
                if alert.label == WATCHDOG:
                    self._last_watchdog = max(self._last_watchdog or 0, alert.opened_at)
                elif alert.phase == "opened":
                    found[alert.alert_id] = alert
                else:
                    found.pop(alert.alert_id, None)
        finally:
            past.close()
        self._watch = SystemWatch(found.values())


class _Eyes:
    """The clients with which it is looked, and what they have seen."""

    def __init__(self, settings: Settings, now: int) -> None:
        kafka, prefix = settings.kafka, settings.prefix
        self._configs = settings.configs
        self._began_at = now
        self._prefix = prefix
        self._seen: dict[str, CameraFact] = {}
        self._events = TopicReader(
            kafka, DETECTIONS.full_name(prefix), "backsight-router-system-events", since=now - MINUTE
        )
        self._statuses: dict[str, CameraStatus] = {}
        self._said = TopicReader(
            kafka,
            CAMERA_STATUS.full_name(prefix),
            "backsight-router-system-cameras",
            since=now - STATUS_BELIEVED_MS,
        )
        self._ends = reader(kafka, "backsight-router-system-ends")
        self._groups = {stage: consumer(kafka, prefix + stage, f"backsight-router-system-{stage}") for stage in STAGES}
        self._backlogs = {stage: Backlog() for stage in STAGES}
        self._letters = Growth(MINUTE)
        self._writer = producer(kafka, "backsight-router-system", linger_ms=0)

    def facts(self, configuration: Configuration, now: int) -> Facts:
        """What is so now. Raises `BrokerUnreachable`, `KafkaException`."""
        self._follow(now)
        return Facts(
            began_at=self._began_at,
            cameras=self._cameras(configuration, now),
            ages={stage: self._age(stage, now) for stage in STAGES},
            dead_letters=self._letters.look(sum(self._end_of(DEAD_LETTERS.full_name(self._prefix)).values()), now),
            breakers=frozenset(name for name in _ones(SINK_BREAKER_OPEN) if name in _names(configuration)),
            refused=ROUTES not in _ones(CONFIG_RELOAD_OK),
        )

    def write(self, topic: str, alert: Alert) -> None:
        """Puts the phase on the topic. Raises `BrokerUnreachable`."""
        deliver(
            self._writer, topic, key=alert.camera_id, value=encode(alert), headers=[schema_header(Alert)], partition=0
        )

    def close(self) -> None:
        """Gives the connections back."""
        self._events.close()
        self._said.close()
        self._ends.close()
        for group in self._groups.values():
            group.close()

    def _follow(self, now: int) -> None:
        for record in self._events.new():
            try:
                head = msgspec.json.decode(record.value() or b"", type=_Head)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # the rules say so
            before = self._seen.get(head.camera_id, CameraFact(""))
            if head.skipped == "offline":
                since = now if before.offline_since is None else before.offline_since
                after = CameraFact("", before.seen_at, since, frame=head.frame)
            else:
                after = CameraFact("", now, None, frame=head.frame)
            self._seen[head.camera_id] = after
        for record in self._said.new():
            with contextlib.suppress(Undecodable):
                status = decode(CameraStatus, record.value(), record.headers() or [])
                self._statuses[status.camera_id] = status

    def _frozen_since(self, camera: str, now: int) -> int | None:
        status = self._statuses.get(camera)
        if status is None or status.state != "frozen" or now - status.reported_at > STATUS_BELIEVED_MS:
            return None
        return status.since

    def _cameras(self, configuration: Configuration, now: int) -> Mapping[str, CameraFact]:
        """Every camera of `cameras.yaml`; where there is none, those that were seen."""
        known = _expected(self._configs)
        return {
            camera: msgspec.structs.replace(
                self._seen.get(camera, CameraFact("")),
                site=configuration.site_of(camera),
                expected=bool(known and known[camera]),
                frozen_since=self._frozen_since(camera, now),
            )
            for camera in (known or self._seen)
        }

    def _age(self, stage: str, now: int) -> int:
        topic = STAGES[stage].full_name(self._prefix)
        ends = self._end_of(topic)
        places = self._groups[stage].committed([TopicPartition(topic, number) for number in ends], timeout=10)
        done = {place.partition: place.offset for place in places if place.offset >= 0}
        return self._backlogs[stage].look(ends, done, now)

    def _end_of(self, topic: str) -> dict[int, int]:
        return {number: end for number, (_, end) in log_spans(self._ends, topic).items()}


def _expected(configs: Path) -> dict[str, bool]:
    """The cameras that are to be read, and whether their source should never end."""
    file = configs / CAMERAS
    try:
        cameras = read_document(Cameras, read_yaml(file.read_text(encoding="utf-8"), file.name), file.name).cameras
    except (OSError, UnicodeDecodeError, BadDocument):
        return {}
    return {
        camera.id: source_kind(expand(camera.url.get_secret_value(), environment(), "", [])) in ("rtsp", "device")
        for camera in cameras
        if camera.enabled
    }


def _ones(gauge: Gauge) -> list[str]:
    """The labels under which a gauge of this process is 1 ."""
    samples = [sample for metric in gauge.collect() for sample in metric.samples]
    return ["".join(sample.labels.values()) for sample in samples if sample.value == 1]


def _names(configuration: Configuration) -> Iterable[str]:
    return {sink.name for sink in configuration.sinks}
