"""`backsight replay frames` on a real broker, with the scripted detector."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from cli.replay_frames import frames as command
from inference.model_registry import identify
from replay.frame_plan import begin, plan_of
from replay.kafka_source import KafkaSource
from replay.run import Side, judge
from replay.runs import list_runs
from replay.spans import Span
from runtime.kafka import Message, TopicPartition, admin, producer
from runtime.revisions import RevisionHistory, publish_revision
from schemas.effective import RoiRevision, revision_of
from schemas.messages import Alert
from tests.support.broker import read_all, settings
from tests.support.histories import roi, rules
from tests.support.inference_stage import (
    START,
    Frames,
    box_of,
    captured_at,
    inference_settings,
    read_events,
    running_stage,
    write_script,
)
from tests.support.routing import ROOT, alert_writer, router_settings, write_alerts

CAMERAS = ("yard_a", "yard_b", "gate")
COUNT = 178
"""Frames of each camera, 35 s: the scripted object stands in the ROI from 4 s to 14 s and from 20 s to 30 s."""


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Logging is not set up in tests, so logs would be on stdout."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


def write_candidate(path: Path, cameras: Sequence[str], seconds: float = 0.0) -> Path:
    """A model that sees in these cameras what the recorded one saw, and in the others nothing."""
    return write_script(path, cameras, COUNT, seconds)


class Yard:
    """A history on the broker: frames, what a model saw in them, and the alerts of that."""

    def __init__(self, bootstrap: str, prefix: str, topics: dict[str, str], folder: Path) -> None:
        self.bootstrap, self.prefix, self.topics = bootstrap, prefix, topics
        self.model = write_script(folder / "recorded.jsonl", CAMERAS, COUNT)
        to = Frames(bootstrap, topics["frames"])
        for seq in range(COUNT):
            for camera_id in CAMERAS:
                if seq == 77 and camera_id == "gate":
                    to.send(camera_id, seq, value=b"", width=0, height=0, source_width=0, source_height=0)
                else:
                    to.send(camera_id, seq, value=b"\xff\xd8\xff\xe0 no picture" if seq == 80 else None)
        to.flush()
        with running_stage(inference_settings(bootstrap, prefix, self.model)):
            self.recorded = read_events(bootstrap, prefix, COUNT * len(CAMERAS))
        self.alerts = self._judge()

    def _judge(self) -> list[Alert]:
        history = RevisionHistory()
        sender = producer(settings(self.bootstrap), "test-revisions")
        for camera_id in CAMERAS:
            document = rules(roi(debounce_window_ms=0), camera=camera_id)
            revision = RoiRevision(camera_id, revision_of(document), 0, 0, "file", document)
            publish_revision(sender, self.prefix, revision)
            history.add(revision)
        source = KafkaSource(settings(self.bootstrap), self.prefix)
        [judged] = judge(source, Span(START, captured_at(COUNT)), [Side.recorded("recorded", history)])
        source.close()
        write_alerts(alert_writer(self.bootstrap), self.prefix, judged.alerts())
        return judged.alerts()

    def environ(self) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "BACKSIGHT_PREFIX": self.prefix,
            "BACKSIGHT_CONFIGS": "no-such-folder",
            "INFERENCE_DEVICE": "cpu",
        }

    def arguments(self, run: str, model: Path | None = None, *more: str) -> list[str]:
        return ["--run", run, "--from", str(START), "--model", str(model or self.model), *more]

    def replay(self, *arguments: str) -> Result:
        return CliRunner(env=self.environ()).invoke(command, [*arguments])

    def events(self, run: str) -> list[Message]:
        return read_all(self.bootstrap, f"{self.prefix}replay.{run}.detections")

    def delete_first(self, camera_id: str, count: int) -> None:
        """Deletes the camera's first frames, and whatever lies before them, as retention does."""
        refs = [event.frame for _, event in self.recorded if event.camera_id == camera_id]
        kept_from = TopicPartition(self.topics["frames"], refs[count].partition, refs[count].offset)
        cluster = admin(settings(self.bootstrap))  # which must outlive its answers
        [answer] = cluster.delete_records([kept_from]).values()
        answer.result(30)

    def begun(self, run: str) -> list[Message]:
        """The run's events, none where it has no topic yet."""
        there = admin(settings(self.bootstrap)).list_topics(timeout=10).topics
        return self.events(run) if f"{self.prefix}replay.{run}.detections" in there else []


