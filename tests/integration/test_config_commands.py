"""`backsight config apply` and `pull` on a real broker, and waiting for a group."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cli.config import config
from runtime.kafka import TopicPartition, consumer, deliver, producer, reader
from runtime.pipeline.drain import Stalled, await_group, committed, group_view, log_ends
from runtime.revisions import RevisionHistory, RevisionLog, publish_revisions
from runtime.roi_apply import plan_revisions
from runtime.settings import KafkaSettings
from schemas.documents.reading import read_document
from schemas.documents.rois import RoiDefaults, Rois

pytestmark = pytest.mark.kafka

ROIS = {
    "cameras": [
        {
            "camera_id": "gate",
            "forbidden_rois": [{"name": "dock", "points": [[10, 10], [90, 10], [90, 90]]}],
            "allowed_classes": ["pine"],
            "alert_classes": ["object"],
        }
    ]
}


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    (tmp_path / "cameras.yaml").write_text("cameras: [{id: gate, url: 'rtsp://192.0.2.1/1'}]")
    (tmp_path / "rois.yaml").write_text(yaml.safe_dump(ROIS))
    return tmp_path


def backsight(bootstrap: str, configs: Path, prefix: str, *arguments: str):
    environ = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "BACKSIGHT_CONFIGS": str(configs), "BACKSIGHT_PREFIX": prefix}
    return CliRunner(env=environ).invoke(config, list(arguments))


def test_apply_publishes_what_changed_and_pull_writes_it_back(
    configs: Path, bootstrap: str, prefix: str, topics: object
) -> None:
    first = backsight(bootstrap, configs, prefix, "apply")
    assert first.exit_code == 0, first.output
    assert "holds from the beginning" in first.output
    again = backsight(bootstrap, configs, prefix, "apply")
    assert "gate: unchanged" in again.output
    changed = yaml.safe_load((configs / "rois.yaml").read_text())
    changed["cameras"][0]["forbidden_rois"][0]["severity"] = "critical"
    (configs / "rois.yaml").write_text(yaml.safe_dump(changed))
    assert "takes effect at" in backsight(bootstrap, configs, prefix, "apply").output
    log = RevisionLog(KafkaSettings(bootstrap_servers=bootstrap), prefix)
    log.refresh()
    log.close()
    assert [each.document.rois[0].severity for each in log.history.of("gate")] == ["warning", "critical"]
    (configs / "rois.yaml").write_text(yaml.safe_dump(ROIS))
    pulled = backsight(bootstrap, configs, prefix, "pull")
    assert pulled.exit_code == 0, pulled.output
    assert yaml.safe_load((configs / "rois.yaml").read_text()) == changed
    assert yaml.safe_load((configs / "rois.yaml.before").read_text()) == ROIS


def test_what_came_through_the_api_stays_where_a_start_is_told_to_keep_it(
    configs: Path, bootstrap: str, prefix: str, topics: object
) -> None:
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    critical = {
        **ROIS["cameras"][0],
        "forbidden_rois": [{**ROIS["cameras"][0]["forbidden_rois"][0], "severity": "info"}],
    }
    through_api = read_document(Rois, {"cameras": [critical]}, "rois.yaml")
    plan = plan_revisions(RevisionHistory(), through_api, RoiDefaults(), 0, origin="api")
    publish_revisions(kafka, prefix, plan.publish)
    refused = backsight(bootstrap, configs, prefix, "apply")
    assert (refused.exit_code, "--force overrules it" in refused.output) == (2, True)
    kept = backsight(bootstrap, configs, prefix, "apply", "--keep-api")
    assert (kept.exit_code, "gate: the active document came through the API" in kept.output) == (0, True)
    assert "and stays active" in kept.output
    log = RevisionLog(kafka, prefix)
    log.refresh()
    log.close()
    assert [each.origin for each in log.history.of("gate")] == ["api"]


def test_a_wrong_document_publishes_nothing(configs: Path, bootstrap: str, prefix: str, topics: object) -> None:
    (configs / "rois.yaml").write_text("cameras: [{camera_id: gate, forbidden_rois: [{name: a, points: [[1, 1]]}]}]")
    refused = backsight(bootstrap, configs, prefix, "apply")
    assert refused.exit_code == 2
    assert "cameras[0].forbidden_rois[0].points" in refused.output
    view = reader(KafkaSettings(bootstrap_servers=bootstrap), "test")
    try:
        assert log_ends(view, f"{prefix}roi-revisions") == {}
    finally:
        view.close()


def test_waiting_for_a_group_names_what_remains(bootstrap: str, prefix: str, topics: object) -> None:
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    topic, group = f"{prefix}alerts", f"{prefix}router.test"
    client = producer(kafka, "test")
    for _ in range(3):
        deliver(client, topic, value=b"x", key="gate", partition=1)
    left: list[int] = []
    with pytest.raises(Stalled, match=r"records left: .*alerts\[1\] 3"):
        await_group(kafka, topic, group, told_to_stop=lambda _: False, progress=left.append, idle_seconds=0.0)
    assert left[-1] == 3
    reading = consumer(kafka, group, "test")
    view = group_view(kafka, group)
    reading.subscribe([topic])
    try:
        while sum(committed(view, topic, [1]).values()) < 3:
            record = reading.poll(1.0)
            if record is not None and record.error() is None:
                reading.commit(offsets=[TopicPartition(topic, 1, record.offset() + 1)], asynchronous=False)
    finally:
        reading.close()
        view.close()
    assert await_group(kafka, topic, group, told_to_stop=lambda _: False)
