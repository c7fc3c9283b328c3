"""Dead letters on a real broker: looked at, delivered after all, dropped."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.dead_letters import dead_letters
from runtime.dead_letters import dead_letter
from runtime.kafka import deliver, producer
from schemas.codec import encode, schema_header
from schemas.messages import Alert, delivery_id
from schemas.topics import DEAD_LETTERS
from tests.support.alerts import opened
from tests.support.broker import settings
from tests.support.receiver import Receiver, Status
from tests.support.routing import alert_writer, deliveries, router_settings, router_thread, write_alerts

pytestmark = pytest.mark.usefixtures("topics")


class Desk:
    """A person in front of a terminal."""

    def __init__(self, bootstrap: str, prefix: str, webhook_url: str = "http://127.0.0.1:9/") -> None:
        self._environ = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "BACKSIGHT_PREFIX": prefix,
            "BACKSIGHT_CONFIGS": "no-such-folder",
            "ALERTING_PROTOCOL": "webhook",
            "ALERTING_WEBHOOK_URL": webhook_url,
        }

    def says(self, *words: str) -> Result:
        """What a command answers."""
        return CliRunner(env=self._environ).invoke(dead_letters, list(words))

    def waiting(self, *words: str) -> list[dict[str, object]]:
        """The letters that wait, as JSON."""
        said = self.says("list", "--json", *words)
        assert said.exit_code == 0, said.output
        return [json.loads(line) for line in said.stdout.splitlines() if line.startswith("{")]


def now() -> int:
    return round(time.time() * 1000)


def put_away(
    bootstrap: str, prefix: str, value: bytes, *, stage: str, reason: str, detail: str = "", schema: bool = True
) -> None:
    """As a stage does that cannot read, judge or deliver a record."""
    place = (f"{prefix}alerts", 1, 17)
    original = [schema_header(Alert)] if schema else []
    value_, headers = dead_letter(stage, place, now(), value, original, reason, detail, 2)
    deliver(
        producer(settings(bootstrap), "test"), DEAD_LETTERS.full_name(prefix), value=value_, key="gate", headers=headers
    )


def test_what_a_receiver_refused_is_delivered_after_all_under_its_id_and_is_done_with(
    bootstrap: str, prefix: str
) -> None:
    alerts = [opened(number, camera=f"cam_{number}", at=now() - 600_000) for number in range(6)]
    with Receiver([Status(422)]) as receiver:
        write_alerts(alert_writer(bootstrap), prefix, alerts)
        with router_thread(router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url)):
            receiver.wait_for(6)
        desk = Desk(bootstrap, prefix, receiver.url)
        letters = desk.waiting("--sink", "webhook", "--reason", "rejected", "--since", "-1h")
        assert {(each["stage"], each["attempts"]) for each in letters} == {("router.webhook", 1)}
        assert len(letters) == 6
        receiver.habits = [Status(200)]
        receiver.got.clear()
        first = str(letters[0]["letter"])
        assert desk.says("redrive", first).exit_code == 2, "nobody was there to be asked"
        assert desk.says("redrive", first, "--dry-run").exit_code == 0
        assert receiver.ids == []
        assert desk.says("redrive", first, "--yes").exit_code == 0
        assert len(receiver.ids) == 1
        said = desk.says("redrive", "--sink", "webhook", "--yes", "--by", "ana")
        assert said.exit_code == 0, said.output
        assert sorted(receiver.ids) == sorted(map(delivery_id, alerts)), "each once"
        assert desk.says("redrive", "--sink", "webhook", "--yes").exit_code == 0
        assert len(receiver.ids) == 6
    assert desk.waiting() == []
    assert len(desk.waiting("--all")) == 6
    newest = {each.delivery_id: each.outcome for each in deliveries(bootstrap, prefix)}
    assert set(newest.values()) == {"delivered"}


def test_what_is_still_refused_stays_a_letter(bootstrap: str, prefix: str) -> None:
    put_away(bootstrap, prefix, encode(opened(at=now())), stage="router.webhook", reason="rejected")
    with Receiver([Status(422)]) as receiver:
        desk = Desk(bootstrap, prefix, receiver.url)
        assert desk.says("redrive", "--sink", "webhook", "--yes").exit_code == 1
        assert len(receiver.ids) == 1
        assert len(desk.waiting()) == 1


def test_letters_of_other_stages_are_not_redriven_and_it_is_said_why(bootstrap: str, prefix: str) -> None:
    put_away(bootstrap, prefix, b"{", stage="rules", reason="bad_value", schema=False)
    put_away(bootstrap, prefix, b"{", stage="router.webhook", reason="bad_value")
    desk = Desk(bootstrap, prefix)
    (rules,) = desk.waiting("--stage", "rules")
    said = desk.says("redrive", str(rules["letter"]), "--yes")
    assert said.exit_code == 2
    assert "backsight replay" in said.output
    said = desk.says("redrive", "--yes")
    assert said.exit_code == 1, "an alert that cannot be read stays"
    assert "cannot be read (bad_value)" in said.output
    assert len(desk.waiting()) == 2


def test_what_is_dropped_no_longer_waits_and_stays_on_record(bootstrap: str, prefix: str) -> None:
    for reason in ("too_old", "too_old", "bad_value"):
        put_away(bootstrap, prefix, b"{}", stage="router.webhook", reason=reason)
    desk = Desk(bootstrap, prefix)
    assert desk.says("drop", "--yes").exit_code == 2, "everything must be said to be meant"
    said = desk.says("drop", "--reason", "too_old")
    assert said.exit_code == 1, said.output
    assert len(desk.waiting()) == 3
    said = desk.says("drop", "--reason", "too_old", "--yes", "--by", "ana", "--comment", "the siren was being mended")
    assert said.exit_code == 0, said.output
    assert [each["reason"] for each in desk.waiting()] == ["bad_value"]
    settled = [each["settled"] for each in desk.waiting("--all", "--reason", "too_old")]
    assert [(each["verdict"], each["by"], each["comment"]) for each in settled if isinstance(each, dict)] == [
        ("dropped", "ana", "the siren was being mended")
    ] * 2


def test_a_letter_is_shown_with_its_value_and_without_credentials(bootstrap: str, prefix: str) -> None:
    alert = opened(at=now())
    put_away(bootstrap, prefix, encode(alert), stage="router.webhook", reason="rejected", detail="http://u:hidden@h/")
    put_away(bootstrap, prefix, b'{"source": "rtsp://root:hidden@camera/1"}', stage="rules", reason="bad_value")
    put_away(bootstrap, prefix, b"\xff\xd8\xff\xe0\x1b[2J", stage="inference", reason="undecodable")
    desk = Desk(bootstrap, prefix)
    shown = {str(each["stage"]): desk.says("show", str(each["letter"])).output for each in desk.waiting()}
    assert f'"alert_id": "{alert.alert_id}"' in shown["router.webhook"]
    assert "alert/1" in shown["router.webhook"]
    assert "rtsp://***@camera/1" in shown["rules"]
    assert "ff d8 ff e0" in shown["inference"]
    assert not any("hidden" in each or "\x1b" in each for each in shown.values())
    (picture,) = desk.waiting("--stage", "inference")
    assert desk.says("show", str(picture["letter"]), "--raw").stdout_bytes == b"\xff\xd8\xff\xe0\x1b[2J"
    table = desk.says("list").output
    assert "hidden" not in table
    assert "1 × rules: bad_value" in table


def test_a_letter_that_there_is_not_is_refused(tmp_path: Path, bootstrap: str, prefix: str) -> None:
    desk = Desk(bootstrap, prefix)
    assert desk.says("show", "0/99").exit_code == 2
    assert desk.says("show", "nonsense").exit_code == 2
    assert desk.says("list", "--since", "yesterday").exit_code == 2
