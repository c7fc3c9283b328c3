"""`backsight replay deliveries` on a real broker, with a real receiver."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.replay_deliveries import deliveries as command
from router import sinks
from schemas.codec import encode, schema_header
from schemas.messages import Alert, Delivery, delivery_id
from schemas.topics import DELIVERIES
from tests.support.alerts import opened, resolved
from tests.support.receiver import Receiver, Status
from tests.support.routing import (
    ROOT,
    alert_writer,
    deliveries,
    router_settings,
    router_thread,
    write_alerts,
)

pytestmark = pytest.mark.usefixtures("topics")

START = round(time.time() * 1000) - 600_000


def story(count: int) -> list[Alert]:
    alerts = [opened(number, camera=f"cam_{number % 3}", at=START) for number in range(count)]
    return [phase for alert in alerts for phase in (alert, resolved(alert, after_ms=500))]


def environ(bootstrap: str, prefix: str, url: str = "") -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "BACKSIGHT_PREFIX": prefix,
        "BACKSIGHT_CONFIGS": "no-such-folder",
        "ALERTING_WEBHOOK_URL": url,
    }


def replay(bootstrap: str, prefix: str, url: str, *arguments: str) -> Result:
    """The command as a script calls it: no terminal, and `--yes` where it says so."""
    runner = CliRunner(env=environ(bootstrap, prefix, url))
    return runner.invoke(command, ["--sink", "webhook", "--from", str(START), *arguments])


def on_record(bootstrap: str, prefix: str) -> dict[str, str]:
    return {each.delivery_id: each.outcome for each in deliveries(bootstrap, prefix)}


def write_outcome(bootstrap: str, prefix: str, alert: Alert, outcome: str) -> None:
    told = Delivery(delivery_id(alert), "webhook", outcome, 1, alert.opened_at, alert.opened_at)  # type: ignore[arg-type]
    writer = alert_writer(bootstrap)
    writer.produce(
        DELIVERIES.full_name(prefix),
        key=f"webhook/{told.delivery_id}",
        value=encode(told),
        headers=[schema_header(Delivery)],
        timestamp=alert.opened_at,
    )
    assert writer.flush(20) == 0


def test_a_span_is_told_again_with_the_ids_and_bytes_of_the_first_time(bootstrap: str, prefix: str) -> None:
    alerts = story(12)
    write_alerts(alert_writer(bootstrap), prefix, [*alerts, *alerts[:5]])  # some judged twice, as after a crash
    with Receiver() as receiver:
        with router_thread(router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url)):
            receiver.wait_for(len(alerts))
        first = {got.delivery_id: got.body for got in receiver.got}
        before = deliveries(bootstrap, prefix)
        receiver.got.clear()
        result = replay(bootstrap, prefix, receiver.url, "--yes")
        assert (result.exit_code, result.stdout) == (0, ""), result.output
        assert f"webhook: {len(alerts)} of {len(alerts)} delivered" in result.stderr
        assert {got.delivery_id: got.body for got in receiver.got} == first
        assert len(receiver.got) == len(alerts)
        for alert in alerts[::2]:
            assert receiver.ids.index(f"{alert.alert_id}_0") < receiver.ids.index(f"{alert.alert_id}_1")
    assert deliveries(bootstrap, prefix) == before


def test_what_the_sink_was_not_told_before_is_on_record_afterwards_and_the_router_does_not_repeat_it(
    bootstrap: str, prefix: str
) -> None:
    alerts = story(4)
    write_alerts(alert_writer(bootstrap), prefix, alerts)
    write_outcome(bootstrap, prefix, alerts[0], "delivered")
    write_outcome(bootstrap, prefix, alerts[1], "expired")
    with Receiver() as receiver:
        result = replay(bootstrap, prefix, receiver.url, "--yes", "--only-undelivered")
        assert result.exit_code == 0, result.output
        assert sorted(receiver.ids) == sorted(map(delivery_id, alerts[1:]))
        assert on_record(bootstrap, prefix) == dict.fromkeys(map(delivery_id, alerts), "delivered")
        with router_thread(router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url)):
            last = opened(99, at=START)
            write_alerts(alert_writer(bootstrap), prefix, [last])
            receiver.wait_until(lambda: delivery_id(last) in receiver.ids)
        assert len(receiver.ids) == len(set(receiver.ids)) == len(alerts)


def test_a_failure_is_not_put_on_record(bootstrap: str, prefix: str) -> None:
    alerts = story(2)
    write_alerts(alert_writer(bootstrap), prefix, alerts)
    write_outcome(bootstrap, prefix, alerts[0], "delivered")
    with Receiver([Status(403)]) as receiver:
        result = replay(bootstrap, prefix, receiver.url, "--yes")
    assert result.exit_code == 1
    assert "refused: unauthorized: 4" in result.stderr
    assert on_record(bootstrap, prefix) == {delivery_id(alerts[0]): "delivered"}


def test_only_what_the_filters_take_is_told(bootstrap: str, prefix: str) -> None:
    write_alerts(alert_writer(bootstrap), prefix, story(6))
    with Receiver() as receiver:
        until = str(START + 3100)  # cam_0 opened at 0 s and 3 s, and resolved half a second later
        result = replay(bootstrap, prefix, receiver.url, "--yes", "--cameras", "cam_0", "--to", until)
        assert result.exit_code == 0, result.output
        seqs = [(got.json["data"]["opened_at"] - START, got.json["data"]["seq"]) for got in receiver.got]
    assert sorted(seqs) == [(0, 0), (0, 1), (3000, 0)]


def test_without_a_terminal_and_without_yes_nobody_is_told(bootstrap: str, prefix: str) -> None:
    write_alerts(alert_writer(bootstrap), prefix, story(2))
    with Receiver() as receiver:
        result = replay(bootstrap, prefix, receiver.url)
        assert result.exit_code == 2
        assert "--yes" in result.stderr
        assert receiver.got == []


@pytest.mark.parametrize(("typed", "told", "code"), [(b"n\n", 0, 1), (b"y\n", 4, 0)])
def test_a_person_is_asked_and_obeyed(bootstrap: str, prefix: str, typed: bytes, told: int, code: int) -> None:
    write_alerts(alert_writer(bootstrap), prefix, story(2))
    ours, theirs = pty.openpty()
    try:
        with Receiver() as receiver:
            asked = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "replay", "deliveries", "--sink", "webhook", "--from", str(START)],
                cwd=ROOT,
                env={**os.environ, **environ(bootstrap, prefix, receiver.url)},
                stdin=theirs,
                stderr=subprocess.PIPE,
            )
            os.write(ours, typed)
            _, said = asked.communicate(timeout=60)
            assert asked.returncode == code, said
            assert b"4 messages of 2 alerts" in said
            assert len(receiver.got) == told
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_dry_run_shows_what_would_be_told_and_tells_nobody(bootstrap: str, prefix: str) -> None:
    alerts = story(2)
    write_alerts(alert_writer(bootstrap), prefix, alerts)
    write_outcome(bootstrap, prefix, alerts[0], "expired")
    with Receiver() as receiver:
        result = replay(bootstrap, prefix, receiver.url, "--dry-run")
        assert result.exit_code == 0
        assert receiver.got == []
    lines = result.stdout.splitlines()
    in_time = sorted(alerts, key=lambda each: each.resolved_at or each.opened_at)
    assert [line.split()[0] for line in lines] == [delivery_id(each) for each in in_time]
    assert "expired" in lines[0]


BARRIER = """
from typing import ClassVar, Literal

