"""`backsight replay rules` on a real broker: what it answers, what it refuses, and what it leaves alone."""

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from replay import kafka_source
from replay.diff import compare, last_phases
from replay.judging import Timeline
from replay.kafka_source import KafkaSource
from replay.run import Judgement, Side, judge
from replay.spans import Span
from runtime.broker import LocalBroker
from runtime.kafka import TopicPartition, admin, reader
from runtime.provision import apply_topics
from schemas.codec import decode, encode
from schemas.documents.rois import RoiDefaults, Rois, effective_rules
from schemas.effective import RoiRevision, revision_of
from schemas.messages import Alert, DetectionEvent
from schemas.partitioning import partition_of
from tests.support.broker import new_prefix, read_all, remove_prefixed, running_broker, settings
from tests.support.rules import (
    BEGAN,
    DAY_MS,
    events,
    judged_in_memory,
    publish_events,
    publish_revisions,
    revision,
)
from tests.support.what_if import WhatIf, publish_alerts, write_rois

pytestmark = pytest.mark.kafka

CAMERAS = ("yard", "gate", "belt", "dock")
HISTORY = {camera: events(camera, 400, seed=11) for camera in CAMERAS}
RULES = {camera: revision(camera) for camera in CAMERAS}
RECORDED = {camera: judged_in_memory(HISTORY[camera], RULES[camera]) for camera in CAMERAS}
EVER = Span(0, BEGAN + DAY_MS)


@pytest.fixture(scope="module")
def what_if(kafka_broker: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WhatIf]:
    """Four cameras' detections, their ROIs, and the alerts that the rules sent of them; not for tests that delete."""
    bootstrap, prefix = kafka_broker.bootstrap, new_prefix()
    apply_topics(admin(settings(bootstrap)), prefix, partitions=3)
    write_history(bootstrap, prefix)
    yield WhatIf(bootstrap, prefix, tmp_path_factory.mktemp("configs"))
    remove_prefixed(bootstrap, prefix)


def write_history(bootstrap: str, prefix: str) -> None:
    publish_revisions(bootstrap, prefix, RULES.values())
    publish_events(bootstrap, prefix, chain.from_iterable(zip(*HISTORY.values(), strict=True)))
    publish_alerts(bootstrap, prefix, chain.from_iterable(RECORDED.values()))


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    """A candidate of every camera that confirms at the first hit."""
    return write_rois(tmp_path / "hasty.yaml", {camera: {"confirm": {"hits": 1}} for camera in CAMERAS})


def judged_under(path: Path, camera: str) -> list[Alert]:
    """What the engine makes of a camera's history under a file."""
    rois = Rois.model_validate(yaml.safe_load(path.read_text()))
    (entry,) = (each for each in rois.cameras if each.camera_id == camera)
    document = effective_rules(entry, RoiDefaults())
    return judged_in_memory(HISTORY[camera], RoiRevision(camera, revision_of(document), 0, 0, "file", document))


def opened(alerts: list[Alert]) -> int:
    return sum(alert.seq == 0 for alert in alerts)


def test_the_documents_as_they_held_give_the_recorded_alerts_and_exit_code_0(what_if: WhatIf) -> None:
    found = what_if.rules("--from", "-7d", expected=0)
    assert found["counts"] == {"added": 0, "removed": 0, "changed": 0, "same": sum(map(opened, RECORDED.values()))}
    assert all(each["identical"] for each in found["differences"])
    assert found["inexact"] == []
    assert sorted(each["camera_id"] for each in found["cameras"]) == sorted(CAMERAS)
    table = what_if("rules", "--from", "-7d")
    assert table.exit_code == 0
    assert "same" in table.stdout


