"""`backsight up`: broker, topics, ROIs, stages; watching them; ending them in order with nothing left behind."""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live

from runtime.broker import BrokerError, LocalBroker
from runtime.broker.ports import is_free
from runtime.configs import Checked
from runtime.kafka import BrokerUnreachable, admin, wait_for_broker
from runtime.lifecycle import EXIT_BROKER, EXIT_FAULT, EXIT_OK, Stop
from runtime.pipeline.drain import IDLE_SECONDS, Stalled, await_group
from runtime.pipeline.figures import Figures, as_table, scrape, summarise
from runtime.pipeline.processes import StageProcess
from runtime.pipeline.warnings import LogWarnings
from runtime.provision import apply_topics
from runtime.revisions import RevisionLog, publish_revisions
from runtime.roi_apply import plan_revisions
from runtime.settings import KafkaSettings
from schemas.topics import ALERTS, DETECTIONS, FRAMES

DEFAULT_PORT: Final = 9092
LOOK_SECONDS: Final = 0.2
REDRAW_SECONDS: Final = 1.0


@dataclass(frozen=True)
class UpOptions:
    """What `backsight up` was told.

    ``duration`` None: until Ctrl-C or the end of every file. ``broker_port`` None: 9092, or a free one where that is
    taken. ``show_alert`` gets each line the router prints; None lets them pass to our own stdout untouched.
    ``sinks`` names those that are told; it is asked at the end. ``on_started`` and ``before_end`` are called with the
    cluster's settings (the demo reads its topics there).
    """

    configs: Path
    data: Path
    checked: Checked
    environ: Mapping[str, str]
    sinks: Callable[[], Sequence[str]]
    prefix: str = ""
    duration: float | None = None
    broker_port: int | None = None
    api: bool = True
    show_alert: Callable[[bytes], None] | None = None
    console: Console = field(default_factory=lambda: Console(stderr=True))
    on_started: Callable[[KafkaSettings], None] | None = None
    before_end: Callable[[KafkaSettings], None] | None = None


def run_up(options: UpOptions, stop: Stop) -> int:
    """Runs until told to stop, until ``duration`` has passed, or until every source is a file that has ended.

    Answers an exit code. Whatever happens, no process and no port of ours is left behind.
    """
    settings = options.checked.settings
    assert settings is not None, "run_up is called with documents that check"
    say = options.console.print
    kafka = settings.kafka
    broker: LocalBroker | None = None
    started_broker = False
    if not settings.kafka_is_given:
        port = options.broker_port
        if port is None:
            port = DEFAULT_PORT if is_free(DEFAULT_PORT) else 0
        # Bound: should this process be killed, the broker it started ends with it.
        broker = LocalBroker(data=options.data / "kafka", port=port, bound=True)
        try:
            started_broker = broker.start()
        except BrokerError as error:
            say(f"[red]error:[/] {error}")
            return EXIT_BROKER
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
        say(f"Kafka at {broker.bootstrap}" + ("" if started_broker else " (was running)"))
    try:
        return _with_kafka(options, kafka, stop)
    except BrokerUnreachable as error:
        say(f"[red]error:[/] {error}")
        return EXIT_BROKER
    finally:
        if broker is not None and started_broker:
            broker.stop()


def _with_kafka(options: UpOptions, kafka: KafkaSettings, stop: Stop) -> int:
    say = options.console.print
    wait_for_broker(kafka)
    client = admin(kafka)
    changed = apply_topics(client, options.prefix)
    if changed:
        say(f"topics: {len(changed)} created or changed")
    _apply_rois(options, kafka)
    environ = {
        **options.environ,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "BACKSIGHT_CONFIGS": str(options.configs),
        "BACKSIGHT_PREFIX": options.prefix,
        **_own_stores(options),
    }
    pipe = None if options.show_alert is None else _AlertPipe(options.show_alert)
    stages = _stages(options, environ, sys.stdout.fileno() if pipe is None else pipe.writing)
    try:
        for stage in stages.values():
            stage.start()
        if options.on_started is not None:
            options.on_started(kafka)
        code = _watch(options, stages, stop)
        if code == EXIT_OK and not stop.is_set():
            code = _drain(options, kafka, stages, stop)
        if options.before_end is not None and code == EXIT_OK:
            options.before_end(kafka)
    finally:
        for name in ("ingest", "inference", "rules", "router", "evidence", "api"):
            if name in stages:
                stages[name].tell_to_stop()
                stages[name].wait_stopped()
        if pipe is not None:
            pipe.close()
    return code


def _stages(options: UpOptions, environ: Mapping[str, str], alerts_to: int) -> dict[str, StageProcess]:
    commands = {
        "evidence": ["evidence"],
        "router": ["router"],
        "rules": ["rules", "run"],
        "inference": ["inference"],
        "ingest": ["ingest"],
    }
    if options.api:
        commands = {"api": ["api"], **commands}
    stages: dict[str, StageProcess] = {}
    for name, command in commands.items():
        log = options.data / "logs" / f"{name}.log"
        stages[name] = StageProcess(name, command, environ, log, alerts_to if name == "router" else None)
    return stages