@pytest.fixture
def yard(bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path) -> Yard:
    yard = Yard(bootstrap, prefix, topics, tmp_path)
    assert [(alert.camera_id, alert.seq) for alert in yard.alerts] == [
        (camera_id, seq) for camera_id in sorted(CAMERAS) for seq in (0, 1, 0, 1)
    ]
    return yard


def as_bytes(records: Sequence[Message]) -> list[tuple[Any, ...]]:
    return [(each.partition(), each.key(), each.value(), each.timestamp()) for each in records]


def alerts_in(result: Result) -> dict[str, int]:
    counts: dict[str, int] = json.loads(result.stdout)["counts"]
    return {kind: count for kind, count in counts.items() if count}


def test_the_same_model_gives_the_recorded_events_to_the_byte_and_the_same_alerts(yard: Yard) -> None:
    result = yard.replay(*yard.arguments("same", None, "--json"))
    assert result.exit_code == 0, result.output
    assert as_bytes(yard.events("same")) == as_bytes([record for record, _ in yard.recorded])
    assert alerts_in(result) == {"same": 6}
    [run] = list_runs(router_settings(yard.bootstrap, yard.prefix))
    assert (run.name, run.manifest is not None and run.manifest["counts"]["same"]) == ("same", 6)


def test_a_model_that_sees_less_shows_which_alerts_would_be_gone(yard: Yard, tmp_path: Path) -> None:
    candidate = write_candidate(tmp_path / "next.jsonl", ("yard_a", "yard_b"))
    result = yard.replay(*yard.arguments("next", candidate, "--json"))
    assert result.exit_code == 3, result.output
    found = json.loads(result.stdout)
    assert alerts_in(result) == {"removed": 2, "same": 4}
    assert {each["camera_id"] for each in found["differences"] if each["kind"] == "removed"} == {"gate"}
    assert list(found["manifest"]["models"]) == [
        name for name in found["manifest"]["models"] if name.startswith("next ")
    ]
    assert [record.value() for record in read_all(yard.bootstrap, yard.topics["detections"])] == [
        record.value() for record, _ in yard.recorded
    ]


def test_a_higher_floor_reports_less_and_says_what_that_means_for_the_rois(yard: Yard) -> None:
    result = yard.replay(*yard.arguments("strict", None, "--json", "--floor", "0.95"))
    assert alerts_in(result) == {"removed": 6}
    notes = json.loads(result.stdout)["notes"]
    assert any("asks for min_confidence 0.25" in note and "nothing under 0.95" in note for note in notes)


def test_a_span_that_begins_while_an_alert_is_open_takes_up_what_was_before(yard: Yard) -> None:
    amid = ("--from", str(captured_at(50)), "--to", str(captured_at(160)), "--cameras", "gate,yard_b")
    result = yard.replay("--run", "part", "--model", str(yard.model), "--json", *amid)
    assert result.exit_code == 0, result.output
    assert alerts_in(result) == {"same": 2}
    seen = {record.key() for record in yard.events("part")}
    assert seen == {b"gate", b"yard_b"}
    assert len(yard.events("part")) == 2 * 110