def test_a_candidate_that_judges_otherwise_gives_the_differences_and_exit_code_3(what_if: WhatIf, hasty: Path) -> None:
    found = what_if.rules("--rois", hasty, expected=3)
    recorded = last_phases(chain.from_iterable(RECORDED.values()), EVER)
    candidate = last_phases(chain.from_iterable(judged_under(hasty, camera) for camera in CAMERAS), EVER)
    differences = compare(recorded, candidate)
    assert found["counts"]["added"] > 0
    assert found["counts"]["changed"] > 0
    kinds = [each.kind for each in differences]
    assert found["counts"] == {kind: kinds.count(kind) for kind in found["counts"]}
    ids = [(each.after.alert_id if each.after else None) for each in differences]
    assert [(each["after"] or {}).get("alert_id") for each in found["differences"]] == ids
    table = what_if("rules", "--rois", hasty)
    assert table.exit_code == 3
    for camera in CAMERAS:
        assert camera in table.stdout


def test_only_the_cameras_asked_for_are_judged(what_if: WhatIf, hasty: Path) -> None:
    found = what_if.rules("--rois", hasty, "--cameras", "gate,belt", expected=3)
    assert {each["camera_id"] for each in found["cameras"]} == {"gate", "belt"}
    assert {each["camera_id"] for each in found["differences"]} == {"gate", "belt"}
    before = sum(found["counts"][kind] for kind in ("removed", "changed", "same"))
    assert before == opened(RECORDED["gate"]) + opened(RECORDED["belt"])


def test_a_camera_that_nobody_knows_is_refused_with_those_known(what_if: WhatIf) -> None:
    result = what_if("rules", "--cameras", "gate,gaet")
    assert result.exit_code == 2
    assert "no camera is called gaet; known: belt, dock, gate, yard" in result.stderr


def test_the_baseline_may_be_the_active_documents_or_another_file(what_if: WhatIf, hasty: Path, tmp_path: Path) -> None:
    same = write_rois(tmp_path / "same.yaml", {camera: {} for camera in CAMERAS})
    assert what_if.rules("--rois", same, "--baseline", "active", expected=0)["counts"]["same"] == sum(
        map(opened, RECORDED.values())
    )
    found = what_if.rules("--rois", hasty, "--baseline", same, expected=3)
    assert found["counts"] == what_if.rules("--rois", hasty, expected=3)["counts"]
    assert (found["before"]["name"], found["after"]["name"]) == (str(same), str(hasty))