from router.retry import ACCEPTED
from schemas.documents.routes import SinkDocument


class BarrierDocument(SinkDocument):
    kind: Literal["barrier"]


class Barrier:
    kind: ClassVar[str] = "barrier"
    document = BarrierDocument
    name = "barrier"
    lanes = 1
    actuates: ClassVar[bool] = True
    deadline_seconds = 1.0
    max_age_seconds = None

    @classmethod
    def from_document(cls, document):
        return cls()

    async def deliver(self, notice):
        with open({path!r}, "a") as file:
            file.write(notice.delivery_id + "\\n")
        return ACCEPTED

    async def close(self):
        pass


SINK = Barrier
"""


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sink file `barrier` beside the others; answers the file that it writes to when it moves."""
    path = tmp_path / "moved"
    path.touch()
    folder = tmp_path / "sinks"
    folder.mkdir()
    (folder / "barrier.py").write_text(BARRIER.format(path=str(path)))
    monkeypatch.setattr(sinks, "__path__", [*sinks.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "router.sinks.barrier", raising=False)
    return path


def test_an_actuator_is_not_moved_by_the_past_unless_somebody_says_so(bootstrap: str, prefix: str, moved: Path) -> None:
    alerts = story(1)
    write_alerts(alert_writer(bootstrap), prefix, alerts)
    refused = replay(bootstrap, prefix, "", "--sink", "barrier", "--yes")
    assert refused.exit_code == 2
    assert "--even-actuators" in refused.stderr
    assert moved.read_text() == ""
    meant = replay(bootstrap, prefix, "", "--sink", "barrier", "--yes", "--even-actuators")
    assert meant.exit_code == 0, meant.output
    assert moved.read_text().split() == [delivery_id(each) for each in alerts]


def test_a_sink_nobody_knows_is_refused_with_those_that_are_known(bootstrap: str, prefix: str) -> None:
    result = replay(bootstrap, prefix, "", "--sink", "pager", "--yes")
    assert result.exit_code == 2
    assert "stdout, webhook" in result.stderr


def test_a_webhook_without_its_url_is_refused(bootstrap: str, prefix: str) -> None:
    result = replay(bootstrap, prefix, "", "--yes")
    assert result.exit_code == 2
    assert "ALERTING_WEBHOOK_URL" in result.stderr
