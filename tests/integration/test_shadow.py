"""A candidate in the shadow, on a real broker, as processes that are killed, stopped and replaced."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cli.shadow import shadow
from replay.shadow_log import ShadowLog
from runtime.kafka import TopicPartition, admin
from runtime.provision import apply_topics
from runtime.revisions import RevisionLog
from schemas.codec import encode
from schemas.documents.rois import CameraRois, RoiDefaults, effective_rules
from schemas.effective import RoiRevision, revision_of
from schemas.messages import DetectionEvent
from tests.support.broker import read_all, running_broker, settings
from tests.support.pipeline import environment
from tests.support.rules import (
    BEGAN,
    ROOT,
    distinct,
    events,
    judged_in_memory,
    kill,
    log_end,
    publish_events,
    publish_revisions,
    running_worker,
    stop,
    wait_until,
    wait_until_committed,
)

CAMERAS = ("yard", "gate", "belt")
FROM_ALL = ("--from", str(BEGAN))

Start = Callable[..., "Popen[bytes]"]


def entry(camera_id: str, **roi: object) -> dict[str, Any]:
    """A camera's part of a `rois.yaml` that fits `tests.support.rules.events`."""
    zone: dict[str, object] = {
        "name": "zone",
        "units": "fractions",
        "points": [[0, 0.5], [0.9, 0.5], [0.9, 1], [0, 1]],
        "resolve_after_seconds": 3,
        "debounce_window_seconds": 20,
        **roi,
    }
    return {"camera_id": camera_id, "forbidden_rois": [zone], "alert_classes": ["object"]}


def document(**roi: object) -> dict[str, Any]:
    return {"cameras": [entry(camera_id, **roi) for camera_id in CAMERAS]}


def revisions(written: dict[str, Any]) -> dict[str, RoiRevision]:
    """The document as the active one from the beginning."""
    found = {}
    for each in written["cameras"]:
        rules = effective_rules(CameraRois.model_validate(each), RoiDefaults())
        found[rules.camera_id] = RoiRevision(rules.camera_id, revision_of(rules), 0, 0, "file", rules)
    return found


def undisturbed(
    made: dict[str, list[DetectionEvent]], written: dict[str, Any], since: int = 0
) -> dict[tuple[str, int], bytes]:
    """What the engine says of the whole history, of alerts that opened since then."""
    judged = [judged_in_memory(made[camera], rules) for camera, rules in revisions(written).items()]
    return distinct(encode(alert) for alert in chain.from_iterable(judged) if alert.opened_at >= since)


def in_turn(made: dict[str, list[DetectionEvent]], first: int, last: int | None) -> Iterator[DetectionEvent]:
    return chain.from_iterable(zip(*(each[first:last] for each in made.values()), strict=True))


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """Its confirm differs from that of `document()`."""
    file = tmp_path / "candidate.yaml"
    file.write_text(yaml.safe_dump(document(confirm={"hits": 5, "within_seconds": 2})))
    return file


