"""Detection events made up from a seed, and rules workers to judge them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from rules.engine import compile_rules, step
from rules.state import NEW_CAMERA
from runtime.kafka import Consumer, KafkaError, KafkaException, TopicPartition, producer, reader
from runtime.revisions import publish_revision
from schemas.codec import decode, encode, schema_header
from schemas.documents.rois import CameraRois, RoiDefaults, effective_rules
from schemas.effective import RoiRevision, revision_of
from schemas.messages import Alert, Detection, DetectionEvent, FrameRef, Model
from tests.support.broker import read_all, settings

ROOT = Path(__file__).resolve().parents[2]
DAY_MS = 24 * 3600 * 1000
BEGAN = (round(time.time() * 1000) // DAY_MS - 2) * DAY_MS + 123
"""When the made-up events begin, ms UTC: in the past, so that no event waits for the clock, and within the retention of
`detections`, or the broker deletes them in the middle of a test."""
STARTING = {KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError._TIMED_OUT}
"""What a broker answers that has just begun."""
MODEL = Model(name="made-up", version="1", sha256="0" * 64)


def revision(camera_id: str, rois: int = 1, **roi: object) -> RoiRevision:
    """The first revision of a camera with ``rois`` ROIs side by side; `object` must not be in them."""
    width = 1 / rois
    written = {
        "camera_id": camera_id,
        "forbidden_rois": [
            {
                "name": f"roi_{number}",
                "units": "fractions",
                "points": [
                    [number * width, 0.5],
                    [(number + 0.9) * width, 0.5],
                    [(number + 0.9) * width, 1.0],
                    [number * width, 1.0],
                ],
                "confirm": {"hits": 3, "within_seconds": 2},
                "resolve_after_seconds": 3,
                "debounce_window_seconds": 20,
                **roi,
            }
            for number in range(rois)
        ],
        "allowed_classes": ["pine", "worker"],
        "alert_classes": ["object"],
    }
    document = effective_rules(CameraRois.model_validate(written), RoiDefaults())
    return RoiRevision(
        camera_id=camera_id,
        revision=revision_of(document),
        effective_from=0,
        published_at=0,
        origin="file",
        document=document,
    )


def events(camera_id: str, count: int, seed: int, hit_share: float = 0.2, step_ms: int = 200) -> list[DetectionEvent]:
    """Events of one camera at 5 per second, with stays of an object in the lower half, skips, and a late one or two."""
    dice = random.Random(f"{camera_id}/{seed}")
    at, inside, made = BEGAN, False, []
    for seq in range(count):
        at += dice.randint(1, 2 * step_ms - 1)
        # Stays of 25 events on the average, so that alerts open, are held back and resolve.
        if dice.random() < (1 / 25 if inside else hit_share / (1 - hit_share) / 25 if hit_share < 1 else 1):
            inside = not inside
        seen = [_seen(dice, "worker", 0.1), _seen(dice, "pine", 0.6)]
        if inside and dice.random() < 0.8:
            seen.append(_seen(dice, "object", 0.55))
        skipped = dice.random() < 0.02
        made.append(
            DetectionEvent(
                camera_id=camera_id,
                captured_at=at - (700 if dice.random() < 0.01 else 0),
                seq=seq,
                frame=FrameRef("frames", 0, seq),
                width=1280,
                height=720,
                floor=0.1,
                model=MODEL,
                detections=() if skipped else tuple(seen),
                skipped="stale" if skipped else None,
            )
        )
    return made


def _seen(dice: random.Random, label: str, top: float) -> Detection:
    left = round(dice.random() * 0.8, 4)
    bottom = round(top + 0.1 + dice.random() * 0.3, 4)
    return Detection(label, round(0.3 + 0.6 * dice.random(), 4), (left, top, round(left + 0.1, 4), bottom))


def judged_in_memory(made: Iterable[DetectionEvent], rules: RoiRevision) -> list[Alert]:
    """What the engine alone says of one camera's events."""
    document = compile_rules(rules.document, rules.revision, rules.effective_from)
    state, alerts = NEW_CAMERA, []
    for event in made:
        judged = step(document, state, event)
        state = judged.state
        alerts += judged.alerts
    return alerts


def publish_revisions(bootstrap: str, prefix: str, revisions: Iterable[RoiRevision]) -> None:
    """Writes the revisions."""
    sender = producer(settings(bootstrap), "test-revisions")
    for each in revisions:
        publish_revision(sender, prefix, each)


