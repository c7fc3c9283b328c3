"""`backsight replay explain` on a real broker: an alert's way from the log, and why nothing opened."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from cli.replay import replay
from replay.spans import in_words
from runtime.kafka import TopicPartition, admin, deliver, producer
from schemas.codec import encode, schema_header
from schemas.messages import Alert, Detection, DetectionEvent, FrameRef
from schemas.partitioning import partition_of
from tests.support.broker import settings
from tests.support.rules import BEGAN, MODEL, judged_in_memory, publish_events, publish_revisions, revision

pytestmark = pytest.mark.kafka

CAMERA = "gate"
RULES = revision(CAMERA)  # roi_0 is the lower half, 3 hits within 2 s, 3 s to resolve, 20 s of debounce window
Explain = Callable[..., Result]


def event(at: int, *bottoms: float, skipped: str | None = None) -> DetectionEvent:
    """An event so many milliseconds after `BEGAN`, with objects that stand at these heights."""
    detections = tuple(Detection("object", 0.8, (0.4, bottom - 0.1, 0.6, bottom)) for bottom in bottoms)
    return DetectionEvent(CAMERA, BEGAN + at, at, FrameRef("frames", 0, at), 1280, 720, 0.1, MODEL, detections, skipped)  # type: ignore[arg-type]


HISTORY = [
    *(event(at) for at in range(0, 20_000, 200)),
    *(event(at, 0.75) for at in (20_000, 20_200, 20_400, 20_600)),
    *(event(at) for at in range(20_800, 30_000, 200)),
    *(event(at, 0.4) for at in range(30_000, 31_000, 200)),
    *(event(at) for at in range(31_000, 40_000, 200)),
]


@pytest.fixture
def alerts(bootstrap: str, prefix: str, topics: dict[str, str]) -> list[Alert]:
    """The history on the broker, and the alerts that the rules made of it."""
    publish_revisions(bootstrap, prefix, [RULES])
    publish_events(bootstrap, prefix, HISTORY)
    made = judged_in_memory(HISTORY, RULES)
    sender = producer(settings(bootstrap), "test-alerts")
    for alert in made:
        deliver(sender, topics["alerts"], key=CAMERA, value=encode(alert), headers=[schema_header(Alert)])
    return made


@pytest.fixture
def explain(bootstrap: str, prefix: str, tmp_path: Path, alerts: list[Alert]) -> Explain:
    environ = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "BACKSIGHT_CONFIGS": str(tmp_path), "BACKSIGHT_PREFIX": prefix}
    return lambda *arguments: CliRunner(env=environ).invoke(replay, ["explain", *arguments])


def words(done: Result) -> list[str]:
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def time_of(at: int) -> str:
    return in_words(BEGAN + at)[11:-1]


def test_an_alert_is_explained_by_the_beginning_of_its_id(explain: Explain, alerts: list[Alert]) -> None:
    opened, resolved = alerts
    done = explain(opened.alert_id[:8])
    assert done.exit_code == 0, done.output
    told = words(done)
    assert told[0].startswith("gate: object in roi_0, ")
    assert told[1] == "before nothing open, no hit that still counts"
    assert told[3:] == [
        f"{time_of(20_000)} 1st hit of 3 within 2 s",
        f"{time_of(20_200)} 2nd hit of 3 within 2 s",
        (
            f"{time_of(20_400)} 3rd hit of 3 within 2 s (the first at {time_of(20_000)}): the alert opens "
            f"[{opened.alert_id}]"
        ),
        f"{time_of(20_600)} the alert stays open, 4 hits by then",
        (
            f"{time_of(23_600)} the alert resolves, 3 s after the last hit at {time_of(20_600)} "
            "(quiet: frames were looked at and showed none)"
        ),
        f"Opened once: {time_of(20_400)}.",
    ]
    assert resolved.alert_id == opened.alert_id
    assert done.stderr == ""


def test_nothing_between_two_instants_is_explained_too(explain: Explain) -> None:
    done = explain("--camera", CAMERA, "--from", in_words(BEGAN + 29_000), "--to", in_words(BEGAN + 35_000))
    assert done.exit_code == 0, done.output
    assert words(done)[3:] == [
        (
            f"{time_of(30_000)} to {time_of(30_800)} no hit: bottom_center (0.5 0.4) lies 72 px outside roi_0 "
            "(the nearest of 5 events)"
        ),
        "Nothing opened: object was seen in 5 events and never was a hit (5 × outside the ROI).",
    ]


def test_a_candidate_is_explained_beside_what_was(explain: Explain, alerts: list[Alert], tmp_path: Path) -> None:
    candidate = tmp_path / "candidate.yaml"
    roi = {"name": "roi_0", "units": "fractions", "points": [[0, 0.5], [1, 0.5], [1, 1]], "confirm": {"hits": 5}}
    candidate.write_text(
        yaml.safe_dump({"cameras": [{"camera_id": CAMERA, "forbidden_rois": [roi], "alert_classes": ["object"]}]})
    )
    done = explain(alerts[0].alert_id, "--rois", str(candidate))
    assert done.exit_code == 0, done.output
    assert words(done)[-1] == "Nothing opened: 4 hits, never more than 4 of 5 within 2 s."
    assert "does not open" in done.stderr
    assert alerts[0].alert_id in done.stderr


def test_json_holds_the_steps_and_the_alerts(explain: Explain, alerts: list[Alert]) -> None:
    done = explain(alerts[0].alert_id, "--json")
    told = json.loads(done.stdout)
    assert [step["kind"] for step in told["steps"]] == [
        "revision", "counting", "counting", "opened", "further", "resolved",
    ]  # fmt: skip
    assert [alert["seq"] for alert in told["alerts"]] == [0, 1]
    assert told["notes"] == []


def test_a_span_that_is_partly_deleted_is_refused_unless_asked_for(
    explain: Explain, alerts: list[Alert], bootstrap: str, topics: dict[str, str], topic_partitions: int
) -> None:
    place = TopicPartition(topics["detections"], partition_of(CAMERA, topic_partitions), 110)
    client = admin(settings(bootstrap))
    client.delete_records([place])[place].result(10)
    refused = explain(alerts[0].alert_id)
    assert refused.exit_code == 2, refused.output
    assert "part of the span is no longer in the history (--partial goes on without it)" in refused.stderr
    done = explain(alerts[0].alert_id, "--partial")
    assert done.exit_code == 0, done.output
    assert words(done)[-1] == "Nothing opened: no object was seen in 9 events."
    assert "note: not in the history: " in done.stderr
    assert "the history does not reach back far enough" in done.stderr
    assert f"alert {alerts[0].alert_id} (revision {RULES.revision}) does not open" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "give the id of an alert, or --camera and --from"),
        (["abc", "--camera", CAMERA], "give the id of an alert, or --camera and --from"),
        (["--camera", CAMERA], "--camera needs --from"),
        (["--camera", "dock", "--from", "-1h"], "have no camera dock; known: gate"),
        (["--camera", CAMERA, "--roi", "x", "--from", "-1h"], "gate has no ROI x: say --roi roi_0"),
        (["--camera", CAMERA, "--from", "yesterday"], "'yesterday' is no instant"),
        (["ffffffffffff"], "no alert of the span is called ffffffffffff (1 are there)"),
        (["ff", "--rois", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(explain: Explain, arguments: list[str], expected: str) -> None:
    done = explain(*arguments)
    assert done.exit_code == 2, done.output
    assert expected in done.stderr
