"""Who has acknowledged which revision, and what is still to be acknowledged."""

import os

import pytest
import structlog

from rules.revision_acks import AGAIN_MS, Acknowledgements, Told, due
from runtime.revision_acks import Judging, unacknowledged, worker_name
from runtime.revisions import RevisionHistory
from runtime.settings import KafkaSettings
from schemas.effective import CameraRules, RoiRevision
from schemas.messages import RevisionAck
from schemas.partitioning import partition_of

NOW = 1_800_000_000_000
PARTITIONS = 12


def revision(camera_id: str = "gate", effective_from: int = 5_000, name: str = "a" * 16) -> RoiRevision:
    return RoiRevision(camera_id, name, effective_from, 0, "file", CameraRules(camera_id))


def ack(worker: str, effective_from: int, camera_id: str = "gate") -> RevisionAck:
    return RevisionAck(worker, camera_id, "a" * 16, effective_from, NOW)


def judged_by(**workers: str) -> Judging:
    return Judging(PARTITIONS, {partition_of(camera, PARTITIONS): worker for camera, worker in workers.items()})


def test_the_worker_that_has_the_camera_is_the_one_to_acknowledge() -> None:
    wanted = [revision()]
    assert unacknowledged(wanted, judged_by(gate="one"), [ack("one", 5_000)]) == []
    assert unacknowledged(wanted, judged_by(gate="two"), [ack("one", 5_000)]) == [(revision(), "two")]


def test_a_later_revision_stands_for_those_before_it_and_not_the_other_way_round() -> None:
    assert unacknowledged([revision()], judged_by(gate="one"), [ack("one", 9_000)]) == []
    assert unacknowledged([revision()], judged_by(gate="one"), [ack("one", 0)]) == [(revision(), "one")]


def test_another_camera_s_acknowledgement_does_not_count() -> None:
    both = judged_by(gate="one", dock="one")
    assert unacknowledged([revision()], both, [ack("one", 5_000, "dock")]) == [(revision(), "one")]


def test_a_camera_that_nobody_judges_is_not_acknowledged() -> None:
    assert unacknowledged([revision()], Judging(PARTITIONS, {}), [ack("one", 5_000)]) == [(revision(), None)]


def test_a_first_document_waits_for_its_acknowledgement_too() -> None:
    first = revision(effective_from=0)
    assert unacknowledged([first], judged_by(gate="one"), []) == [(first, "one")]
    assert unacknowledged([first], judged_by(gate="one"), [ack("one", 0)]) == []


def test_what_was_told_is_told_again_when_it_changes_and_once_a_day() -> None:
    known = revision()
    told = {"gate": Told(5_000, "a" * 16, NOW)}
    assert due([known, None], {}, NOW) == [known]
    assert due([known], told, NOW + AGAIN_MS - 1) == []
    assert due([known], told, NOW + AGAIN_MS) == [known]
    later = revision(effective_from=9_000)
    assert due([later], told, NOW) == [later]


def test_a_broker_that_is_away_does_not_stop_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rules.revision_acks.LOOK_SECONDS", 0.1)
    acknowledgements = Acknowledgements(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "", "one")
    acknowledgements.partitions = frozenset(range(PARTITIONS))
    with structlog.testing.capture_logs() as lines:
        acknowledgements.tell(RevisionHistory([revision()]), NOW)
        acknowledgements.tell(RevisionHistory([revision()]), NOW + 1_000)
    assert [line["event"] for line in lines if line["event"] != "kafka_trouble"] == ["acknowledging_failed"], "once"


def test_a_worker_s_name_is_of_this_process_alone() -> None:
    assert worker_name().startswith("backsight-rules-")
    assert worker_name().endswith(str(os.getpid()))
