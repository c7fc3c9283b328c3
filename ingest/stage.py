"""The ingest process: who runs which cameras, until told to stop or until every file has ended."""

import contextlib
import threading
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from ingest.camera import CameraRun, State
from ingest.capture_clock import ArrivalClock
from ingest.headway import FRAMES_AHEAD, Headway
from ingest.leases import Leases
from ingest.publisher import Publisher
from ingest.roster import Roster
from ingest.statuses import Statuses
from ingest.tail import last_captured
from ingest.ticker import Ticker
from runtime import metrics
from runtime.configs import ResolvedCamera
from runtime.health import CannotServe, Health
from runtime.kafka import BrokerUnreachable, KafkaException, admin, wait_for_broker
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_FAULT, EXIT_OK, Stop
from runtime.logs import get_logger
from runtime.settings import Settings, environment
from runtime.tracing import Tracing
from schemas.partitioning import partition_of
from schemas.topics import CAMERA_STATUS, FRAMES, INGEST_LEASES

STAGE: Final = "ingest"
POLL_SECONDS: Final = 0.2
STOP_SECONDS: Final = 5.0
"""A camera that hangs in a read is left behind after this; it sends nothing any more."""

FLUSH_SECONDS: Final = 5.0

log = get_logger(__name__)


def run(settings: Settings, stop: Stop) -> int:
    """Runs the stage; answers the process's exit code. Raises `BadDocument` when `cameras.yaml` does not check."""
    roster = Roster(settings.configs, environment())
    try:
        wait_for_broker(settings.kafka, 30.0)
        partitions = _partitions(settings)
    except BrokerUnreachable as error:
        log.error("broker_unreachable", reason=str(error))
        return EXIT_BROKER
    health = Health(STAGE, stop.is_set)
    try:
        process = IngestProcess(settings, roster, partitions, health)
        health.serve(settings.health_port, settings.health_host)  # with its checks in place
        return process.run(stop)
    except CannotServe as error:
        log.error("cannot_listen", reason=str(error))
        return EXIT_FAULT
    finally:
        health.close()


class Partitions(NamedTuple):
    """How many partitions the cluster's topics have, which are not the registry's count everywhere."""

    frames: int
    leases: int


def _partitions(settings: Settings) -> Partitions:
    """Asks the cluster; raises `BrokerUnreachable` naming a topic that is missing."""
    found = admin(settings.kafka, "backsight-ingest").list_topics(timeout=10).topics
    counts = []
    for topic in (FRAMES, INGEST_LEASES):
        name = topic.full_name(settings.prefix)
        if name not in found:
            raise BrokerUnreachable(f"the topic {name} does not exist; `backsight topics apply` creates it")
        counts.append(len(found[name].partitions))
    return Partitions(*counts)


