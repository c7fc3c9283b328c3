"""Marking alerts on a real broker."""

import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.alerts import alerts
from runtime.kafka import deliver, producer
from runtime.marks import find_alert, read_marks
from runtime.settings import KafkaSettings
from schemas.messages import Alert
from tests.support.alerts import opened, record_of, resolved

DAY_MS = 86_400_000


def write(bootstrap: str, topic: str, *made: Alert) -> None:
    """Writes alerts as the rules do, to partition after partition."""
    client = producer(KafkaSettings(bootstrap_servers=bootstrap), "test")
    for number, alert in enumerate(made):
        key, value, headers = record_of(alert)
        instant = alert.opened_at if alert.resolved_at is None else alert.resolved_at
        deliver(client, topic, key=key, value=value, headers=headers, timestamp=instant, partition=number % 3)


def backsight(bootstrap: str, configs: Path, prefix: str, *arguments: str) -> Result:
    environ = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "BACKSIGHT_CONFIGS": str(configs), "BACKSIGHT_PREFIX": prefix}
    return CliRunner(env=environ).invoke(alerts, list(arguments))


def test_the_newest_mark_of_an_alert_counts(
    tmp_path: Path, bootstrap: str, prefix: str, topics: dict[str, str]
) -> None:
    now = round(time.time() * 1000)
    first, second = (opened(number, at=now - 60_000) for number in range(2))
    write(bootstrap, topics["alerts"], first, second, resolved(first), resolved(second))
    said = backsight(bootstrap, tmp_path, prefix, "mark", first.alert_id, "false", "--by", "ana", "--comment", "a cat")
    assert said.exit_code == 0, said.output
    assert "cam_nave3_hornos, loading_zone, object" in said.output
    assert "a false alarm by ana" in said.output
    assert backsight(bootstrap, tmp_path, prefix, "mark", second.alert_id.upper(), "true").exit_code == 0
    assert backsight(bootstrap, tmp_path, prefix, "mark", first.alert_id, "true", "--by", "ben").exit_code == 0
    marks = read_marks(KafkaSettings(bootstrap_servers=bootstrap), prefix)
    assert {name: mark.true for name, mark in marks.items()} == {first.alert_id: True, second.alert_id: True}
    assert (marks[first.alert_id].by, marks[first.alert_id].comment) == ("ben", None)
    assert marks[second.alert_id].by, "somebody said so"


def test_an_alert_that_nobody_knows_is_not_marked(
    tmp_path: Path, bootstrap: str, prefix: str, topics: dict[str, str]
) -> None:
    old = opened(at=round(time.time() * 1000) - 40 * DAY_MS)
    write(bootstrap, topics["alerts"], old)
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    refused = backsight(bootstrap, tmp_path, prefix, "mark", old.alert_id, "true")
    assert refused.exit_code == 2
    assert old.alert_id in refused.output
    assert backsight(bootstrap, tmp_path, prefix, "mark", old.alert_id, "true", "--since", "soon").exit_code == 2
    assert read_marks(kafka, prefix) == {}
    assert find_alert(kafka, prefix, old.alert_id, old.opened_at) == old
    assert backsight(bootstrap, tmp_path, prefix, "mark", old.alert_id, "true", "--since", "-50d").exit_code == 0


@pytest.mark.slow
def test_without_kafka_the_exit_code_says_so(tmp_path: Path) -> None:
    assert backsight("127.0.0.1:1", tmp_path, "", "mark", opened().alert_id, "true").exit_code == 3