def test_a_candidate_that_does_not_check_is_refused_with_every_mistake_and_its_place(
    what_if: WhatIf, tmp_path: Path
) -> None:
    bad = write_rois(tmp_path / "bad.yaml", {"gate": {"points": [[0, 0], [1, 1]]}, "belt": {"points": [[0.1] * 2] * 4}})
    for arguments in (("--rois", bad), ("--baseline", bad)):
        result = what_if("rules", *arguments)
        assert result.exit_code == 2
        assert "bad.yaml: cameras[0].forbidden_rois[0].points" in result.stderr
        assert "bad.yaml: cameras[1].forbidden_rois[0].points" in result.stderr
    result = what_if("rules", "--rois", tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert "none.yaml" in result.stderr


def test_less_confidence_than_was_recorded_is_refused(what_if: WhatIf, tmp_path: Path) -> None:
    low = write_rois(tmp_path / "low.yaml", {"gate": {"min_confidence": 0.05}})
    result = what_if("rules", "--rois", low)
    assert result.exit_code == 2
    assert "gate: roi_0 asks for min_confidence 0.05, but the detector reported nothing under 0.1" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "yesterday"), "expected 2026-11-16T08:00:00Z"),
        (("--from", "-1d", "--to", "-2d"), "is empty"),
        (("--source", "tape"), "expected kafka or archive:FOLDER"),
        (("--warm-up", "long"), "expected"),
    ],
)
def test_an_option_that_cannot_be_read_is_refused(what_if: WhatIf, arguments: tuple[str, ...], said: str) -> None:
    result = what_if("rules", *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr


def test_without_a_broker_it_ends_with_exit_code_5(tmp_path: Path) -> None:
    result = WhatIf("127.0.0.1:1", "", tmp_path)("rules")
    assert result.exit_code == 5
    assert "error:" in result.stderr


def middle(camera: str) -> DetectionEvent:
    return HISTORY[camera][len(HISTORY[camera]) // 2]


def test_a_span_is_judged_with_as_much_of_what_was_before_as_it_needs(what_if: WhatIf) -> None:
    """Cut amid the history, both ways: what the cut pieces say together is what the whole says."""
    cut = str(middle("yard").captured_at)
    first, second = what_if.rules("--to", cut, expected=0), what_if.rules("--from", cut, expected=0)
    assert first["counts"]["same"] + second["counts"]["same"] == sum(map(opened, RECORDED.values()))
    assert second["inexact"] == []
    less = what_if("rules", "--from", cut, "--warm-up", "1s")
    assert "the history before the span is not known far enough back" in less.stdout


def delete_before(bootstrap: str, topic: str, partition: int, offset: int) -> None:
    """Deletes the partition's records below the offset, as retention does."""
    cluster = admin(settings(bootstrap))
    done = cluster.delete_records([TopicPartition(topic, partition, offset)])
    for each in done.values():
        each.result(20)


def test_a_span_that_is_partly_deleted_is_refused_with_the_part_and_judged_with_partial(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    write_history(bootstrap, prefix)
    what_if = WhatIf(bootstrap, prefix, tmp_path)
    place = partition_of("yard", 3)
    records = [each for each in read_all(bootstrap, topics["detections"]) if each.partition() == place]
    cut = records[len(records) // 2].offset()
    delete_before(bootstrap, topics["detections"], place, cut)
    result = what_if("rules")
    assert result.exit_code == 2
    assert f"partition {place}: " in result.stderr
    assert "is deleted" in result.stderr
    assert "--partial" in result.stderr
    found = what_if.rules("--partial", expected=3)
    assert any(note.startswith(f"not in the history any more: partition {place}: ") for note in found["notes"])
    (yard,) = (each for each in found["cameras"] if each["camera_id"] == "yard")
    assert 0 < yard["judged"] < len(HISTORY["yard"]) * 0.6
    assert {each["kind"] for each in found["differences"] if each["camera_id"] != "yard"} == {"same"}
    assert any("yard (candidate)" in note and "inexact" in note for note in found["notes"])
    # What is not asked for may be gone.
    other = next(camera for camera in CAMERAS if partition_of(camera, 3) != place)
    assert what_if("rules", "--cameras", other).exit_code == 0


def test_a_run_is_published_listed_and_removed_and_no_live_topic_is_written_to(what_if: WhatIf, hasty: Path) -> None:
    bootstrap, prefix = what_if.bootstrap, what_if.prefix
    before = what_if.ends()
    result = what_if("rules", "--rois", hasty, "--publish", "--run", "hasty")
    assert result.exit_code == 3, result.output
    published = read_all(bootstrap, f"{prefix}replay.hasty.alerts")
    for camera in CAMERAS:
        ours = [record for record in published if record.key() == camera.encode()]
        assert [record.value() for record in ours] == list(map(encode, judged_under(hasty, camera)))
        assert {record.partition() for record in ours} <= {partition_of(camera, 3)}
    alerts = [decode(Alert, record.value(), record.headers()) for record in published]
    assert [record.timestamp()[1] for record in published] == [
        alert.opened_at if alert.resolved_at is None else alert.resolved_at for alert in alerts
    ]
    listed = what_if("list")
    assert listed.exit_code == 0
    assert "hasty" in listed.stdout
    assert "added" in listed.stdout

    again = what_if("rules", "--rois", hasty, "--publish", "--run", "hasty")
    assert again.exit_code == 2
    assert "a run hasty exists already" in again.stderr
    assert len(read_all(bootstrap, f"{prefix}replay.hasty.alerts")) == len(published)

    assert what_if("remove", "hasty").exit_code == 0
    assert "no runs" in what_if("list").stdout
    gone = what_if("remove", "hasty")
    assert gone.exit_code == 2
    assert "there is no run hasty" in gone.stderr
    assert what_if.ends() == before


def test_a_slower_camera_in_the_same_partition_is_not_cut_at_the_spans_end(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    """Everything of the fast one, far beyond the span too, lies before the slow one's first event."""
    fast, slow = "gate", "dock"
    assert partition_of(fast, 3) == partition_of(slow, 3)
    publish_revisions(bootstrap, prefix, RULES.values())
    publish_events(bootstrap, prefix, HISTORY[fast])
    publish_events(bootstrap, prefix, HISTORY[slow])
    publish_alerts(bootstrap, prefix, RECORDED[fast] + RECORDED[slow])
    end = middle(slow).captured_at
    found = WhatIf(bootstrap, prefix, tmp_path).rules("--to", str(end), expected=0)
    judged = {each["camera_id"]: each["judged"] + each["late"] for each in found["cameras"]}
    for camera in (fast, slow):
        assert judged[camera] == sum(each.captured_at < end for each in HISTORY[camera])


def test_alerts_of_another_engine_or_revision_are_pointed_out(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    publish_events(bootstrap, prefix, HISTORY["yard"] + HISTORY["gate"])
    publish_revisions(bootstrap, prefix, [RULES["yard"], RULES["gate"]])
    newer = revision("yard", severity="critical")
    publish_revisions(bootstrap, prefix, [replace(newer, effective_from=round(time.time() * 1000))])
    publish_alerts(bootstrap, prefix, RECORDED["yard"], engine="0.9")
    publish_alerts(bootstrap, prefix, RECORDED["gate"], engine=None)
    found = WhatIf(bootstrap, prefix, tmp_path).rules(expected=0)
    notes = "\n".join(found["notes"])
    assert "recorded alerts were judged by engine 0.9, the candidate by engine 1" in notes
    assert f"yard: {opened(RECORDED['yard'])} recorded alert(s) were judged under a revision other than" in notes
    assert "gate:" not in notes
    assert "0.9" in found["before"]["engines"]


@pytest.mark.slow
def test_a_broker_killed_amid_the_reading_is_waited_for_and_the_result_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client holds little ahead, so that most of the history is still to come when the broker dies."""

    def hand_to_mouth(kafka: object, client_id: str, **overrides: object) -> object:
        little = {"queued_max_messages_kbytes": 64, "queued_min_messages": 50, "fetch_message_max_bytes": 16_384}
        return reader(kafka, client_id, **{**overrides, **little})  # type: ignore[arg-type]

    monkeypatch.setattr(kafka_source, "reader", hand_to_mouth)
    history = {camera: events(camera, 4000, seed=5) for camera in CAMERAS}
    total = sum(map(len, history.values()))
    side = Side("one", {camera: Timeline([rules]) for camera, rules in RULES.items()})
    seen: list[int] = []
    with running_broker() as broker:
        apply_topics(admin(settings(broker.bootstrap)), "", partitions=3)
        publish_events(broker.bootstrap, "", chain.from_iterable(zip(*history.values(), strict=True)))
        source = KafkaSource(settings(broker.bootstrap))

        def kill_once(events: int, _at: int) -> None:
            if not seen:
                broker.kill()
                broker.start()
            seen.append(events)

        try:
            (judgement,) = judge(source, EVER, [side], progress=kill_once)
        finally:
            source.close()
    assert seen[0] < total / 2, "too much was read ahead for this test"
    assert seen[-1] == total
    assert by_camera(judgement) == {
        camera: list(map(encode, judged_in_memory(history[camera], RULES[camera]))) for camera in CAMERAS
    }


def by_camera(judgement: Judgement) -> dict[str, list[bytes]]:
    return {camera: list(map(encode, outcome.alerts)) for camera, outcome in judgement.outcomes.items()}