class IngestProcess:
    """The cameras this process runs. All but the cameras' own threads happens in `run`, one thing after another."""

    def __init__(self, settings: Settings, roster: Roster, partitions: Partitions, health: Health) -> None:
        self._settings = settings
        self._roster = roster
        self._partitions = partitions
        self._health = health
        self._topic = FRAMES.full_name(settings.prefix)
        self._arrival = ArrivalClock(time.time() * 1000, time.monotonic() * 1000)
        self._arrival_lock = threading.Lock()
        self._runs: dict[str, CameraRun] = {}
        self._publisher = Publisher(settings.kafka, self._topic, Tracing.of(settings, STAGE))
        self._statuses = Statuses(settings.kafka, CAMERA_STATUS.full_name(settings.prefix))
        self._headway = Headway(settings.kafka, settings.prefix, self._topic)
        self._leases = Leases(settings.kafka, settings.prefix, partitions.leases, self._stop_partitions)
        health.check("leases", lambda: None if self._leases.settled else "waiting for the group")
        health.check("cameras", self._cameras_fault)
        health.check("every camera", self._camera_fault, "degraded")

    def run(self, stop: Stop) -> int:
        """Until ``stop``, or until every camera is a file that has ended."""
        ticker = Ticker(lambda: list(self._runs.values()))
        ticker.start()
        try:
            while not stop.is_set():
                self._leases.poll(POLL_SECONDS)
                self._roster.look()
                self._settle()
                self._health.beat()
                if self._publisher.fault is not None:
                    log.error("frame_lost", reason=self._publisher.fault)
                    return EXIT_BROKER
                if self._all_done():
                    failed = any(each.state is State.FAILED for each in self._runs.values())
                    return EXIT_CONFIG if failed else EXIT_OK
            return EXIT_OK
        finally:
            ticker.stop()
            self._stop(list(self._runs))
            left = self._publisher.close(FLUSH_SECONDS)
            if left:
                log.warning("frames_not_delivered", frames=left)
            self._headway.close()
            self._statuses.close(FLUSH_SECONDS)
            self._leases.close()

    def _settle(self) -> None:
        """Starts and stops cameras until those that run are those that should."""
        wanted = {name: each for name, each in self._roster.cameras.items() if self._leases.holds(name)}
        self._stop(name for name, each in self._runs.items() if wanted.get(name) != each.resolved)
        starting = [each for name, each in wanted.items() if name not in self._runs]
        if not starting:
            return
        try:
            thorough = {each.camera.id: not each.camera.realtime for each in starting}
            known = last_captured(self._settings.kafka, self._topic, thorough, self._partitions.frames)
        except KafkaException as error:
            log.warning("frames_not_read", reason=error.args[0].str())
            return  # the broker is away: tried again at the next turn
        for each in starting:
            self._start(each, known.get(each.camera.id))

    def _start(self, resolved: ResolvedCamera, after: int | None) -> None:
        now = self.now()
        if resolved.camera.realtime and after is not None and after > now + 5000:
            log.warning("captured_at_ahead", camera=resolved.camera.id, seconds=round((after - now) / 1000, 1))
        run = CameraRun(resolved, self._publisher, self.now, after, self._has_room, self._statuses.tell)
        self._runs = {**self._runs, resolved.camera.id: run}
        run.start()

    def _stop(self, names: Iterable[str]) -> None:
        """Stops cameras side by side and forgets them."""
        stopped = {name: self._runs[name] for name in names}
        for each in stopped.values():
            each.stop()
        deadline = time.monotonic() + STOP_SECONDS
        for name, each in stopped.items():
            if not each.join(max(0.0, deadline - time.monotonic())):
                log.warning("camera_hangs", camera=name)
            if each.camera.realtime:
                self._publisher.drain(name, 0.5)
            self._publisher.remove(name)
            self._statuses.forget(name)
            _forget_gauges(name)
        # Another dict, not a changed one: other threads read it.
        self._runs = {name: run for name, run in self._runs.items() if name not in stopped}

    def _stop_partitions(self, taken: set[int]) -> None:
        self._stop([name for name in self._runs if partition_of(name, self._partitions.leases) in taken])

    def _all_done(self) -> bool:
        """Whether there are cameras and each of them is a file that has ended."""
        return self._leases.settled and bool(self._runs) and all(each.done for each in self._runs.values())

    def now(self) -> float:
        """The arrival clock, the same for all cameras; from any thread."""
        with self._arrival_lock:
            return self._arrival.now(time.time() * 1000, time.monotonic() * 1000)

    def _has_room(self, camera_id: str) -> bool:
        places = {partition_of(name, self._partitions.frames) for name in self._runs}
        committed = self._headway.committed(partition_of(camera_id, self._partitions.frames), places)
        return self._publisher.ahead(camera_id, committed) < FRAMES_AHEAD

    def _cameras_fault(self) -> str | None:
        runs = list(self._runs.values())
        if not self._roster.cameras:
            return "cameras.yaml has no enabled camera"
        if not runs or any(each.state is not State.AWAY for each in runs):
            return None
        return f"none of {len(runs)} cameras gives pictures"

    def _camera_fault(self) -> str | None:
        away = sorted(name for name, each in self._runs.items() if each.state is State.AWAY)
        return f"no pictures from {', '.join(away[:10])}{' …' if len(away) > 10 else ''}" if away else None


def _forget_gauges(camera_id: str) -> None:
    """A camera that is read elsewhere now says nothing here."""
    for gauge in (metrics.CAMERA_UP, metrics.CAMERA_FROZEN, metrics.CAMERA_LAST_FRAME):
        with contextlib.suppress(KeyError):
            gauge.remove(camera_id)
