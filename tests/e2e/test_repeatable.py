"""A file played as fast as the pipeline takes it gives the same bytes again: detections and alerts."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from demos.yard import Yard
from demos.yard.clip import write_clip
from demos.yard_demo import MODEL
from rules.engine import compile_rules, step
from rules.state import CameraState
from runtime.revisions import RevisionLog
from runtime.settings import KafkaSettings
from schemas.codec import decode, encode
from schemas.messages import Alert, DetectionEvent
from tests.support.pipeline import Up, environment, records, running

SECONDS = 40


def run_once(tmp_path: Path, name: str, bootstrap: str, prefix: str, configs: Path) -> Up:
    data = tmp_path / name / "data"
    arguments = ["up", "--configs", str(configs), "--data", str(data), "--prefix", prefix, "--no-api"]
    with running(arguments, environment(bootstrap), tmp_path / name) as up:
        assert up.wait(180) == 0, up.logs(data)
    return up


def without_topic(value: bytes) -> dict:
    """The record without the run's own topic prefix, the only thing two runs on one cluster cannot share."""
    record = json.loads(value)
    for place in (record, record.get("evidence", {})):
        if "frame" in place:
            place["frame"]["topic"] = "frames"
    return record


@pytest.mark.kafka
@pytest.mark.slow
def test_a_file_gives_the_same_detections_and_alerts_again(
    tmp_path: Path, kafka_broker: object, bootstrap: str, prefix: str
) -> None:
    yard = Yard(seed=601, camera="yard_gate")
    clip = tmp_path / "gate.mp4"
    write_clip(clip, yard, SECONDS, fps=10)
    configs = tmp_path / "configs"
    configs.mkdir()
    start = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    camera = {"id": "yard_gate", "url": str(clip), "realtime": False, "start_at": start, "fps_target": 5}
    (configs / "cameras.yaml").write_text(yaml.safe_dump({"cameras": [camera]}))
    (configs / "rois.yaml").write_text(yaml.safe_dump({"cameras": [yard.roi_document()]}))
    (configs / "services.yaml").write_text(yaml.safe_dump({"inference": {"model_path": str(MODEL)}}))

    first = run_once(tmp_path, "one", bootstrap, f"{prefix}one.", configs)
    second = run_once(tmp_path, "two", bootstrap, f"{prefix}two.", configs)

    for topic in ("detections", "alerts"):
        one = [without_topic(each.value) for each in records(bootstrap, f"{prefix}one.{topic}")]
        two = [without_topic(each.value) for each in records(bootstrap, f"{prefix}two.{topic}")]
        assert one == two
        assert one
    detections = [decode(DetectionEvent, each.value) for each in records(bootstrap, f"{prefix}one.detections")]
    assert len(detections) == SECONDS * 5
    assert all(each.skipped is None for each in detections)
    alerts = [decode(Alert, each.value) for each in records(bootstrap, f"{prefix}one.alerts")]
    assert {alert.phase for alert in alerts} == {"opened", "resolved"}
    assert first.stdout.splitlines() == [encode(alert).decode() for alert in alerts]
    assert len(second.stdout.splitlines()) == len(alerts)

    # Judging the recorded detections again gives the very bytes that went out live.
    log = RevisionLog(KafkaSettings(bootstrap_servers=bootstrap), f"{prefix}one.")
    log.refresh()
    log.close()
    revision = log.at("yard_gate", detections[0].captured_at)
    assert revision is not None
    document = compile_rules(revision.document, revision.revision, revision.effective_from)
    state, again = CameraState(), []
    for event in detections:
        judged = step(document, state, event)
        state = judged.state
        again += judged.alerts
    assert [encode(alert) for alert in again] == [encode(alert) for alert in alerts]
