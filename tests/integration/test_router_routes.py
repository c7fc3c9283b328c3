"""Several sinks on a real broker: each by its routes, in a group of its own, and a dead one holds up nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.settings import Settings
from schemas.messages import Alert, delivery_id
from tests.integration.test_router import committed, story
from tests.support.broker import settings
from tests.support.receiver import Receiver, Slow
from tests.support.routing import alert_writer, deliveries, router_thread, write_alerts

pytestmark = pytest.mark.usefixtures("topics")

ROUTES = """
sinks:
  - {{name: desk, kind: webhook, url: "{desk}"}}
  - {{name: gates, kind: webhook, url: "{gates}", timeout_seconds: 2}}
route:
  sinks: [desk]
  routes:
    - {{match: ['camera =~ cam_[01]'], sinks: [gates, desk]}}
"""


def ids(alerts: list[Alert], *cameras: str) -> set[str]:
    return {delivery_id(alert) for alert in alerts if not cameras or alert.camera_id in cameras}


def test_each_sink_is_told_what_its_routes_say(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    alerts = story(20)
    write_alerts(alert_writer(bootstrap), prefix, alerts)
    with Receiver() as desk, Receiver() as gates:
        (tmp_path / "routes.yaml").write_text(ROUTES.format(desk=desk.url, gates=gates.url))
        told = Settings(kafka=settings(bootstrap), prefix=prefix, configs=tmp_path)
        expected = ids(alerts, "cam_0", "cam_1")
        with router_thread(told):
            desk.wait_for(len(alerts))
            gates.wait_for(len(expected))
    assert sorted(desk.ids) == sorted(ids(alerts))
    assert sorted(gates.ids) == sorted(expected)
    on_record = {(each.sink, each.delivery_id) for each in deliveries(bootstrap, prefix)}
    assert on_record == {("desk", each) for each in ids(alerts)} | {("gates", each) for each in expected}
    # What is not for a sink is done for it all the same.
    assert committed(bootstrap, prefix, "gates") == len(alerts)


def test_a_sink_that_hangs_holds_up_nobody(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    alerts = story(40)
    with Receiver() as desk, Receiver([Slow(30)]) as gates:
        (tmp_path / "routes.yaml").write_text(ROUTES.format(desk=desk.url, gates=gates.url))
        told = Settings(kafka=settings(bootstrap), prefix=prefix, configs=tmp_path)
        with router_thread(told) as router:
            write_alerts(alert_writer(bootstrap), prefix, alerts)
            desk.wait_for(len(alerts))
            assert sorted(desk.ids) == sorted(ids(alerts))
        assert router.code == 0
    assert {each.sink for each in deliveries(bootstrap, prefix)} == {"desk"}
