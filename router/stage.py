"""The router's process: every sink in a consumer group and a thread of its own, so that a dead one holds up nobody."""

import importlib.util
import sys
import threading
import time
from typing import Final, NamedTuple

from router.configuration import CAMERAS, ROUTES, Configuration, contents, load_router, named_sink
from router.observing import Observer
from router.routing import SYSTEM, Leg, Terms, is_system, legs, nodes
from router.silencing import SilenceFollower
from router.sink_stage import SinkStage
from router.sinks import Notice, Sink
from router.system import WATCHDOG
from router.watched import Watched
from router.way import Fault
from runtime.health import CannotServe, Health
from runtime.kafka import BrokerUnreachable, KafkaException, admin, wait_for_broker
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_FAULT, EXIT_OK, Stop
from runtime.logs import get_logger
from runtime.metrics import CONFIG_RELOAD_OK, RELOADS
from runtime.settings import Settings, environment
from runtime.tracing import Tracing
from schemas.messages import Alert
from schemas.problems import BadDocument, Problem
from schemas.topics import ALERTS, ALERTS_SYSTEM, CAMERA_STATUS, DEAD_LETTERS, DELIVERIES, SILENCES

AGAIN_SECONDS: Final = 30.0
"""A sink's stage that ended by a fault is begun again after as long, while others go on."""
OBSERVER_SECONDS: Final = 5.0
"""What the observer gets to end; with the broker away it would take longer."""

log = get_logger(__name__)

if importlib.util.find_spec("sniffio") is None:
    # httpcore asks for it several times per request, and what is not there is looked for on disk every time: a quarter
    # of what a POST costs.
    sys.modules["sniffio"] = None  # type: ignore[assignment]


class _Running(NamedTuple):
    sink: Sink
    thread: threading.Thread
    stop: Stop
    ended: list[tuple[int, str]]


class Router:
    """Every sink of a configuration, running, and the configuration kept as its documents say."""

    def __init__(
        self,
        settings: Settings,
        configuration: Configuration,
        watched: Watched,
        silences: SilenceFollower,
        health: Health,
        stop: Stop,
    ) -> None:
        self._settings = settings
        self._watched = watched
        self._silences = silences
        self._health = health
        self._stop = stop
        self._running: dict[str, _Running] = {}
        self._again: dict[str, float] = {}
        self._stages: dict[str, SinkStage] = {}
        self._tracing = Tracing.of(settings, "router")
        health.check("sinks", self._all_stuck)
        health.check("every sink", self._ended, "degraded")
        self.configuration = configuration
        for sink in configuration.sinks:
            self._awaits(sink)

    def run(self) -> int:
        """Until told to stop, or until the only sink has ended; answers the exit code."""
        code: int | None = None
        over = Stop()
        observer = Observer(self._settings, self, over)
        observer.start()
        while code is None:
            self._reconcile()
            if self._stop.wait(0.1):
                break
            if self._watched.changed():
                self._reload()
            code = self._look()
        over.set()
        for running in self._running.values():
            running.stop.set()
        for running in self._running.values():
            running.thread.join()
            if running.ended:
                code = running.ended[0][0]
        observer.join(OBSERVER_SECONDS)
        return code or EXIT_OK

    def _reload(self) -> None:
        """Takes up changed documents; one that does not check changes nothing."""
        before = self.configuration
        try:
            if before.words == ROUTES and not (self._settings.configs / ROUTES).exists():
                raise BadDocument([Problem(ROUTES, "is gone; without it a restart goes by ALERTING_PROTOCOL")])
            configuration = load_router(self._settings, environment(), before)
        except BadDocument as bad:
            for problem in bad.problems:
                log.error("reload_refused", place=problem.place, problem=problem.message)
            RELOADS.labels(ROUTES, "refused").inc()
            CONFIG_RELOAD_OK.labels(ROUTES).set(0)
            return
        for warning in configuration.warnings:
            log.warning("doubtful_setting", place=warning.place, problem=warning.message)
        self.configuration = configuration
        self._again = dict.fromkeys(self._again, 0.0)  # whatever ended them may have been mended
        RELOADS.labels(ROUTES, "taken").inc()
        CONFIG_RELOAD_OK.labels(ROUTES).set(1)
        names = [sink.name for sink in configuration.sinks]
        begun = [sink.name for sink in configuration.sinks if sink not in before.sinks]
        ended = [sink.name for sink in before.sinks if sink not in configuration.sinks]
        log.info("reloaded", by=configuration.words, sinks=names, begun=begun, ended=ended)

    def _reconcile(self) -> None:
        """Begins the sinks that should run and do not; tells those to end that should not run (any more, or so)."""
        wanted = {sink.name: sink for sink in self.configuration.sinks}
        for name, running in self._running.items():
            if wanted.get(name) is not running.sink:
                running.stop.set()
        for name, sink in wanted.items():
            if name in self._running or self._again.get(name, 0.0) > time.monotonic():
                continue
            if self._again.pop(name, None) is None:
                self._begin(sink)
            else:
                self._begin_anew(sink)

    def _begin_anew(self, sink: Sink) -> None:
        """Begins a new one in the place of a sink that was closed; later again, where it does not open."""
        try:
            anew = named_sink(self._settings, environment(), sink.name)
        except BadDocument as bad:
            log.error("sink_does_not_open", sink=sink.name, problem=str(bad.problems[0]))
            self._again[sink.name] = time.monotonic() + AGAIN_SECONDS
            return
        sinks = tuple(anew if each is sink else each for each in self.configuration.sinks)
        self.configuration = self.configuration._replace(sinks=sinks)
        self._begin(anew)

    def _awaits(self, sink: Sink) -> None:
        """Says that the sink has no partitions, until its stage says so itself: it begins in a thread of its own."""
        self._health.check(f"{sink.name}: assigned", lambda: "has not begun yet")

    def _begin(self, sink: Sink) -> None:
        self._awaits(sink)
        ended: list[tuple[int, str]] = []
        stop = Stop()
        stage = threading.Thread(target=self._serve, args=(sink, stop, ended), name=f"stage-{sink.name}", daemon=True)
        self._running[sink.name] = _Running(sink, stage, stop, ended)
        stage.start()

    def _serve(self, sink: Sink, stop: Stop, ended: list[tuple[int, str]]) -> None:
        try:
            stage = self._stages[sink.name] = SinkStage(self._settings, sink, self, self._health, self._tracing)
            stage.run(stop)
        except Fault as fault:
            ended.append((fault.code, str(fault)))
        except BrokerUnreachable as unreachable:
            ended.append((EXIT_BROKER, str(unreachable)))
        except Exception as error:
            log.exception("sink_stage_broke", sink=sink.name)
            ended.append((EXIT_FAULT, type(error).__name__))
        finally:
            self._stages.pop(sink.name, None)
            self._health.uncheck(f"{sink.name}: assigned")  # of a stage that could not begin

    def _all_stuck(self) -> str | None:
        stuck = [stage.stuck() for stage in list(self._stages.values())]
        return "; ".join(map(str, stuck)) if stuck and all(stuck) else None

    def _ended(self) -> str | None:
        again = sorted(self._again)
        return f"{', '.join(again)}: ended by a fault, begun again in at most {AGAIN_SECONDS:g} s" if again else None

    def leg(self, sink: str, notice: Notice) -> Leg | None:
        """See `router.way.Way`. What moves something in the world is not told of Backsight's own troubles."""
        if is_system(notice.alert):
            if sink not in (each.name for each in self.configuration.sinks if not each.actuates):
                return None
            if notice.alert.label == WATCHDOG:
                return Leg(sink, WATCHDOG, Terms(send_resolved=False))
        return next((leg for leg in legs(self.configuration.tree, notice.labels) if leg.sink == sink), None)

    def site(self, alert: Alert) -> str:
        """See `router.way.Way`."""
        return alert.camera_id if alert.roi == f"{SYSTEM}site" else self.configuration.site_of(alert.camera_id)

    def silenced(self, notice: Notice, now: int) -> bool:
        """See `router.way.Way`."""
        return self._silences.holds(notice.labels, now)

    def repeats(self, sink: str) -> bool:
        """See `router.way.Way`."""
        return any(
            sink in node.sinks and node.terms.repeat_every_ms is not None for node in nodes(self.configuration.tree)
        )

    def _look(self) -> int | None:
        """Says which sinks ended. The only one ends the process: its code; one of several is begun again later."""
        for name, running in list(self._running.items()):
            if running.thread.is_alive():
                continue
            del self._running[name]
            if running.stop.is_set() and not running.ended:
                continue
            code, reason = running.ended[0] if running.ended else (EXIT_FAULT, "it ended without a word")
            log.error("sink_stopped", sink=name, reason=reason)
            if [sink.name for sink in self.configuration.sinks] == [name]:
                return code
            self._again[name] = time.monotonic() + AGAIN_SECONDS
        return None


