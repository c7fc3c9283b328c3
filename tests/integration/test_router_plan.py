"""Silences, repeats and company on a real broker with a real receiver, restarts included."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from cli.main import main
from runtime.settings import Settings
from runtime.silences import read_silences
from schemas.messages import Alert, delivery_id
from tests.support.alerts import opened, resolved
from tests.support.broker import settings
from tests.support.receiver import Receiver
from tests.support.routing import alert_writer, deliveries, router_thread, write_alerts

pytestmark = pytest.mark.usefixtures("topics")


def recent(number: int, severity: str = "warning", *, ago_ms: int = 1000, camera: str = "gate") -> Alert:
    at = round(time.time() * 1000) - ago_ms - number * 2000
    return replace(opened(number, camera=camera, at=at), severity=severity)


def told(bootstrap: str, prefix: str, folder: Path, url: str, route: str) -> Settings:
    (folder / "routes.yaml").write_text(
        f"sinks: [{{name: desk, kind: webhook, url: '{url}'}}]\nroute: {{sinks: [desk], {route}}}\n"
    )
    return Settings(kafka=settings(bootstrap), prefix=prefix, configs=folder)


def backsight(bootstrap: str, prefix: str, *arguments: str):
    return CliRunner().invoke(
        main, [*arguments, "--prefix", prefix, "--configs", "none"], env={"KAFKA_BOOTSTRAP_SERVERS": bootstrap}
    )


def outcomes(bootstrap: str, prefix: str) -> dict[str, str]:
    return {each.delivery_id: each.outcome for each in deliveries(bootstrap, prefix)}


def test_what_a_silence_held_is_told_when_it_is_taken_back_even_by_another_router(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    writer = alert_writer(bootstrap)
    staying, gone, other = recent(1), recent(2), recent(3, camera="yard")
    added = backsight(
        bootstrap,
        prefix,
        "silences",
        "add",
        "--match",
        "camera = gate",
        "--for",
        "2h",
        "--comment",
        "works",
        "--by",
        "ana",
    )
    assert added.exit_code == 0, added.output
    with Receiver() as receiver:
        desk = told(bootstrap, prefix, tmp_path, receiver.url, "send_resolved: true")
        with router_thread(desk):
            write_alerts(writer, prefix, [staying, gone, resolved(gone), other])
            receiver.wait_for(1)
        assert receiver.ids == [delivery_id(other)]
        assert outcomes(bootstrap, prefix) == {
            delivery_id(staying): "silenced",
            delivery_id(gone): "silenced",
            delivery_id(resolved(gone)): "silenced",
            delivery_id(other): "delivered",
        }
        listed = backsight(bootstrap, prefix, "silences", "list", "--json")
        assert '"author": "ana"' in listed.stdout
        removed = backsight(bootstrap, prefix, "silences", "remove", added.stdout.split()[0][:8])
        assert removed.exit_code == 0, removed.output
        with router_thread(desk):
            receiver.wait_for(2)
            write_alerts(writer, prefix, [resolved(staying)])
            receiver.wait_for(3)
    assert receiver.ids[1:] == [delivery_id(staying), delivery_id(resolved(staying))]
    assert outcomes(bootstrap, prefix)[delivery_id(staying)] == "delivered"
    (silence,) = read_silences(settings(bootstrap), prefix)
    assert (silence.author, silence.comment, silence.ends_at < time.time() * 1000) == ("ana", "works", True)


def test_an_open_alert_is_told_again_under_the_same_id_whoever_tells_it(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    writer = alert_writer(bootstrap)
    # The interval is a minute at least: an alert of 52 s ago is told again in eight seconds.
    alert = recent(0, ago_ms=52_000)
    with Receiver() as receiver:
        desk = told(bootstrap, prefix, tmp_path, receiver.url, "repeat_every_seconds: 60")
        write_alerts(writer, prefix, [alert])
        with router_thread(desk):
            receiver.wait_for(2)
        with router_thread(desk):
            write_alerts(writer, prefix, [resolved(alert, after_ms=50_000)])
            receiver.wait_for(3)
    first = delivery_id(alert)
    assert receiver.ids == [first, f"{first}_r1", delivery_id(resolved(alert))]
    assert [got.json["type"] for got in receiver.got] == ["alert.opened", "alert.repeated", "alert.resolved"]
    assert set(outcomes(bootstrap, prefix).values()) == {"delivered"}


def test_alerts_in_company_are_one_message_and_each_has_its_outcome(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    alerts = [recent(number) for number in range(3)]
    urgent = recent(9, "critical")
    with Receiver() as receiver:
        desk = told(bootstrap, prefix, tmp_path, receiver.url, "group_wait_seconds: 1")
        with router_thread(desk):
            write_alerts(alert_writer(bootstrap), prefix, [*alerts, urgent])
            receiver.wait_for(2)
    assert receiver.ids[0] == delivery_id(urgent)
    body = receiver.got[1].json
    assert body["type"] == "alerts.grouped"
    assert [each["alert_id"] for each in body["data"]["alerts"]] == [alert.alert_id for alert in alerts]
    assert outcomes(bootstrap, prefix) == {delivery_id(each): "delivered" for each in (*alerts, urgent)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--match", "camera = x", "--comment", "c"], "needs an end"),
        (["--match", "camera = x", "--for", "8d", "--comment", "c"], "at most 7 days"),
        (["--match", "colour = x", "--for", "1h", "--comment", "c"], "no label"),
        (["--match", "camera =~ (", "--for", "1h", "--comment", "c"], "no regular expression"),
        (["--match", "camera = x", "--for", "1h", "--comment", " "], "author and a comment"),
        (["--match", "camera = x", "--until", "-1h", "--comment", "c"], "in the future"),
    ],
)
def test_a_silence_that_cannot_be_meant_is_refused(
    bootstrap: str, prefix: str, arguments: list[str], said: str
) -> None:
    refused = backsight(bootstrap, prefix, "silences", "add", *arguments)
    assert (refused.exit_code, said in refused.stderr) == (2, True), refused.output
    assert read_silences(settings(bootstrap), prefix) == ()
