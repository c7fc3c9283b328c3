"""Alerts in, levels on a recorder out: the figures H1, H2 and H3 of the chaos table, and what a siren must never do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from router.delivery_thread import DeliveryThread
from router.isapi import client as client_module
from router.lanes import Ended
from router.retry import RetryPolicy
from router.sinks import Notice, SinkGone, one_line_sink, open_sink
from schemas.codec import encode
from schemas.documents.services import AlertingSettings
from schemas.messages import Alert
from tests.support.alerts import opened, resolved
from tests.support.fake_nvr import BUSY, BUSY_ANSWERS, FAULT, REBOOT, FakeNvr
from tests.support.figures import show
from tests.support.receiver import Receiver
from tests.support.routing import ROOT, alert_writer, deliveries, write_alerts


@pytest.fixture(autouse=True)
def _nobody_was_refused_before(monkeypatch):
    """Ports are used again; who was refused at one is remembered for the life of the process."""
    monkeypatch.setattr(client_module, "_DOORS", {})


def now() -> int:
    return round(time.time() * 1000)


def alert(number: int = 0, camera: str = "gate") -> Alert:
    """One of this moment; another ``number``, another alert."""
    return opened(camera=camera, at=now() - number * 100)


class Telling:
    """A sink in its thread with its lanes, as the router has it, and how every notice ended."""

    def __init__(self, nvr: FakeNvr, **written: object) -> None:
        entry = {"name": "nvr", "kind": "hikvision", "url": nvr.full_url, "min_on_seconds": 0} | written
        self.sink = open_sink(entry, "sinks[0]", {})
        self.ended: list[Ended] = []
        self._told = threading.Condition()
        age = self.sink.max_age_seconds
        assert age is not None
        policy = RetryPolicy(max_age_ms=round(age * 1000), first_ms=50, longest_ms=200)
        self.thread = DeliveryThread(self.sink, policy, self._end)
        self.thread.start()

    def _end(self, ended: Ended | SinkGone) -> None:
        assert isinstance(ended, Ended)
        with self._told:
            self.ended.append(ended)
            self._told.notify_all()

    def tell(self, *alerts: Alert) -> None:
        for each in alerts:
            self.thread.offer(Notice(each, encode(each)))

    def wait(self, count: int, seconds: float = 20.0) -> list[Ended]:
        with self._told:
            assert self._told.wait_for(lambda: len(self.ended) >= count, seconds), self.ended
            return list(self.ended)


@contextmanager
def telling(nvr: FakeNvr, **written: object) -> Iterator[Telling]:
    told = Telling(nvr, **written)
    try:
        yield told
    finally:
        told.thread.close()


def outcomes(ended: list[Ended]) -> list[str]:
    return [each.end.outcome for each in ended]


# What is turned on


def test_the_best_of_what_a_device_has_is_turned_on_and_off_again():
    with FakeNvr() as nvr, telling(nvr) as router:
        first = alert()
        router.tell(first, resolved(first))
        assert outcomes(router.wait(2)) == ["delivered", "delivered"]
        assert nvr.switched("soft_input 1") == [False, True, False]
        assert {change.what for change in nvr.changes} == {"soft_input 1"}


@pytest.mark.parametrize(
    ("has", "what"),
    [
        ({"soft_inputs": 0}, "output 1"),
        ({"soft_inputs": 0, "outputs": 0}, "record 101"),
        ({"soft_inputs": 0, "old_firmware": True}, "output 1"),
        ({"starts_soft_input_with": "another word"}, "output 1"),
    ],
)
def test_what_does_not_work_gives_way_to_the_next_best(has, what):
    with FakeNvr(**has) as nvr, telling(nvr) as router:
        first = alert()
        router.tell(first)
        assert outcomes(router.wait(1)) == ["delivered"]
        assert nvr.on == {what}
        router.tell(resolved(first))
        router.wait(2)
        assert nvr.on == set()


def test_each_camera_has_its_own_port_or_track():
    with (
        FakeNvr(outputs=4) as nvr,
        telling(nvr, action="output", port=1, ports={"gate": 3, "yard": 4}) as router,
    ):
        router.tell(alert(camera="gate"), alert(camera="yard"), alert(camera="dock"))
        router.wait(3)
        assert nvr.on == {"output 1", "output 3", "output 4"}
    with FakeNvr() as nvr, telling(nvr, action="record", tracks={"gate": 301}) as router:
        router.tell(alert())
        router.wait(1)
        assert nvr.on == {"record 301"}


def test_a_device_s_own_wire_shape_is_data():
    with (
        FakeNvr(record_method="POST") as nvr,
        telling(nvr, action="record", profile={"record": {"method": "POST"}}) as router,
    ):
        router.tell(alert())
        assert outcomes(router.wait(1)) == ["delivered"]
        assert nvr.on == {"record 101"}


def test_retriggering_yields_one_high_and_one_low():
    with FakeNvr() as nvr, telling(nvr, action="output") as router:
        first, second, third = alert(0), alert(1), alert(2)
        router.tell(first, second, third)
        router.wait(3)
        router.tell(resolved(first), resolved(second))
        router.wait(5)
        assert nvr.on == {"output 1"}, "one alert is still open"
        router.tell(resolved(third))
        router.wait(6)
        assert nvr.switched("output 1") == [False, True, False]
        assert len(nvr.triggers()) == 3


def test_what_never_resolves_is_on_for_as_long_as_allowed_and_no_longer():
    with FakeNvr() as nvr, telling(nvr, action="output", max_on_seconds=1.5) as router:
        router.tell(alert(0))
        router.wait(1)
        time.sleep(0.7)  # another alert in the midst does not prolong it
        router.tell(alert(1))
        nvr.wait_until(lambda: nvr.switched("output 1") == [False, True, False])
        (spell,) = nvr.spells("output 1")
        assert 1.4 <= spell <= 3


def test_what_resolves_at_once_is_on_for_a_moment():
    with FakeNvr() as nvr, telling(nvr, action="output", min_on_seconds=1) as router:
        first = alert()
        router.tell(first, resolved(first))
        router.wait(2)
        (spell,) = nvr.spells("output 1")
        assert 0.95 <= spell <= 3


def test_it_is_turned_off_at_start_and_at_the_end():
    with FakeNvr(outputs=2) as nvr:
        nvr.on.add("output 1")
        with telling(nvr, action="output") as router:
            nvr.wait_until(lambda: nvr.on == set())
            router.tell(alert())
            router.wait(1)
            assert nvr.on == {"output 1"}
        assert nvr.on == set()
        assert all(path.endswith("/1/trigger") for path in nvr.triggers()), "what is not ours is left alone"


def test_a_sink_that_was_closed_begins_again():
    with FakeNvr() as nvr:
        router = Telling(nvr, action="output")
        router.thread.close()
        again = DeliveryThread(router.sink, RetryPolicy(max_age_ms=None), router._end)
        again.start()
        again.offer(Notice(first := alert(), encode(first)))
        assert outcomes(router.wait(1)) == ["delivered"]
        again.close()
        assert nvr.on == set()


def test_a_device_that_was_away_at_start_is_turned_off_when_it_comes_back():
    with FakeNvr() as nvr:
        url, port = nvr.full_url, nvr.port
    nvr = FakeNvr(port=port)
    nvr.on.add("output 1")
    sink = open_sink({"name": "nvr", "kind": "hikvision", "url": url, "action": "output"}, "sinks[0]", {})
    thread = DeliveryThread(sink, RetryPolicy(max_age_ms=None), lambda _ended: None)
    thread.start()
    try:
        time.sleep(0.3)
        with nvr:
            nvr.wait_until(lambda: nvr.on == set(), 10)
    finally:
        thread.close()


# H1: a recorder with bad habits


@pytest.mark.parametrize("action", ["output", "soft_input", "record"])
def test_h1_a_stale_nonce_is_no_failure(action, record_property):
    with FakeNvr(nonce_uses=1, nonce_seconds=0.5) as nvr, telling(nvr, action=action) as router:
        nvr.wait_until(lambda: len(nvr.changes) == 1)
        nvr.stale_next = 1
        router.tell(alert())
        (ended,) = router.wait(1)
        assert (ended.end.outcome, ended.attempts) == ("delivered", 1)
        assert len(nvr.on) == 1
        show(record_property, 1, router.ended)


@pytest.mark.parametrize("answer", [*BUSY_ANSWERS, (500, FAULT), (200, FAULT)])
def test_h1_three_times_busy_is_delivered_at_the_fourth_attempt(answer, record_property):
    with FakeNvr() as nvr, telling(nvr, action="output") as router:
        nvr.wait_until(lambda: len(nvr.changes) == 1)
        nvr.answers_next = [answer] * 3
        router.tell(alert())
        (ended,) = router.wait(1)
        assert (ended.end.outcome, ended.attempts) == ("delivered", 4)
        assert nvr.switched("output 1") == [False, True]
        show(record_property, 1, router.ended)


def test_h1_what_is_not_supported_is_asked_once(record_property):
    with FakeNvr(outputs=1) as nvr, telling(nvr, action="output", port=9) as router:
        nvr.wait_until(lambda: len(nvr.triggers()) == 1)
        router.tell(alert())
        (ended,) = router.wait(1)
        assert (ended.end.outcome, ended.end.reason, ended.attempts) == ("refused", "not_found", 1)
        assert "notSupport" in ended.detail
        show(record_property, 1, router.ended)
        time.sleep(2.5)  # nothing was turned on, so nothing is turned off, neither now nor at the end
    assert len(nvr.triggers(on=True)) == len(nvr.triggers(on=False)) == 1
    assert nvr.changes == []


def test_h1_a_user_who_may_not_is_told_from_a_login_that_is_refused(record_property):
    with FakeNvr(forbidden=True) as nvr, telling(nvr, action="output", max_age_seconds=2) as router:
        router.tell(alert())
        (ended,) = router.wait(1)
        assert (ended.end.outcome, ended.end.reason) == ("expired", "too_old")
        assert "lowPrivilege" in ended.detail
        assert nvr.wrong_logins == 0
        show(record_property, 1, router.ended)


@pytest.mark.parametrize("locks", [False, True])
def test_h1_a_refused_login_is_not_repeated_for_any_alert(locks, record_property):
    with FakeNvr(lock_after=1 if locks else 5) as nvr:
        login = {"url": nvr.url, "username": "admin", "password": "wrong"}
        # A siren's alerts may be minutes late at most: here seconds, so that the test need not wait for those.
        with telling(nvr, action="output", max_age_seconds=4, **login) as router:
            alerts = [alert(number) for number in range(20)]
            router.tell(*alerts)
            ended = router.wait(20)
        assert nvr.logins == 1
        assert set(outcomes(ended)) == {"expired"}, "minutes are longer than a siren's alert may be late"
        # Those that were under way were answered without a login; the breaker kept the others from trying.
        tried = [each for each in ended if each.attempts]
        assert tried != []
        assert all("refused the login" in each.detail for each in tried)
        assert all(("locked for 1800 s" in each.detail) == locks for each in tried)
        assert "wrong" not in str(ended)
        show(record_property, 20, ended, times=f"20 alerts, {nvr.logins} login")


def test_h1_a_device_that_stalls_keeps_no_attempt_beyond_its_deadline(record_property):
    stall = threading.Event()
    with FakeNvr() as nvr, telling(nvr, action="output", timeout_seconds=1) as router:
        nvr.wait_until(lambda: len(nvr.changes) == 1)
        nvr.stall = stall
        begun = time.monotonic()
        router.tell(alert())
        nvr.wait_until(lambda: len(nvr.triggers(on=True)) == 1)
        asked = time.monotonic()
        nvr.wait_until(lambda: len(nvr.triggers(on=True)) == 2)
        again = time.monotonic() - asked
        assert again <= 2.5
        stall.set()
        nvr.stall = None
        (ended,) = router.wait(1)
        assert ended.end.outcome == "delivered"
        assert ended.attempts >= 2
        assert nvr.on == {"output 1"}
        assert time.monotonic() - begun < 15
        show(record_property, 1, router.ended, times=f"a stall of a 1 s deadline tried again after {again:.1f} s")


def test_what_was_obeyed_without_an_answer_is_turned_off_though_the_alert_is_given_up():
    stall = threading.Event()
    with (
        FakeNvr(obeys_before_stall=True) as nvr,
        telling(nvr, action="output", timeout_seconds=0.5, max_on_seconds=2, max_age_seconds=1) as router,
    ):
        nvr.wait_until(lambda: len(nvr.changes) == 1)
        nvr.stall = stall
        router.tell(alert())
        assert outcomes(router.wait(1)) == ["expired"]
        assert nvr.on == {"output 1"}
        nvr.stall = None
        stall.set()
        nvr.wait_until(lambda: nvr.on == set(), 10)
        assert max(nvr.spells("output 1")) <= 2 + 10


def test_a_reset_after_it_obeyed_is_tried_again_and_harms_nothing():
    with FakeNvr() as nvr, telling(nvr, action="output") as router:
        nvr.wait_until(lambda: len(nvr.changes) == 1)
        nvr.reset_next = 1
        first = alert()
        router.tell(first, resolved(first))
        assert outcomes(router.wait(2)) == ["delivered", "delivered"]
        assert len(nvr.spells("output 1")) == 1
        assert nvr.on == set()


def test_a_device_that_wants_a_restart_is_not_pressed():
    with FakeNvr() as nvr, telling(nvr, action="output", max_age_seconds=30) as router:
        nvr.wait_until(lambda: len(nvr.changes) == 1)
        nvr.answers_next = [(200, REBOOT)]
        router.tell(alert())
        (ended,) = router.wait(1)
        assert (ended.end.outcome, ended.attempts) == ("expired", 1)
        assert "restart" in ended.detail


def test_a_low_that_is_not_taken_is_tried_until_it_is():
    with FakeNvr() as nvr, telling(nvr, action="output", max_on_seconds=1) as router:
        router.tell(alert())
        router.wait(1)
        nvr.answers_next = [(503, BUSY)] * 2
        nvr.wait_until(lambda: nvr.on == set())
        (spell,) = nvr.spells("output 1")
        assert spell <= 1 + 10


def test_a_mistake_of_ours_leaves_nothing_on(monkeypatch):
    asking = client_module.Device.ask
    raised: list[bool] = []

    async def mistaken(self, request):
        if b"low" in request.body and len(raised) < 2:
            raised.append(True)
            raise RuntimeError("a mistake")
        return await asking(self, request)

    with FakeNvr() as nvr, telling(nvr, action="output", max_on_seconds=1) as router:
        nvr.wait_until(lambda: len(nvr.changes) == 1)
        monkeypatch.setattr(client_module.Device, "ask", mistaken)
        router.tell(alert())
        router.wait(1)
        nvr.wait_until(lambda: nvr.switched("output 1") == [False, True, False])
        assert len(raised) == 2


def test_alerts_in_company_turn_on_each_its_own():
    with FakeNvr(outputs=2) as nvr, telling(nvr, action="output", ports={"yard": 2}) as router:
        gate, yard = alert(camera="gate"), alert(camera="yard")
        both = Notice(gate, encode(gate)).with_company([Notice(yard, encode(yard))], folded=False)
        router.thread.offer(both)
        assert outcomes(router.wait(1)) == ["delivered"]
        assert nvr.on == {"output 1", "output 2"}


def test_an_old_alert_turns_nothing_on_and_its_resolve_harms_nothing():
    with FakeNvr() as nvr, telling(nvr, action="output") as router:
        old = opened(camera="gate", at=now() - 3 * 3_600_000)
        router.tell(old, resolved(old, after_ms=3 * 3_600_000))
        assert outcomes(router.wait(2)) == ["expired", "delivered"]
        assert nvr.triggers(on=True) == []


# Configuration and commands


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ({"url": "http://user:hunter2@host/?x"}, "without a query"),
        ({"min_on_seconds": 60}, "less than max_on_seconds"),
        ({"min_on_seconds": 20, "timeout_seconds": 15}, "less than timeout_seconds"),
        ({"ports": {"gate": 0}}, "below 1"),
        ({"ca_file": "/no/such/file"}, "ca_file: cannot be read"),
        ({"profile": {"output": {"on": "low"}}}, "profile.output"),
        ({"action": "siren"}, "action"),
    ],
)
def test_an_entry_that_cannot_work_is_refused_with_its_place(written, wrong):
    entry = {"name": "nvr", "kind": "hikvision", "url": "http://host"} | written
    with pytest.raises(ValueError, match=r"routes.yaml: sinks\[0\]") as refused:
        open_sink(entry, "routes.yaml: sinks[0]", {})
    assert wrong in str(refused.value)
    assert "hunter2" not in str(refused.value)


async def test_one_line_of_settings_is_enough():
    with FakeNvr() as nvr:
        sink = one_line_sink(AlertingSettings(protocol="hikvision", hikvision_url=nvr.full_url))
        assert (sink.kind, sink.actuates, sink.max_age_seconds) == ("hikvision", True, 120)
        answer = await sink.deliver(Notice(first := alert(), encode(first)))
        assert answer.verdict == "done"
        assert nvr.on == {"soft_input 1"}
        await sink.close()
        assert nvr.on == set()


async def test_probe_reports_what_a_device_can_do_and_nothing_private():
    def probe(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["hikvision", "probe", *arguments])
        return result.exit_code, result.output

    with FakeNvr() as nvr:
        code, said = await asyncio.to_thread(probe, nvr.full_url)
        assert code == 0
        assert "would use soft_input; then output, record" in said
        assert "output 1 is inactive" in said
        for private in (nvr.password, "SECRET", "00:00:5e", "127.0.0.1", str(nvr.port)):
            assert private not in said
        assert nvr.triggers() == [], "it only reads"
        code, said = await asyncio.to_thread(probe, nvr.url.replace("://", "://admin:wrong@"))
        assert code == 1
        assert "refused the login, 4 tries left" in said
        assert nvr.wrong_logins == 1
    assert (await asyncio.to_thread(probe, "ftp://host"))[0] == 2
    code, said = await asyncio.to_thread(probe, "http://127.0.0.1:1")
    assert (code, "the device was not reached" in said) == (1, True)


# The router itself

ROUTES = """
sinks:
  - name: nvr
    kind: hikvision
    url: {nvr}
    action: output
    max_on_seconds: {max_on}
    min_on_seconds: 0
  - {{name: desk, kind: webhook, url: "{desk}"}}
