"""A password that is mended while the router runs, for real: Kafka, HTTP, `routes.yaml` on disk."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runtime.settings import Settings
from schemas.messages import delivery_id
from tests.support.alerts import opened
from tests.support.broker import settings
from tests.support.receiver import Receiver, Status
from tests.support.routing import alert_writer, deliveries, router_thread, write_alerts

pytestmark = pytest.mark.usefixtures("topics")


@pytest.mark.parametrize("status", [401, 403])
def test_what_was_refused_with_the_login_is_told_once_it_is_mended_and_nothing_is_a_dead_letter(
    bootstrap: str, prefix: str, tmp_path: Path, status: int
) -> None:
    def routes(url: str) -> None:
        (tmp_path / "routes.yaml").write_text(
            f"sinks: [{{name: desk, kind: webhook, url: '{url}', allowed_targets: ['127.0.0.0/8']}}]\n"
            "route: {sinks: [desk]}\n"
        )

    now = round(time.time() * 1000)
    alerts = [opened(number, camera=f"c{number % 3}", at=now - 60_000) for number in range(6)]
    with Receiver([Status(status)]) as locked, Receiver() as open_door:
        routes(locked.url)
        with router_thread(Settings(kafka=settings(bootstrap), prefix=prefix, configs=tmp_path)):
            write_alerts(alert_writer(bootstrap), prefix, alerts)
            locked.wait_for(1)
            routes(open_door.url)
            open_door.wait_for(len(alerts))
        assert sorted(open_door.ids) == sorted(map(delivery_id, alerts))
        assert len(locked.got) <= 16 + 1, "those that were under way, and perhaps one that probed"
    assert {each.outcome for each in deliveries(bootstrap, prefix)} == {"delivered"}
