"""Which ways system alerts take, and which they never take."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from router.configuration import ROUTES, load_router
from router.sinks import Notice
from router.stage import Router
from router.system import Condition, Key, opened_alert
from runtime.health import Health
from runtime.settings import load_settings
from schemas.messages import Alert
from schemas.problems import BadDocument
from tests.support.alerts import opened

TOLD = """
sinks:
  - {name: siren, kind: hikvision, url: "http://10.0.0.9", username: u, password: "${PASSWORD}"}
  - {name: desk, kind: stdout}
  - {name: night, kind: stdout}
system: {}
route:
  sinks: [siren, desk]
  routes:
    - {match: [kind = system, site = north, label = site_offline], sinks: [siren, night]}
"""


@pytest.fixture
def router(tmp_path: Path) -> Router:
    (tmp_path / ROUTES).write_text(TOLD)
    (tmp_path / "cameras.yaml").write_text('cameras: [{id: gate, url: "rtsp://10.0.0.1/1", site: south}]')
    environ = {"PASSWORD": "p"}
    settings = load_settings(tmp_path, environ)
    absent = cast("Any", None)  # what only a running router asks for
    return Router(settings, load_router(settings, environ), absent, absent, Health("router"), absent)


def system_alert(about: str, subject: str, label: str) -> Alert:
    return opened_alert(Key(about, subject, label), Condition("critical", 5), 5)


def told(router: Router, alert: Alert) -> list[str]:
    notice = Notice(alert, b"", router.site(alert))
    return [sink for sink in ("siren", "desk", "night") if router.leg(sink, notice) is not None]


def test_nothing_that_moves_is_told_of_backsights_own_troubles(router: Router) -> None:
    assert told(router, opened(camera="gate")) == ["siren", "desk"]
    assert told(router, system_alert("camera", "gate", "camera_offline")) == ["desk"]


def test_a_sites_alert_is_of_that_site(router: Router) -> None:
    assert told(router, system_alert("site", "north", "site_offline")) == ["night"]
    assert told(router, system_alert("site", "south", "site_offline")) == ["desk"]
    assert router.site(system_alert("camera", "gate", "camera_offline")) == "south"


def test_the_watchdog_goes_past_the_tree_to_every_sink_that_does_not_move_anything(router: Router) -> None:
    assert told(router, system_alert("router", "backsight", "watchdog")) == ["desk", "night"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("system: {watchdog: {at: '8', timezone: UTC}}", "system.watchdog.at"),
        ("system: {watchdog: {at: '08:00', timezone: Mars/North}}", "no time zone"),
        ("system: {watchdog: {at: '08:00'}}", "system.watchdog.timezone"),
        ("system: {lag_seconds: 0}", "system.lag_seconds"),
        ("system: {lag: 5}", "system.lag"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused_with_their_place(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / ROUTES).write_text(TOLD.replace("system: {}", written))
    with pytest.raises(BadDocument) as refused:
        load_router(load_settings(tmp_path, {}), {"PASSWORD": "p"})
    assert said in str(refused.value)
