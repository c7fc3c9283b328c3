"""The rules worker on a real broker: golden alerts, bad records, rebalances, revisions, and how it ends."""

import json
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from subprocess import Popen

import msgspec
import pytest

from rules.engine import ENGINE_VERSION
from runtime.kafka import deliver, producer
from runtime.lifecycle import EXIT_BROKER, EXIT_FAULT
from schemas.codec import encode, schema_header
from schemas.messages import Alert, DetectionEvent
from tests.support.broker import read_all, settings, write_all
from tests.support.rules import (
    alerts_of,
    distinct,
    events,
    judged_in_memory,
    log_end,
    publish_events,
    publish_revisions,
    revision,
    running_worker,
    start_worker,
    stop,
    wait_until,
    wait_until_committed,
)

SHORT_SESSION = {"BACKSIGHT_RULES_SESSION_SECONDS": "6"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where workers write their logs."""
    return tmp_path / "rules.log"


@pytest.fixture
def worker(bootstrap: str, prefix: str, topics: dict[str, str], log: Path) -> Iterator["Popen[bytes]"]:
    """One worker on fresh topics."""
    with running_worker(bootstrap, prefix, log, **SHORT_SESSION) as started:
        yield started


def test_what_cannot_be_read_goes_to_dead_letters_and_the_rest_is_judged(
    bootstrap: str, prefix: str, topics: dict[str, str], worker: "Popen[bytes]"
) -> None:
    rules = revision("yard")
    made = events("yard", 400, seed=3)
    publish_revisions(bootstrap, prefix, [rules])
    sender = producer(settings(bootstrap), "test-bad")
    good = [schema_header(DetectionEvent)]
    bad = {
        b"no json": good,
        encode(made[0]): [("schema", b"detection-event/99"), ("trace", b"abc")],
        b'{"camera_id": "yard"}': good,
        None: good,
    }
    half = len(made) // 2
    publish_events(bootstrap, prefix, made[:half])
    for value, headers in bad.items():
        deliver(sender, topics["detections"], value=value, key="yard", headers=headers)
    publish_events(bootstrap, prefix, made[half:])
    wait_until_committed(bootstrap, prefix, len(made) + len(bad), 30, [worker])

    letters = read_all(bootstrap, topics["dead-letters"])
    assert sorted(letter.value() or b"" for letter in letters) == sorted(value or b"" for value in bad)
    told = {letter.value(): dict(letter.headers()) for letter in letters}
    unknown = told[encode(made[0])]
    assert unknown["stage"] == b"rules"
    assert unknown["reason"] == b"unknown_schema"
    assert unknown["origin_topic"] == topics["detections"].encode()
    assert unknown["original.trace"] == b"abc"
    assert {headers["reason"] for headers in told.values()} == {b"bad_value", b"unknown_schema", b"empty"}
    assert all(letter.key() == b"yard" for letter in letters)
    assert distinct(alerts_of(bootstrap, prefix)) == distinct(map(encode, judged_in_memory(made, rules)))
    assert stop(worker) == 0


def test_an_alert_lies_in_its_events_partition_under_its_camera_dated_by_its_phase(
    bootstrap: str, prefix: str, topics: dict[str, str], worker: "Popen[bytes]"
) -> None:
    cameras = ("yard", "gate", "belt", "dock")
    made = {camera: events(camera, 300, seed=5) for camera in cameras}
    publish_revisions(bootstrap, prefix, [revision(camera) for camera in cameras])
    total = publish_events(bootstrap, prefix, chain.from_iterable(made.values()))
    wait_until_committed(bootstrap, prefix, total, 30, [worker])

    home = {message.key(): message.partition() for message in read_all(bootstrap, topics["detections"])}
    sent = read_all(bootstrap, topics["alerts"])
    assert sent
    for message in sent:
        alert = msgspec.json.decode(message.value(), type=Alert)
        assert message.partition() == home[message.key()]
        assert message.key() == alert.camera_id.encode()
        assert message.timestamp()[1] == (alert.opened_at if alert.resolved_at is None else alert.resolved_at)
        assert message.headers() == [("schema", b"alert/1"), ("engine", ENGINE_VERSION.encode())]


@pytest.mark.slow
def test_workers_that_come_and_go_leave_the_alerts_of_one(
    bootstrap: str, prefix: str, topics: dict[str, str], log: Path
) -> None:
    cameras = ("yard", "gate", "belt", "dock")
    rules = {camera: revision(camera) for camera in cameras}
    made = {camera: events(camera, 2000, seed=11) for camera in cameras}
    publish_revisions(bootstrap, prefix, rules.values())
    total = 0

    def publish(first: int, last: int) -> int:
        turns = zip(*(each[first:last] for each in made.values()), strict=True)
        return publish_events(bootstrap, prefix, chain.from_iterable(turns))

    with log_end(bootstrap, topics["alerts"]) as end, running_worker(bootstrap, prefix, log, **SHORT_SESSION) as first:
        total += publish(0, 500)
        wait_until_committed(bootstrap, prefix, total, 30, [first])
        # A second one joins amid the work; both then have partitions, and state that the other one wrote.
        total += publish(500, 1200)
        with running_worker(bootstrap, prefix, log, **SHORT_SESSION) as second:
            wait_until_committed(bootstrap, prefix, total, 30, [first, second])
            wait_until(lambda: any(0 < len(places) < 3 for places in assigned(log)), 30, [first, second])
            seen = end()
            total += publish(1200, 1600)
            wait_until(lambda: end() > seen, 30, [first, second])
            # The first leaves amid the work, and gives back what it had taken from the second before.
            assert stop(first) == 0
            total += publish(1600, 2000)
            wait_until_committed(bootstrap, prefix, total, 40, [second])
            assert stop(second) == 0

    expected = chain.from_iterable(judged_in_memory(made[camera], rules[camera]) for camera in cameras)
    assert distinct(alerts_of(bootstrap, prefix)) == distinct(map(encode, expected))


def assigned(log: Path) -> list[list[int]]:
    """The partitions of every assignment that a worker has told of."""
    lines = [line for line in log.read_text().splitlines() if '"partitions_assigned"' in line]
    return [json.loads(line)["partitions"] for line in lines]


def test_a_camera_without_a_revision_is_not_judged_and_said_once(
    bootstrap: str, prefix: str, topics: dict[str, str], worker: "Popen[bytes]", log: Path
) -> None:
    publish_events(bootstrap, prefix, events("yard", 50, seed=1, hit_share=1.0))
    wait_until_committed(bootstrap, prefix, 50, 30, [worker])
    assert alerts_of(bootstrap, prefix) == []
    assert log.read_text().count('"camera_without_rois"') == 1


def test_a_topic_full_of_something_else_stops_the_worker_with_a_clear_word(
    bootstrap: str, prefix: str, topics: dict[str, str], worker: "Popen[bytes]", log: Path
) -> None:
    write_all(bootstrap, topics["detections"], [b"not ours"] * 100, key=b"yard")
    assert worker.wait(40) == EXIT_FAULT
    assert "is something else writing to the topic?" in log.read_text()
    assert len(read_all(bootstrap, topics["dead-letters"])) == 100


def test_without_its_topics_the_worker_says_which_are_missing(bootstrap: str, prefix: str, log: Path) -> None:
    with running_worker(bootstrap, prefix, log) as worker:
        assert worker.wait(30) == EXIT_BROKER
    assert f"{prefix}rules-hits-changelog" in log.read_text()


def test_fausts_own_command_starts_the_same_app(bootstrap: str, prefix: str, topics: dict[str, str], log: Path) -> None:
    rules, made = revision("yard"), events("yard", 300, seed=9)
    publish_revisions(bootstrap, prefix, [rules])
    publish_events(bootstrap, prefix, made)
    command = [str(Path(sys.executable).parent / "faust"), "-A", "rules.app", "worker", "--without-web"]
    worker = start_worker(bootstrap, prefix, log, command, **SHORT_SESSION)
    try:
        wait_until_committed(bootstrap, prefix, len(made), 40, [worker])
        assert distinct(alerts_of(bootstrap, prefix)) == distinct(map(encode, judged_in_memory(made, rules)))
        began = time.monotonic()
        assert stop(worker) == 0
        assert time.monotonic() - began < 10
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait(10)
