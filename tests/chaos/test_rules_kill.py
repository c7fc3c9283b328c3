"""`kill -9` at any moment: the rules open and resolve the same alerts as the engine does undisturbed, to the byte."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from subprocess import Popen

import pytest

from rules.engine import compile_rules, step
from rules.state import NEW_CAMERA, CameraState
from schemas.codec import encode
from schemas.effective import RoiRevision
from schemas.messages import DetectionEvent
from tests.support.rules import (
    alerts_of,
    committed,
    distinct,
    events,
    judged_in_memory,
    kill,
    log_end,
    publish_events,
    publish_revisions,
    revision,
    start_worker,
    stop,
    wait_until,
    wait_until_committed,
)

CAMERAS = ("yard", "gate", "belt")
SHORT_SESSION = {"BACKSIGHT_RULES_SESSION_SECONDS": "6"}
"""The broker's least: the next worker waits for the dead one's session to end."""

Start = Callable[[], "Popen[bytes]"]


@pytest.fixture
def start(bootstrap: str, prefix: str, tmp_path: Path) -> Iterator[Start]:
    """Starts workers; whatever still runs at the end is killed."""
    started: list[Popen[bytes]] = []

    def begin() -> "Popen[bytes]":
        started.append(start_worker(bootstrap, prefix, tmp_path / "rules.log", **SHORT_SESSION))
        return started[-1]

    yield begin
    for worker in started:
        if worker.poll() is None:
            kill(worker)


def is_open(state: CameraState) -> bool:
    """Whether an alert is open."""
    return any(kept.episode and kept.episode.opening for kept in state.subjects.values())


def is_held(state: CameraState) -> bool:
    """Whether an episode is held back by the debounce window."""
    return any(kept.episode and not kept.episode.opening for kept in state.subjects.values())


def first_where(
    made: list[DetectionEvent], rules: RoiRevision, wanted: Callable[[CameraState], bool], after: int
) -> int:
    """The number of events after which the camera's state is as wanted."""
    document = compile_rules(rules.document, rules.revision, rules.effective_from)
    state = NEW_CAMERA
    for number, event in enumerate(made):
        state = step(document, state, event).state
        if number >= after and wanted(state):
            return number + 1
    raise AssertionError("the made-up events never come to that")


@pytest.mark.slow
@pytest.mark.usefixtures("topics")
def test_a_worker_killed_again_and_again_sends_the_alerts_of_an_undisturbed_engine(
    bootstrap: str, prefix: str, start: Start, tmp_path: Path
) -> None:
    rules = {camera: revision(camera) for camera in CAMERAS}
    made = {camera: events(camera, 6000, seed=7) for camera in CAMERAS}
    cut_open = first_where(made["yard"], rules["yard"], is_open, after=100)
    cut_held = first_where(made["yard"], rules["yard"], is_held, after=cut_open + 50)
    publish_revisions(bootstrap, prefix, rules.values())

    def publish(first: int, last: int | None) -> int:
        turns = zip(*(each[first:last] for each in made.values()), strict=True)
        return publish_events(bootstrap, prefix, chain.from_iterable(turns))

    # Killed while an alert is open, and while an episode is held.
    total = publish(0, cut_open)
    worker = start()
    wait_until_committed(bootstrap, prefix, total, 40, [worker])
    kill(worker)
    total += publish(cut_open, cut_held)
    worker = start()
    wait_until_committed(bootstrap, prefix, total, 40, [worker])
    kill(worker)

    # Killed twice amid a backlog, at once after an alert went out, with whatever was on its way; then told to stop.
    total += publish(cut_held, None)
    with log_end(bootstrap, f"{prefix}alerts") as end:
        for ended in (kill, kill, stop):
            seen = end()
            worker = start()
            wait_until(lambda seen=seen: end() > seen, 40, [worker], look_seconds=0.005)
            assert ended(worker) in (None, 0), (tmp_path / "rules.log").read_text()
    assert committed(bootstrap, prefix) < total, "the backlog was too short for this test"
    worker = start()
    wait_until_committed(bootstrap, prefix, total, 40, [worker])
    assert stop(worker) == 0

    undisturbed = distinct(
        encode(alert) for camera in CAMERAS for alert in judged_in_memory(made[camera], rules[camera])
    )
    assert distinct(alerts_of(bootstrap, prefix)) == undisturbed