def test_a_killed_run_goes_on_where_it_was_and_doubles_nothing(yard: Yard, tmp_path: Path) -> None:
    slow = write_candidate(tmp_path / "slow.jsonl", CAMERAS, seconds=0.02)
    environ = {**os.environ, **yard.environ()}
    arguments = [sys.executable, "-m", "cli.main", "replay", "frames", *yard.arguments("killed", slow)]
    first = subprocess.Popen(arguments, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(yard.begun("killed")) < 50:
        assert time.monotonic() < deadline
        assert first.poll() is None
        time.sleep(0.05)  # the topic is looked at again
    first.kill()
    first.wait()
    before = as_bytes(yard.events("killed"))
    assert len(before) < COUNT * len(CAMERAS)

    other = yard.replay("--run", "killed", "--floor", "0.3")
    assert other.exit_code == 2
    assert "began with floor 0.1" in other.stderr
    again = yard.replay("--run", "killed", "--json")
    assert again.exit_code == 0, again.output
    after = yard.events("killed")
    places = [
        (json.loads(each.value())["frame"]["partition"], json.loads(each.value())["frame"]["offset"]) for each in after
    ]
    recorded = [(event.frame.partition, event.frame.offset) for _, event in yard.recorded]
    assert places == recorded
    assert set(before) <= set(as_bytes(after))

    shown = yard.replay("--run", "killed", "--json")
    assert (shown.exit_code, alerts_in(shown)) == (0, {"same": 6})
    assert len(yard.events("killed")) == len(after)


def test_frames_that_are_deleted_are_named_and_left_out_only_when_asked(yard: Yard) -> None:
    yard.delete_first("gate", 60)
    refused = yard.replay(*yard.arguments("short"))
    assert refused.exit_code == 2
    assert "gate: 60 frames" in refused.stderr
    assert "--partial" in refused.stderr
    assert list_runs(router_settings(yard.bootstrap, yard.prefix)) == []

    result = yard.replay(*yard.arguments("short", None, "--partial", "--json"))
    assert result.exit_code == 0, result.output
    assert alerts_in(result) == {"same": 6}
    assert any("gate: 60 frames" in note for note in json.loads(result.stdout)["notes"])


def test_frames_that_are_deleted_after_a_run_began_are_named_too(yard: Yard) -> None:
    told = inference_settings(yard.bootstrap, yard.prefix, yard.model)
    begin(told, plan_of(told, "late", Span(START, captured_at(COUNT)), None, identify(yard.model).model, 0.1))
    yard.delete_first("yard_a", 60)
    refused = yard.replay("--run", "late")
    assert refused.exit_code == 2
    assert "yard_a: 60 frames" in refused.stderr
    result = yard.replay("--run", "late", "--partial", "--json")
    assert result.exit_code == 0, result.output
    assert alerts_in(result) == {"same": 6}
    assert any("yard_a: 60 frames" in note for note in json.loads(result.stdout)["notes"])


def test_live_frames_that_were_too_old_to_be_looked_at_are_looked_at(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    model = write_script(tmp_path / "script.jsonl", ("gate",), 20)
    to = Frames(bootstrap, topics["frames"])
    for seq in range(20):
        to.send("gate", seq, "live", produced_at=captured_at(seq))
    to.flush()
    with running_stage(inference_settings(bootstrap, prefix, model)):
        recorded = read_events(bootstrap, prefix, 20)
    assert {event.skipped for _, event in recorded} == {"stale"}
    environ = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "BACKSIGHT_PREFIX": prefix, "BACKSIGHT_CONFIGS": "no-such-folder"}
    arguments = ["--run", "stale", "--from", str(START), "--model", str(model), "--device", "cpu"]
    result = CliRunner(env=environ).invoke(command, arguments)
    assert result.exit_code == 0, result.output
    events = [json.loads(each.value()) for each in read_all(bootstrap, f"{prefix}replay.stale.detections")]
    assert {event["skipped"] for event in events} == {None}
    assert [each["box"] for event in events for each in event["detections"]] == [
        list(box_of(seq)) for seq in range(20) if seq % 3
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", "new"), "--from"),
        (("--run", "new", "--from", "-1h", "--cameras", "gatee"), "gatee"),
        (("--run", "no.dots", "--from", "-1h"), "no.dots"),
        (("--from", "-1h", "--model", "no-such.onnx"), "no such model file"),
        (("--from", "-1h", "--device", "gpu"), "device"),
        (("--from", "-1h", "--model", "models/yard/yard-2.onnx", "--device", "cpu"), "no frame of the span"),
    ],
)
def test_what_cannot_be_done_as_asked_is_refused_and_leaves_no_run(
    bootstrap: str, prefix: str, topics: dict[str, str], arguments: tuple[str, ...], said: str
) -> None:
    environ = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "BACKSIGHT_PREFIX": prefix, "BACKSIGHT_CONFIGS": "no-such-folder"}
    result = CliRunner(env=environ).invoke(command, list(arguments))
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert list_runs(router_settings(bootstrap, prefix)) == []