def check_topics(settings: Settings) -> None:
    """Raises `Fault` naming every topic of ours that is missing: a group that subscribes to one waits in silence."""
    try:
        found = admin(settings.kafka, "backsight-router").list_topics(timeout=10).topics
    except KafkaException as error:
        raise BrokerUnreachable(error.args[0].str()) from None
    missing = [
        name
        for topic in (ALERTS, ALERTS_SYSTEM, DELIVERIES, DEAD_LETTERS, SILENCES, CAMERA_STATUS)
        if (name := topic.full_name(settings.prefix)) not in found
    ]
    if missing:
        raise Fault(EXIT_BROKER, f"there is no topic {' or '.join(missing)}; `backsight topics apply` creates them")


def run(settings: Settings, stop: Stop) -> int:
    """Delivers until ``stop`` is set; answers the process's exit code."""
    documents = [settings.configs / ROUTES, settings.configs / CAMERAS]
    watched = Watched(documents, contents=lambda file: contents(file, environment()))
    try:
        configuration = load_router(settings, environment())
    except BadDocument as bad:
        for problem in bad.problems:
            log.error("bad_setting", place=problem.place, problem=problem.message)
        return EXIT_CONFIG
    for warning in configuration.warnings:
        log.warning("doubtful_setting", place=warning.place, problem=warning.message)
    if configuration.words == ROUTES and settings.services.alerting.protocol != "stdout":
        log.info("routes_win", over=f"ALERTING_PROTOCOL={settings.services.alerting.protocol}")
    CONFIG_RELOAD_OK.labels(ROUTES).set(1)
    health = Health("router", stop.is_set)
    silences = SilenceFollower(settings.kafka, settings.prefix)
    try:
        wait_for_broker(settings.kafka)
        check_topics(settings)
        router = Router(settings, configuration, watched, silences, health, stop)
        health.serve(settings.health_port, settings.health_host)  # with its checks in place
        names = [sink.name for sink in configuration.sinks]
        log.info("router_started", by=configuration.words, sinks=names, topic=ALERTS.full_name(settings.prefix))
        silences.start()
        return router.run()
    except Fault as fault:
        log.error("router_stopped", reason=str(fault))
        return fault.code
    except BrokerUnreachable as unreachable:
        log.error("broker_unreachable", reason=str(unreachable))
        return EXIT_BROKER
    except CannotServe as error:
        log.error("cannot_listen", reason=str(error))
        return EXIT_FAULT
    finally:
        silences.stop()
        health.close()