@pytest.fixture
def environ(bootstrap: str, prefix: str, tmp_path: Path) -> dict[str, str]:
    return dict(environment(bootstrap, BACKSIGHT_PREFIX=prefix, BACKSIGHT_CONFIGS=str(tmp_path)))


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts shadows; whatever still runs at the end is killed."""
    started: list[Popen[bytes]] = []

    def begin(*arguments: str, command: Sequence[str] = ("shadow", "run"), **more: str) -> "Popen[bytes]":
        with (tmp_path / "shadow.log").open("ab") as out:
            argv = [sys.executable, "-m", "cli.main", *command, *arguments]
            started.append(Popen(argv, cwd=ROOT, env=environ | more, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            kill(process)


@pytest.fixture
def backsight(environ: dict[str, str]) -> Callable[..., Result]:
    """`backsight shadow …` but `run`, in this process."""
    return lambda *arguments: CliRunner(env=environ).invoke(shadow, list(arguments))


@pytest.fixture
def told(bootstrap: str, prefix: str, topics: object) -> Iterator[Callable[[], int]]:
    """How many events the shadow says it has judged, late ones included."""
    with telling(bootstrap, prefix) as count:
        yield count


@contextmanager
def telling(bootstrap: str, prefix: str) -> Iterator[Callable[[], int]]:
    """`told`, of any broker."""
    shadow_log = ShadowLog(settings(bootstrap), prefix)

    def count() -> int:
        shadow_log.refresh()
        candidate = shadow_log.candidate()
        if candidate is None:
            return -1
        progress = shadow_log.progress(candidate.shadow).values()
        return sum(camera.facts.judged + camera.facts.late for each in progress for camera in each.cameras)

    yield count
    shadow_log.close()


def shadow_alerts(bootstrap: str, prefix: str) -> dict[tuple[str, int], bytes]:
    return distinct(message.value() for message in read_all(bootstrap, f"{prefix}alerts.shadow"))


@pytest.mark.slow
def test_a_shadow_killed_again_and_again_has_the_alerts_of_one_that_never_was(
    bootstrap: str, prefix: str, start: Start, told: Callable[[], int], candidate: Path, tmp_path: Path
) -> None:
    made = {camera: events(camera, 6000, seed=3) for camera in CAMERAS}
    total = publish_events(bootstrap, prefix, in_turn(made, 0, 1000))

    # Killed where it has just said how far it is, with alerts open and episodes held back on one camera or another.
    for last in (2000, 3000):
        process = start("--rois", str(candidate), *FROM_ALL)
        wait_until(lambda total=total: told() == total, 40, [process])
        kill(process)
        total += publish_events(bootstrap, prefix, in_turn(made, last - 1000, last))

    # Killed amid a backlog, as soon as an alert is out that nothing says of yet that it was judged.
    total += publish_events(bootstrap, prefix, in_turn(made, 3000, None))
    with log_end(bootstrap, f"{prefix}alerts.shadow") as end:
        for _ in range(2):
            seen = end()
            process = start()
            wait_until(lambda seen=seen: end() > seen, 40, [process], look_seconds=0.005)
            kill(process)
    assert told() < total, "the backlog was too short for this test"
    process = start()
    wait_until(lambda: told() == total, 40, [process])
    assert stop(process, 8) == 0, (tmp_path / "shadow.log").read_text()

    written = yaml.safe_load(candidate.read_text())
    assert shadow_alerts(bootstrap, prefix) == undisturbed(made, written)
    assert read_all(bootstrap, f"{prefix}alerts") == []


def test_a_shadow_that_begins_amid_a_history_knows_what_was_before(
    bootstrap: str, prefix: str, start: Start, told: Callable[[], int], candidate: Path
) -> None:
    made = {camera: events(camera, 3000, seed=11) for camera in CAMERAS}
    publish_events(bootstrap, prefix, in_turn(made, 0, 2000))
    began = made["yard"][1500].captured_at
    process = start("--rois", str(candidate), "--from", str(began), "--follow", command=("replay", "rules"))
    later = sum(event.captured_at >= began for each in made.values() for event in each)
    wait_until(lambda: told() >= 0, 30, [process])
    publish_events(bootstrap, prefix, in_turn(made, 2000, None))
    wait_until(lambda: told() == later, 30, [process])
    assert stop(process, 8) == 0
    written = yaml.safe_load(candidate.read_text())
    expected = undisturbed(made, written, since=began)
    assert len(expected) > 10
    assert shadow_alerts(bootstrap, prefix) == expected


def test_another_document_is_refused_until_told_and_then_takes_over(
    start: Start, backsight: Callable[..., Result], told: Callable[[], int], candidate: Path, tmp_path: Path
) -> None:
    first = start("--rois", str(candidate))
    wait_until(lambda: told() == 0, 30, [first])
    began = json.loads(backsight("status", "--json").output)["shadow"]
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(document(severity="critical")))
    assert start("--rois", str(other)).wait(30) == 2
    assert "another candidate runs in the shadow" in (tmp_path / "shadow.log").read_text()
    assert json.loads(backsight("status", "--json").output)["shadow"] == began

    second = start("--rois", str(other), "--restart")
    assert first.wait(30) == 0, "the one before did not notice"
    assert json.loads(backsight("status", "--json").output)["candidate"] == str(other)
    stopped = backsight("stop")
    assert stopped.exit_code == 0, stopped.output
    assert second.wait(30) == 0
    for command in ("status", "report", "promote"):
        gone = backsight(command)
        assert (gone.exit_code, "no candidate is in the shadow" in gone.output) == (2, True)


def test_a_shadow_does_not_go_on_over_detections_that_are_gone(
    bootstrap: str, prefix: str, start: Start, told: Callable[[], int], candidate: Path, tmp_path: Path
) -> None:
    made = events("yard", 600, seed=5)
    publish_events(bootstrap, prefix, made[:300])
    process = start("--rois", str(candidate), *FROM_ALL)
    wait_until(lambda: told() == 300, 30, [process])
    assert stop(process, 8) == 0
    publish_events(bootstrap, prefix, made[300:])
    (place,) = {(each.topic(), each.partition()) for each in read_all(bootstrap, f"{prefix}detections")}
    cluster = admin(settings(bootstrap))
    for future in cluster.delete_records([TopicPartition(*place, 400)]).values():
        future.result(20)
    assert start().wait(30) == 2
    assert "offsets 300 to 400 of partition" in (tmp_path / "shadow.log").read_text()


def test_a_candidate_below_the_recorded_floor_is_refused_also_when_the_events_come_later(
    bootstrap: str, prefix: str, start: Start, told: Callable[[], int], tmp_path: Path
) -> None:
    low = tmp_path / "low.yaml"
    low.write_text(yaml.safe_dump(document(min_confidence=0.05)))
    process = start("--rois", str(low))
    wait_until(lambda: told() == 0, 30, [process])
    publish_events(bootstrap, prefix, events("yard", 1, seed=1))
    assert process.wait(20) == 2
    assert "the record cannot tell" in (tmp_path / "shadow.log").read_text()


@pytest.mark.slow
def test_the_report_compares_what_both_have_judged_and_promoting_makes_the_candidate_active(
    bootstrap: str,
    prefix: str,
    start: Start,
    backsight: Callable[..., Result],
    told: Callable[[], int],
    candidate: Path,
    tmp_path: Path,
) -> None:
    active = document()
    longer = {camera: events(camera, 3000, seed=9) for camera in CAMERAS}
    made = {camera: each[:2000] for camera, each in longer.items()}
    publish_revisions(bootstrap, prefix, revisions(active).values())
    total = publish_events(bootstrap, prefix, in_turn(made, 0, None))
    process = start("--rois", str(candidate), *FROM_ALL)
    wait_until(lambda: told() == total, 40, [process])
    assert stop(process, 8) == 0
    alone = backsight("report")
    assert (alone.exit_code, "is judged by both" in alone.output) == (2, True)

    with running_worker(bootstrap, prefix, tmp_path / "rules.log", BACKSIGHT_RULES_SESSION_SECONDS="6") as worker:
        wait_until_committed(bootstrap, prefix, total, 40, [worker])
        stop(worker)
    found = backsight("report", "--json")
    assert found.exit_code == 3, found.output
    comparison = json.loads(found.output)

    def opened(written: dict[str, Any]) -> set[str]:
        judged = (judged_in_memory(made[camera], rules) for camera, rules in revisions(written).items())
        return {alert.alert_id for alert in chain.from_iterable(judged)}

    for side, written in (("before", active), ("after", yaml.safe_load(candidate.read_text()))):
        ids = {each[side]["alert_id"] for each in comparison["differences"] if each[side]}
        assert ids == opened(written)
    assert sum(each["judged"] + each["late"] for each in comparison["cameras"]) == total

    # What the shadow alone has judged is no difference.
    total += publish_events(bootstrap, prefix, in_turn(longer, 2000, None))
    process = start()
    wait_until(lambda: told() == total, 40, [process])
    assert stop(process, 8) == 0
    again = json.loads(backsight("report", "--json").output)
    assert again["differences"] == comparison["differences"]

    unasked = backsight("promote")
    assert (unasked.exit_code, "--yes" in unasked.output) == (2, True)
    before = time.time() * 1000
    promoted = backsight("promote", "--yes")
    assert promoted.exit_code == 0, promoted.output
    assert "backsight config pull" in promoted.output
    log = RevisionLog(settings(bootstrap), prefix)
    log.refresh()
    log.close()
    for camera, rules in revisions(yaml.safe_load(candidate.read_text())).items():
        newest = log.history.newest(camera)
        assert newest is not None
        assert (newest.revision, newest.origin) == (rules.revision, "api")
        assert newest.effective_from >= before + 10_000
    assert "is active already" in backsight("promote", "--yes").output


@pytest.mark.slow
@pytest.mark.kafka
def test_a_lost_broker_is_waited_for_but_not_by_a_shadow_that_is_told_to_stop(
    candidate: Path, start: Start, tmp_path: Path
) -> None:
    made = {camera: events(camera, 1500, seed=13) for camera in CAMERAS}
    with running_broker() as broker, telling(broker.bootstrap, "") as count:
        apply_topics(admin(settings(broker.bootstrap)), "", partitions=3)
        total = publish_events(broker.bootstrap, "", in_turn(made, 0, 1000))
        here = {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "BACKSIGHT_PREFIX": ""}
        process = start("--rois", str(candidate), *FROM_ALL, **here)
        with log_end(broker.bootstrap, "alerts.shadow") as end:
            wait_until(lambda: end() > 0, 40, [process])
        broker.kill()
        broker.start()
        total += publish_events(broker.bootstrap, "", in_turn(made, 1000, None))
        wait_until(lambda: count() == total, 60, [process])
        expected = undisturbed(made, yaml.safe_load(candidate.read_text()))
        assert shadow_alerts(broker.bootstrap, "") == expected
        broker.kill()
        assert stop(process, 10) == 0, (tmp_path / "shadow.log").read_text()