def publish_events(bootstrap: str, prefix: str, made: Iterable[DetectionEvent]) -> int:
    """Writes the events as inference does; answers how many."""
    sender = producer(settings(bootstrap), "test-events", linger_ms=20)
    count = 0
    for event in made:
        while True:
            try:
                sender.produce(
                    f"{prefix}detections",
                    key=event.camera_id,
                    value=encode(event),
                    headers=[schema_header(DetectionEvent)],
                    timestamp=event.captured_at,
                )
                break
            except BufferError:
                sender.poll(0.1)
        count += 1
    assert sender.flush(60) == 0
    return count


def alerts_of(bootstrap: str, prefix: str) -> list[bytes]:
    """The values on `alerts`, duplicates included."""
    return [message.value() for message in read_all(bootstrap, f"{prefix}alerts")]


def distinct(values: Iterable[bytes]) -> dict[tuple[str, int], bytes]:
    """By alert and phase. Two values of one name must be equal to the byte."""
    found: dict[tuple[str, int], bytes] = {}
    for value in values:
        alert = decode(Alert, value)
        name = (alert.alert_id, alert.seq)
        assert found.setdefault(name, value) == value, f"{name} was sent with two contents"
    return found


@lru_cache(maxsize=1)
def _member_of_nothing(bootstrap: str, group: str) -> Consumer:
    """A client that may ask for the group's offsets without joining it.

    Not the admin client: confluent-kafka 2.16.1 ends the process (SIGSEGV) now and then when it is asked for the
    offsets of a group while a young broker still loads its groups.
    """
    # It outlives the test's broker, and need not say so.
    return reader(settings(bootstrap), "test-offsets", group_id=group, error_cb=lambda _error: None)


def committed(bootstrap: str, prefix: str) -> int:
    """The sum of the offsets that the rules group has committed."""
    client, topic = _member_of_nothing(bootstrap, f"{prefix}rules"), f"{prefix}detections"
    try:
        places = [TopicPartition(topic, number) for number in client.list_topics(topic, 10).topics[topic].partitions]
        return sum(max(0, place.offset) for place in client.committed(places, timeout=10))
    except KafkaException as error:
        if error.args[0].retriable() or error.args[0].code() in STARTING:
            return 0
        raise


@contextmanager
def log_end(bootstrap: str, topic: str) -> Iterator[Callable[[], int]]:
    """Gives a function that answers the sum of the topic's end offsets, quickly."""
    client = reader(settings(bootstrap), "test-ends")
    try:
        places = [TopicPartition(topic, number) for number in client.list_topics(topic, 10).topics[topic].partitions]
        yield lambda: sum(client.get_watermark_offsets(place, timeout=10)[1] for place in places)
    finally:
        client.close()


def wait_until_committed(
    bootstrap: str, prefix: str, count: int, seconds: float, workers: Sequence[subprocess.Popen[bytes]] = ()
) -> None:
    """Waits until the rules group has committed ``count`` records; fails when a worker ends or time is up."""
    wait_until(lambda: committed(bootstrap, prefix) >= count, seconds, workers)


def wait_until(
    done: Callable[[], bool],
    seconds: float,
    workers: Sequence[subprocess.Popen[bytes]] = (),
    *,
    look_seconds: float = 0.05,
) -> None:
    """Waits until ``done``; fails when a worker ends or time is up."""
    deadline = time.monotonic() + seconds
    while not done():
        for worker in workers:
            assert worker.poll() is None, f"a worker ended with {worker.returncode}"
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(look_seconds)


def start_worker(
    bootstrap: str, prefix: str, log: Path, command: Sequence[str] = (), **environ: str
) -> subprocess.Popen[bytes]:
    """A rules worker of its own process group, as `backsight rules run` starts it."""
    argv = list(command) or [sys.executable, "-m", "cli.main", "rules", "run"]
    env = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "BACKSIGHT_PREFIX": prefix,
        "BACKSIGHT_CONFIGS": str(log.parent),
        **environ,
    }
    with log.open("ab") as out:
        return subprocess.Popen(argv, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True)


def kill(worker: subprocess.Popen[bytes]) -> None:
    """`kill -9`, and waits until it is dead."""
    worker.send_signal(signal.SIGKILL)
    worker.wait(10)


def stop(worker: subprocess.Popen[bytes], seconds: float = 15.0) -> int:
    """SIGTERM; answers the exit code."""
    worker.send_signal(signal.SIGTERM)
    return worker.wait(seconds)


@contextmanager
def running_worker(bootstrap: str, prefix: str, log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that is killed at the end if it has not ended by then."""
    worker = start_worker(bootstrap, prefix, log, **environ)
    try:
        yield worker
    finally:
        if worker.poll() is None:
            kill(worker)
