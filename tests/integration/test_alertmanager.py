"""The sink `alertmanager` against the real one, which tells a receiver of ours what it makes of it."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from router.retry import ACCEPTED
from router.sinks import Notice, Sink, open_sink
from router.sinks.alertmanager import posted
from runtime.settings import Settings
from schemas.codec import encode
from schemas.documents.services import Services
from schemas.messages import Alert
from schemas.problems import BadDocument
from tests.support.alertmanager import Alertmanager, alertmanager, binary
from tests.support.alerts import opened, resolved
from tests.support.broker import settings as kafka_settings
from tests.support.receiver import Receiver
from tests.support.routing import alert_writer, router_thread, write_alerts


@pytest.fixture
def told() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def running(tmp_path: Path, told: Receiver) -> Iterator[Alertmanager]:
    if binary() is None:
        assert "CI" not in os.environ, "CI has Debian's prometheus-alertmanager"
        pytest.skip("prometheus-alertmanager is not installed")
    with alertmanager(tmp_path, told.url) as one:
        yield one


def notice(alert: Alert) -> Notice:
    return Notice(alert, encode(alert), "north")


def now() -> int:
    return round(time.time() * 1000)


def sink_to(running: Alertmanager, **entry: object) -> Sink:
    return open_sink({"name": "am", "kind": "alertmanager", "url": running.url} | entry, "sinks[0]", {})


def said(told: Receiver) -> list[tuple[str, str, str]]:
    """What Alertmanager told: status, camera, alert ids."""
    return [
        (alert["status"], alert["labels"]["camera"], alert["annotations"]["alert_id"])
        for got in told.got
        for alert in got.json["alerts"]
    ]


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


async def test_what_opens_fires_there_and_what_resolves_is_resolved_there(
    running: Alertmanager, told: Receiver
) -> None:
    alert = opened(at=now())
    sink = sink_to(running, labels={"team": "safety"})
    assert await sink.deliver(notice(alert)) == ACCEPTED
    await asyncio.to_thread(told.wait_for, 1)
    (active,) = running.active()
    assert active["labels"] == {
        "alertname": "Backsight", "team": "safety", "kind": "alert", "site": "north", "camera": alert.camera_id,
        "roi": alert.roi, "label": alert.label, "severity": alert.severity,
    }  # fmt: skip
    assert active["annotations"]["alert_id"] == alert.alert_id
    over = resolved(alert, after_ms=1)
    assert await sink.deliver(notice(over)) == ACCEPTED
    await asyncio.to_thread(told.wait_for, 2)
    await sink.close()
    assert [status for status, *_ in said(told)] == ["firing", "resolved"]
    assert running.active() == []


async def test_what_is_open_does_not_resolve_by_itself_and_a_router_that_is_gone_lets_it_resolve(
    running: Alertmanager, told: Receiver
) -> None:
    sink = sink_to(running, hold_seconds=2)
    assert await sink.deliver(notice(opened(at=now()))) == ACCEPTED
    await asyncio.to_thread(told.wait_for, 1)
    await asyncio.sleep(5)
    assert len(running.active()) == 1
    assert [status for status, *_ in said(told)] == ["firing"]
    await sink.close()
    await asyncio.to_thread(told.wait_for, 2)
    assert [status for status, *_ in said(told)] == ["firing", "resolved"]


async def test_an_alertmanager_that_forgot_everything_is_told_again(running: Alertmanager, told: Receiver) -> None:
    sink = sink_to(running, hold_seconds=4)
    assert await sink.deliver(notice(opened(at=now()))) == ACCEPTED
    await asyncio.to_thread(told.wait_for, 1)
    await asyncio.to_thread(running.stop)
    await asyncio.to_thread(running.start)
    assert running.active() == []
    await asyncio.to_thread(until, running.active)
    await sink.close()


async def test_alerts_with_the_same_labels_are_one_until_the_last_resolves(
    running: Alertmanager, told: Receiver
) -> None:
    at = now()
    first = opened(1, at=at - 2000)
    second = msgspec.structs.replace(first, alert_id="second", opened_at=at - 1000)
    sink = sink_to(running)
    for alert in (first, second):
        assert await sink.deliver(notice(alert)) == ACCEPTED
    await asyncio.to_thread(told.wait_for, 1)
    assert await sink.deliver(notice(resolved(first, after_ms=1500))) == ACCEPTED
    (active,) = running.active()
    assert active["annotations"]["alert_id"] == "second"
    assert await sink.deliver(notice(resolved(second, after_ms=900))) == ACCEPTED
    await asyncio.to_thread(until, lambda: ("resolved", first.camera_id, "second") in said(told))
    assert running.active() == []
    await sink.close()


@pytest.mark.usefixtures("topics")
def test_a_router_that_begins_again_goes_on_with_what_is_open(
    running: Alertmanager, told: Receiver, bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    entry = {"name": "am", "kind": "alertmanager", "url": running.url, "hold_seconds": 3}
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "routes.yaml").write_text(yaml.safe_dump({"sinks": [entry], "route": {"sinks": ["am"]}}))
    router = Settings(configs=configs, services=Services(), kafka=kafka_settings(bootstrap), prefix=prefix)
    alert = opened(at=now())
    with router_thread(router):
        write_alerts(alert_writer(bootstrap), prefix, [alert])
        told.wait_until(lambda: said(told)[:1] == [("firing", alert.camera_id, alert.alert_id)])
    told.wait_until(lambda: len(said(told)) == 2)  # nobody posts it: it resolves there
    with router_thread(router):
        told.wait_until(lambda: len(said(told)) == 3)  # the router posts what is open still
        write_alerts(alert_writer(bootstrap), prefix, [resolved(alert, after_ms=now() - alert.opened_at)])
        told.wait_until(lambda: len(said(told)) == 4)
    assert [status for status, *_ in said(told)] == ["firing", "resolved", "firing", "resolved"]


async def test_an_opening_that_was_not_taken_is_not_posted_again() -> None:
    with Receiver() as away:
        entry = {"name": "am", "kind": "alertmanager", "url": f"http://127.0.0.1:{away.port}", "hold_seconds": 1}
    sink = open_sink(entry, "sinks[0]", {})
    assert (await sink.deliver(notice(opened(at=now())))).reason == "unreachable"
    with away:
        await asyncio.sleep(0.6)  # twice the time after which what is open is posted again
    assert away.got == []
    await sink.close()


def test_no_label_holds_an_id_or_a_time_and_the_end_is_after_the_beginning() -> None:
    alert = resolved(opened(), after_ms=0)
    entry = posted({"alertname": "Backsight"}, [], notice(alert), 0)
    assert entry["startsAt"] < entry["endsAt"]
    labels = str(notice(alert).labels)
    assert alert.alert_id not in labels


@pytest.mark.parametrize("name", ["alertname", "", "1st", "a-b", "ñ"])
def test_a_label_that_alertmanager_would_not_take_is_refused(name: str) -> None:
    with pytest.raises(BadDocument, match=r"sinks\[0\].labels: "):
        open_sink(
            {"name": "am", "kind": "alertmanager", "url": "http://127.0.0.1/", "labels": {name: "x"}}, "sinks[0]", {}
        )
