"""A changed ROI while a rules worker runs: acknowledged before it holds, in effect from its instant of capture time."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from msgspec import structs

from api.revisions import Changed, kafka_revisions, tag_of
from cli.config import config
from rules.engine import compile_rules, step
from rules.state import NEW_CAMERA
from runtime.kafka import BrokerUnreachable
from runtime.revision_acks import await_acks
from runtime.revisions import RevisionHistory, publish_revisions
from runtime.roi_apply import plan_revisions
from runtime.settings import KafkaSettings, Settings
from schemas.codec import encode
from schemas.documents.rois import RoiDefaults, Rois
from schemas.messages import Alert, DetectionEvent
from tests.support.rules import alerts_of, distinct, events, publish_events, running_worker, wait_until_committed

ROI = {"name": "lower", "units": "fractions", "points": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]}


def written(**keys: object) -> dict[str, object]:
    """One ROI of one camera, as a person writes it."""
    return {"cameras": [{"camera_id": "yard", "forbidden_rois": [{**ROI, **keys}], "alert_classes": ["object"]}]}


def around(instant: int) -> list[DetectionEvent]:
    """A minute of events, the last three seconds of it after the instant: a worker waits for an event's own time."""
    made = events("yard", 300, seed=4, hit_share=0.6)
    shift = instant + 3_000 - max(event.captured_at for event in made)
    return [structs.replace(event, captured_at=event.captured_at + shift) for event in made]


def judged(made: list[DetectionEvent], history: RevisionHistory) -> list[Alert]:
    """What the engine says, each event by the revision of its instant."""
    state, alerts = NEW_CAMERA, []
    for event in made:
        held = history.at("yard", event.captured_at)
        answer = step(compile_rules(held.document, held.revision, held.effective_from), state, event)
        state = answer.state
        alerts += answer.alerts
    return alerts


def backsight(bootstrap: str, prefix: str, configs: Path, *arguments: str):
    environ = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "BACKSIGHT_CONFIGS": str(configs), "BACKSIGHT_PREFIX": prefix}
    return CliRunner(env=environ).invoke(config, list(arguments))


@pytest.mark.slow
def test_a_change_is_acknowledged_before_it_holds_and_judges_from_its_instant_on(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    installed = Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap), prefix=prefix)
    (tmp_path / "cameras.yaml").write_text("cameras: [{id: yard, url: 'rtsp://192.0.2.1/1'}]")
    (tmp_path / "rois.yaml").write_text(yaml.safe_dump(written()))
    alone = backsight(bootstrap, prefix, tmp_path, "apply", "--wait", "0.1")
    assert alone.exit_code == 1, alone.exc_info
    assert "no rules worker judges it now" in alone.output

    revisions = kafka_revisions(installed)
    with running_worker(bootstrap, prefix, tmp_path / "rules.log") as worker:
        known = backsight(bootstrap, prefix, tmp_path, "apply", "--wait", "30")
        assert (known.exit_code, "acknowledged: 1 camera(s)" in known.output) == (0, True), known.output

        seen = tag_of(revisions.newest())
        changed = Rois.model_validate(written(confirm={"hits": 1, "within_seconds": 0}, severity="critical"))
        plan, newest = revisions.replace(changed, lambda tag: tag == seen)
        with pytest.raises(Changed):
            revisions.replace(changed, lambda tag: tag == seen)
        assert await_acks(installed.kafka, prefix, newest, 8) == [], "before it holds"

        (change,) = plan.publish
        made = around(change.effective_from)
        publish_events(bootstrap, prefix, made)
        wait_until_committed(bootstrap, prefix, len(made), 40, [worker])

    history = RevisionHistory([*revisions.at(0), change])
    expected = judged(made, history)
    assert {alert.roi_revision for alert in expected} == {each.revision for each in history.of("yard")}, "both judged"
    assert distinct(alerts_of(bootstrap, prefix)) == distinct(map(encode, expected))
    revisions.close()

    told = json.loads(backsight(bootstrap, prefix, tmp_path, "history", "--json").output)
    assert [(each["origin"], each["changes"]) for each in told] == [
        ("file", ["first document: lower"]),
        ("api", ["lower: confirm.hits 3 → 1, confirm.within_seconds 2 → 0, severity warning → critical"]),
    ]
    assert [len(each["acknowledged"]) for each in told] == [1, 1]
    assert told[1]["acknowledged"][0]["acknowledged_at"] < change.effective_from
    assert "lower: confirm.hits 3 → 1" in backsight(bootstrap, prefix, tmp_path, "history", "--camera", "yard").output
    assert backsight(bootstrap, prefix, tmp_path, "history", "--camera", "gate").exit_code == 2
    assert backsight(bootstrap, prefix, tmp_path, "apply").exit_code == 2, "the file does not overrule the API"


def test_a_revision_that_the_broker_does_not_take_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.revisions.PUBLISH_SECONDS", 0.2)
    plan = plan_revisions(RevisionHistory(), Rois.model_validate(written()), RoiDefaults(), 0)
    with pytest.raises(BrokerUnreachable, match="yard"):
        publish_revisions(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "", plan.publish)
