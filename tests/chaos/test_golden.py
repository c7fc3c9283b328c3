"""One golden history, judged in every way there is: byte-identical alerts per camera.

In CI two and a half minutes of three cameras; `make chaos-rules` judges half an hour of four with twenty kills.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from cli.archive import archive
from cli.replay_options import open_source
from replay.run import Side, judge
from replay.spans import Span
from replay.trial import read_history
from rules.engine import step
from rules.state import NEW_CAMERA, CameraState
from runtime.kafka import admin
from runtime.provision import apply_topics
from runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.messages import Alert, DetectionEvent
from tests.chaos.test_rules_kill import is_held, is_open
from tests.support import golden
from tests.support.broker import new_prefix, remove_prefixed, settings
from tests.support.reference import Published
from tests.support.rules import (
    alerts_of,
    committed,
    kill,
    log_end,
    publish_events,
    publish_revisions,
    start_worker,
    stop,
    wait_until,
    wait_until_committed,
)
from tests.support.rules_shell import Documents, judge_all

SECONDS, CAMERAS, KILLS = (1800, 4, 20) if os.environ.get("BACKSIGHT_LONG") else (150, 3, 2)
SEED = int(os.environ.get("BACKSIGHT_SEED", "7"))
PATIENCE = 60 + SECONDS / 5
SHORT_SESSION = {"BACKSIGHT_RULES_SESSION_SECONDS": "6"}
Sequences = dict[str, list[bytes]]


class Golden(NamedTuple):
    """The history, its documents, and what the engine in memory makes of them."""

    events: dict[str, list[DetectionEvent]]
    documents: dict[str, list[Published]]
    alerts: Sequences
    span: Span


@pytest.fixture(scope="module")
def truth() -> Golden:
    began = golden.an_hour_ago(SECONDS)
    cameras = golden.CAMERAS[:CAMERAS]
    events = {camera: golden.history(camera, SECONDS, began, SEED) for camera in cameras}
    documents = {
        camera: [
            Published(each.effective_from, each.revision, each.document)
            for each in golden.revisions(camera, SECONDS, began, SEED)
        ]
        for camera in cameras
    }
    alerts = {camera: [encode(each) for each in judge_all(documents[camera], events[camera])[0]] for camera in cameras}
    assert all(len(each) >= SECONDS // 30 for each in alerts.values()), (
        "a history in which little happens proves little"
    )
    return Golden(events, documents, alerts, Span(began - 60_000, began + (SECONDS + 3600) * 1000))


class Ground(NamedTuple):
    """Topics of one way of judging."""

    bootstrap: str
    prefix: str
    log: Path


@pytest.fixture
def ground(bootstrap: str, tmp_path: Path, truth: Golden) -> Iterator[Ground]:
    prefix = new_prefix()
    apply_topics(admin(settings(bootstrap)), prefix, partitions=3)
    began = truth.span.begin + 60_000
    for camera in truth.events:
        publish_revisions(bootstrap, prefix, golden.revisions(camera, SECONDS, began, SEED))
    yield Ground(bootstrap, prefix, tmp_path / "rules.log")
    remove_prefixed(bootstrap, prefix)


@pytest.fixture
def start(ground: Ground) -> Iterator[Callable[[], Popen[bytes]]]:
    """Starts workers; whatever still runs at the end is killed."""
    started: list[Popen[bytes]] = []

    def begin() -> Popen[bytes]:
        started.append(start_worker(ground.bootstrap, ground.prefix, ground.log, **SHORT_SESSION))
        return started[-1]

    yield begin
    for worker in started:
        if worker.poll() is None:
            kill(worker)


def publish(ground: Ground, events: dict[str, list[DetectionEvent]]) -> int:
    """The cameras by turns, as they come."""
    turns = chain.from_iterable(zip_longest(*events.values()))
    return publish_events(ground.bootstrap, ground.prefix, (event for event in turns if event is not None))


def recorded(ground: Ground) -> Sequences:
    """What the worker sent, per camera in its order, each phase once; doubles must be equal to the byte."""
    found: dict[str, dict[tuple[str, int], bytes]] = {}
    for value in alerts_of(ground.bootstrap, ground.prefix):
        alert = decode(Alert, value)
        assert found.setdefault(alert.camera_id, {}).setdefault((alert.alert_id, alert.seq), value) == value
    return {camera: list(alerts.values()) for camera, alerts in found.items()}


def replayed(ground: Ground, source_words: str, span: Span) -> Sequences:
    """What replay makes of it, by the revisions on the topic."""
    told = Settings(kafka=settings(ground.bootstrap), prefix=ground.prefix)
    source = open_source(told, source_words)
    try:
        (judgement,) = judge(source, span, [Side.recorded("recorded", read_history(told))])
    finally:
        source.close()
    return {camera: [encode(each) for each in outcome.alerts] for camera, outcome in judgement.outcomes.items()}


@pytest.mark.slow
@pytest.mark.timeout(600 + SECONDS)
def test_judged_live_and_again_from_kafka_and_from_the_archive(
    truth: Golden,
    ground: Ground,
    start: Callable[[], Popen[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The command would set the whole process's logging up, and other tests read it.
    monkeypatch.setattr("cli.archive.configure_logs", lambda _stage: None)
    worker = start()
    total, pieces = 0, 5
    for piece in range(pieces):  # it judges while more comes
        part = {
            camera: events[len(events) * piece // pieces : len(events) * (piece + 1) // pieces]
            for camera, events in truth.events.items()
        }
        total += publish(ground, part)
    wait_until_committed(ground.bootstrap, ground.prefix, total, PATIENCE, [worker])
    assert stop(worker) == 0
    assert recorded(ground) == truth.alerts
    assert replayed(ground, "kafka", truth.span) == truth.alerts

    written = CliRunner().invoke(
        archive,
        ["run", "--until-end", "--to", str(tmp_path / "archive"), "--prefix", ground.prefix, "--configs", "none"],
        env={"KAFKA_BOOTSTRAP_SERVERS": ground.bootstrap},
    )
    assert written.exit_code == 0, written.output
    assert replayed(ground, f"archive:{tmp_path / 'archive'}", truth.span) == truth.alerts


@pytest.mark.slow
@pytest.mark.timeout(600 + SECONDS)
def test_judged_by_a_worker_an_hour_late(truth: Golden, ground: Ground, start: Callable[[], Popen[bytes]]) -> None:
    total = publish(ground, truth.events)
    worker = start()
    wait_until_committed(ground.bootstrap, ground.prefix, total, PATIENCE, [worker])
    assert stop(worker) == 0
    assert recorded(ground) == truth.alerts


@pytest.mark.slow
@pytest.mark.timeout(600 + 2 * SECONDS)
def test_judged_by_workers_that_are_killed(truth: Golden, ground: Ground, start: Callable[[], Popen[bytes]]) -> None:
    """Once while an alert is open, once while an episode is held back, then at random moments amid a backlog."""
    camera = next(iter(truth.events))
    cut_open = first_where(truth, camera, is_open, after=50)
    cut_held = first_where(truth, camera, is_held, after=cut_open + 20)
    total = 0
    for first, last in ((0, cut_open), (cut_open, cut_held)):
        total += publish(ground, {camera: truth.events[camera][first:last]})
        worker = start()
        wait_until_committed(ground.bootstrap, ground.prefix, total, PATIENCE, [worker])
        kill(worker)
    total += publish(ground, truth.events | {camera: truth.events[camera][cut_held:]})
    dice = random.Random(SEED)
    for number in range(KILLS):
        with log_end(ground.bootstrap, f"{ground.prefix}alerts") as end:
            goal = end() + dice.randint(1, max(1, sum(map(len, truth.alerts.values())) // (2 * KILLS)))
            worker = start()
            done = f"kill {number} (BACKSIGHT_SEED={SEED})"
            wait_until(
                lambda goal=goal: end() >= goal or committed(ground.bootstrap, ground.prefix) >= total,
                PATIENCE,
                [worker],
                look_seconds=0.005,
            )
            kill(worker)
            print(done, "at", goal, "alerts")
    worker = start()
    wait_until_committed(ground.bootstrap, ground.prefix, total, PATIENCE, [worker])
    assert stop(worker) == 0
    assert recorded(ground) == truth.alerts


def first_where(truth: Golden, camera: str, wanted: Callable[[CameraState], bool], after: int) -> int:
    """The number of events after which the camera's state is as wanted."""
    documents, state = Documents(truth.documents[camera]), NEW_CAMERA
    for number, event in enumerate(truth.events[camera]):
        state = step(documents.at(event.captured_at), state, event).state
        if number >= after and wanted(state):
            return number + 1
    raise AssertionError("the golden history never comes to that")