def _own_stores(options: UpOptions) -> dict[str, str]:
    """Pictures, evidence and tokens lie with everything else of this run, unless somebody said where."""
    settings = options.checked.settings
    assert settings is not None, "run_up is called with documents that check"
    told = settings.services
    own = {
        "PICTURE_MEMORY_URL": (told.picture_memory, "url", options.data / "pictures"),
        "EVIDENCE_URL": (told.evidence, "url", options.data / "evidence"),
        "API_TOKENS_FILE": (told.api, "tokens_file", options.data / "tokens.json"),
    }
    return {name: str(place) for name, (section, key, place) in own.items() if key not in section.model_fields_set}


def _apply_rois(options: UpOptions, kafka: KafkaSettings) -> None:
    settings = options.checked.settings
    assert settings is not None, "run_up is called with documents that check"
    log = RevisionLog(kafka, options.prefix)
    try:
        log.refresh()
        plan = plan_revisions(log.history, options.checked.rois, settings.roi_defaults, round(time.time() * 1000))
        publish_revisions(kafka, options.prefix, plan.publish)
    finally:
        log.close()
    for camera_id in plan.overruled:
        options.console.print(
            f"[yellow]warning:[/] {camera_id}: the ROIs that came through the API stay active, not those of rois.yaml "
            "(`backsight config pull` or `backsight config apply --force`)"
        )
    later = [revision for revision in plan.publish if revision.effective_from]
    if later:
        ahead = max(revision.effective_from for revision in later) / 1000 - time.time()
        options.console.print(f"ROIs of {len(later)} camera(s) changed, they take effect in {ahead:.0f} s")


def _watch(options: UpOptions, stages: Mapping[str, StageProcess], stop: Stop) -> int:
    """Until told to stop, out of time, or out of pictures."""
    ends_at = None if options.duration is None else time.monotonic() + options.duration
    terminal = options.console.is_terminal
    redraw_at = 0.0
    logs = [LogWarnings(stage.log) for stage in stages.values()]
    with Live(console=options.console, auto_refresh=False, transient=True) if terminal else _Nothing() as live:
        while not stop.wait(LOOK_SECONDS):
            for stage in stages.values():
                code = stage.watch(lambda text: options.console.print(text, markup=False))
                if code is not None:
                    return code
            for text in (text for log in logs for text in log.new()):
                options.console.print(text, markup=False, highlight=False, soft_wrap=True)
            now = time.monotonic()
            if stages["ingest"].finished or (ends_at is not None and now >= ends_at):
                break
            if terminal and now >= redraw_at:
                redraw_at = now + REDRAW_SECONDS
                states = {name: _state(stage) for name, stage in stages.items()}
                live.update(as_table(figures_of(stages), states), refresh=True)
    return EXIT_OK


def figures_of(stages: Mapping[str, StageProcess]) -> Figures:
    """What the stages say of themselves now."""
    return summarise({name: scrape(stage.health_port) for name, stage in stages.items() if name != "api"})


def _state(stage: StageProcess) -> str:
    if stage.finished:
        return "ended"
    if stage.pid is None:
        return "down"
    return "up" if stage.starts == 1 else f"up (start {stage.starts})"


def _drain(options: UpOptions, kafka: KafkaSettings, stages: Mapping[str, StageProcess], stop: Stop) -> int:
    """Each topic's end is frozen in turn and the next group's commit awaited, so that the last frame is judged."""
    stages["ingest"].tell_to_stop()
    stages["ingest"].wait_stopped()
    stages["ingest"].finished = True
    steps = (
        (FRAMES, "inference"),
        (DETECTIONS, "rules"),
        (ALERTS, "evidence"),
        *((ALERTS, f"router.{sink}") for sink in options.sinks()),
    )
    codes: list[int] = []

    def told_to_stop(seconds: float) -> bool:
        # The stages stay watched: one that dies while draining is started again.
        for stage in stages.values():
            code = stage.watch(lambda text: options.console.print(text, markup=False))
            if code is not None:
                codes.append(code)
        return stop.wait(seconds) or bool(codes)

    stalled: list[str] = []
    for topic, group in steps:
        try:
            done = await_group(
                kafka,
                topic.full_name(options.prefix),
                options.prefix + group,
                told_to_stop=told_to_stop,
                # Sinks work beside one another: the next had as long as the one that was waited for.
                idle_seconds=LOOK_SECONDS if stalled else IDLE_SECONDS,
            )
        except Stalled as why:
            options.console.print(f"[red]error:[/] {why}", soft_wrap=True)
            stalled.append(group)
            if topic is ALERTS:
                continue  # a sink that is away keeps no other from being waited for
            return EXIT_FAULT
        if not done:
            return codes[0] if codes else EXIT_OK
    return EXIT_FAULT if stalled else EXIT_OK


class _AlertPipe:
    """What the router prints, line by line to ``show``; one pipe for every start of the router."""

    def __init__(self, show: Callable[[bytes], None]) -> None:
        self._show = show
        reading, self.writing = os.pipe()
        self._lines = os.fdopen(reading, "rb")
        self._thread = threading.Thread(target=self._read, name="alerts", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._lines:
            self._show(line)

    def close(self) -> None:
        """After the router has ended: shows what is left."""
        os.close(self.writing)
        self._thread.join(5)
        self._lines.close()


class _Nothing:
    """Stands in for the live display where there is no terminal."""

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, *_: object, **__: object) -> None:
        return None