route: {{sinks: [nvr, desk]}}
"""
MAX_ON = 20


@contextmanager
def router(bootstrap: str, prefix: str, configs: Path) -> Iterator[subprocess.Popen[bytes]]:
    environ = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": bootstrap, "BACKSIGHT_PREFIX": prefix}
    command = [sys.executable, "-m", "cli.main", "router", "--configs", str(configs)]
    process = subprocess.Popen(command, cwd=ROOT, env=environ)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            assert process.wait(60) == 0


def wait_for(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.05)


@pytest.mark.slow
def test_h2_an_output_that_a_killed_router_left_on_is_off_after_the_restart(
    bootstrap, prefix, topics, tmp_path, record_property
):
    writer = alert_writer(bootstrap)
    with FakeNvr() as nvr, Receiver() as desk:
        (tmp_path / "routes.yaml").write_text(ROUTES.format(nvr=nvr.full_url, desk=desk.url, max_on=MAX_ON))
        with router(bootstrap, prefix, tmp_path) as process:
            nvr.wait_until(lambda: nvr.switched("output 1") == [False], 30)
            # H1 on the way: the newest nonce is dead and the device is busy three times.
            nvr.stale_next, nvr.answers_next = 1, [BUSY_ANSWERS[0]] * 3
            one, two = alert(0), alert(1)
            write_alerts(writer, prefix, [one])
            nvr.wait_until(lambda: nvr.on == {"output 1"}, 30)
            write_alerts(writer, prefix, [two, resolved(one), resolved(two)])
            nvr.wait_until(lambda: nvr.switched("output 1") == [False, True, False], 30)
            write_alerts(writer, prefix, [alert(2)])
            nvr.wait_until(lambda: nvr.on == {"output 1"}, 30)
            wait_for(lambda: len([each for each in deliveries(bootstrap, prefix) if each.sink == "nvr"]) == 5)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert nvr.on == {"output 1"}
        restarted = time.monotonic()
        with router(bootstrap, prefix, tmp_path):
            nvr.wait_until(lambda: nvr.on == set(), 10)
            took = time.monotonic() - restarted
        assert nvr.switched("output 1") == [False, True, False, True, False]
        assert max(nvr.spells("output 1")) <= MAX_ON + 10
        assert nvr.wrong_logins == 0
    told = [each for each in deliveries(bootstrap, prefix) if each.sink == "nvr"]
    assert {each.outcome for each in told} == {"delivered"}
    assert max(each.attempts for each in told) == 4
    record_property("alerts", 5)
    record_property("lost", 5 - len({each.delivery_id for each in told}))
    record_property("times", f"low {took:.1f} s after the restart")


@pytest.mark.slow
def test_h3_alerts_of_three_hours_ago_turn_nothing_on_and_the_desk_is_told(
    bootstrap, prefix, topics, tmp_path, record_property
):
    start = now() - 3 * 3_600_000
    alerts = [opened(number, camera=f"cam_{number % 3}", at=start) for number in range(12)]
    alerts += [resolved(each) for each in alerts]
    write_alerts(alert_writer(bootstrap), prefix, alerts)
    with FakeNvr() as nvr, Receiver() as desk:
        (tmp_path / "routes.yaml").write_text(ROUTES.format(nvr=nvr.full_url, desk=desk.url, max_on=MAX_ON))
        with router(bootstrap, prefix, tmp_path):
            desk.wait_for(len(alerts), 60)
            wait_for(lambda: len([each for each in deliveries(bootstrap, prefix) if each.sink == "nvr"]) == len(alerts))
            nvr.wait_until(lambda: nvr.switched("output 1") == [False])
    told = [each for each in deliveries(bootstrap, prefix) if each.sink == "nvr"]
    assert {(each.outcome, each.reason, each.attempts) for each in told} == {("expired", "too_old", 0)}
    assert nvr.triggers(on=True) == []
    assert len(desk.ids) == len(set(desk.ids)) == len(alerts)
    record_property("alerts", len(alerts))
    record_property("lost", len(alerts) - len(set(desk.ids)))
    record_property("doubled", len(desk.ids) - len(set(desk.ids)))
