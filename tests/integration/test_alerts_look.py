"""Looking at alerts on a real broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.alerts import alerts
from schemas.messages import delivery_id
from tests.support.alerts import opened, resolved
from tests.support.receiver import Receiver, Status
from tests.support.routing import ROOT, alert_writer, router_settings, router_thread, write_alerts

pytestmark = pytest.mark.usefixtures("topics")


def now() -> int:
    return round(time.time() * 1000)


def environ(bootstrap: str, prefix: str) -> dict[str, str]:
    return {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "BACKSIGHT_PREFIX": prefix, "BACKSIGHT_CONFIGS": "no-such-folder"}


def says(bootstrap: str, prefix: str, *words: str) -> Result:
    return CliRunner(env=environ(bootstrap, prefix)).invoke(alerts, list(words))


def listed(bootstrap: str, prefix: str, *words: str) -> list[str]:
    said = says(bootstrap, prefix, "list", "--json", *words)
    assert said.exit_code == 0, said.output
    return [json.loads(line)["alert_id"] for line in said.stdout.splitlines() if line.startswith("{")]


def test_each_alert_is_listed_once_by_span_camera_and_whether_it_is_open(bootstrap: str, prefix: str) -> None:
    gate, yard, old = (
        opened(0, camera="gate", at=now() - 60_000),
        opened(1, camera="yard", at=now() - 60_000),
        opened(0, camera="gate", at=now() - 2 * 86_400_000),
    )
    write_alerts(alert_writer(bootstrap), prefix, [old, gate, yard, resolved(gate), gate])
    assert listed(bootstrap, prefix) == [gate.alert_id, yard.alert_id]
    assert listed(bootstrap, prefix, "--from", "-3d") == [old.alert_id, gate.alert_id, yard.alert_id]
    assert listed(bootstrap, prefix, "--from", "-3d", "--to", "-1d") == [old.alert_id]
    assert listed(bootstrap, prefix, "--camera", "yard") == [yard.alert_id]
    assert listed(bootstrap, prefix, "--open") == [yard.alert_id]
    assert listed(bootstrap, prefix, "--severity", "info") == []
    said = says(bootstrap, prefix, "list")
    assert "5.0 s" in said.output
    assert "2 alerts, 1 open" in said.output
    assert says(bootstrap, prefix, "list", "--from", "soon").exit_code == 2


def test_an_alert_is_shown_with_its_phases_its_deliveries_and_its_mark(bootstrap: str, prefix: str) -> None:
    alert = opened(camera="gate", at=now() - 60_000)

    class Picky(Status):
        def answer(self, write, receiver):  # type: ignore[no-untyped-def]
            Status(200 if receiver.got[-1].delivery_id == delivery_id(alert) else 422).answer(write, receiver)

    write_alerts(alert_writer(bootstrap), prefix, [alert, resolved(alert)])
    with (
        Receiver([Picky()]) as receiver,
        router_thread(router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url)),
    ):
        receiver.wait_for(2)
    assert says(bootstrap, prefix, "mark", alert.alert_id, "false", "--by", "ana", "--comment", "a cat").exit_code == 0
    shown = says(bootstrap, prefix, "show", alert.alert_id[:10]).output
    assert "webhook: opened: delivered (accepted)" in shown
    assert "webhook: resolved: refused (rejected)" in shown
    assert "(quiet), after 5.0 s" in shown
    assert "marked as a false alarm by ana" in shown
    assert "judged by revision 0123456789abcdef, of which nothing is on record" in shown
    whole = json.loads(says(bootstrap, prefix, "show", alert.alert_id, "--json").output)
    assert set(whole["phases"]) == {"opened", "resolved"}
    assert [each["outcome"] for each in whole["deliveries"]] == ["delivered", "refused"]
    assert says(bootstrap, prefix, "show", "no-such").exit_code == 2


def test_alerts_are_followed_as_they_come(bootstrap: str, prefix: str) -> None:
    before = [opened(number, camera="gate", at=now() - 60_000) for number in range(3)]
    write_alerts(alert_writer(bootstrap), prefix, before)
    said = says(bootstrap, prefix, "tail", "-n", "2", "--json")
    assert [json.loads(line)["alert_id"] for line in said.output.splitlines()] == [each.alert_id for each in before[1:]]
    command = [sys.executable, "-m", "cli.main", "alerts", "tail", "-f", "-n", "1", "--camera", "gate"]
    told = {**os.environ, **environ(bootstrap, prefix)}
    with subprocess.Popen(command, cwd=Path(ROOT), env=told, stdout=subprocess.PIPE, text=True) as following:
        try:
            assert following.stdout is not None
            assert "opened" in following.stdout.readline()
            elsewhere, here = opened(7, camera="yard", at=now()), resolved(before[0])
            write_alerts(alert_writer(bootstrap), prefix, [elsewhere, here])
            assert "gate · loading_zone: object, after 5.0 s (quiet)" in following.stdout.readline()
        finally:
            following.terminate()
        assert following.wait(10) == 0
