"""routes.yaml changed under a running router on a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from runtime.settings import Settings
from schemas.messages import Alert, delivery_id
from tests.support.alerts import opened, resolved
from tests.support.broker import settings
from tests.support.receiver import Receiver
from tests.support.routing import RouterThread, alert_writer, router_thread, write_alerts

pytestmark = pytest.mark.usefixtures("topics")


class Plant:
    """A router with a folder of documents, and the rules that write alerts."""

    def __init__(self, bootstrap: str, prefix: str, configs: Path) -> None:
        self.told = Settings(kafka=settings(bootstrap), prefix=prefix, configs=configs)
        self._writer = alert_writer(bootstrap)
        self._count = 0

    def writes(self, *, camera: str) -> Alert:
        """A new alert opens."""
        self._count += 1
        alert = opened(self._count, camera=camera, at=round(time.time() * 1000) - 100_000)
        write_alerts(self._writer, self.told.prefix, [alert])
        return alert

    def writes_until(self, true: Callable[[], bool], what: str) -> list[Alert]:
        """New alerts of the gate open one after the other until it holds; which they were."""
        written: list[Alert] = []

        def holds() -> bool:
            written.append(self.writes(camera="gate"))
            time.sleep(0.2)
            return true()

        until(holds, what)
        return written

    def resolves(self, alert: Alert) -> Alert:
        """It resolves."""
        over = resolved(alert, after_ms=200)
        write_alerts(self._writer, self.told.prefix, [over])
        return over

    def routes(self, text: str) -> None:
        """Somebody edits routes.yaml."""
        (self.told.configs / "routes.yaml").write_text(text)

    @contextmanager
    def runs(self) -> Iterator[RouterThread]:
        """The router."""
        with router_thread(self.told) as router:
            yield router


@pytest.fixture
def plant(bootstrap: str, prefix: str, tmp_path: Path) -> Plant:
    return Plant(bootstrap, prefix, tmp_path)


def until(true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def reload_ok() -> float | None:
    return REGISTRY.get_sample_value("backsight_config_reload_ok", {"document": "routes.yaml"})


def two(desk: Receiver, gates: Receiver, *, who: str, timeout: int = 15) -> str:
    return f"""
sinks:
  - {{name: desk, kind: webhook, url: "{desk.url}"}}
  - {{name: gates, kind: webhook, url: "{gates.url}", timeout_seconds: {timeout}}}
route:
  sinks: [desk]
  routes:
    - {{match: ['camera = gate'], sinks: [{who}]}}
"""


def test_routes_that_changed_hold_without_a_restart_and_a_told_opening_gets_its_resolve(plant: Plant) -> None:
    with Receiver() as desk, Receiver() as gates:
        plant.routes(two(desk, gates, who="desk"))
        with plant.runs():
            first = plant.writes(camera="gate")
            desk.wait_for(1)
            assert gates.ids == []
            plant.routes(two(desk, gates, who="gates"))
            plant.writes_until(lambda: bool(gates.ids), "the gates are told")
            over = plant.resolves(first)
            desk.wait_until(lambda: delivery_id(over) in desk.ids)
        assert desk.ids[0] == delivery_id(first)
        assert reload_ok() == 1


def test_who_has_not_heard_of_an_opening_does_not_hear_of_its_end(plant: Plant) -> None:
    with Receiver() as desk, Receiver() as gates:
        of_dock = "    - {match: ['camera = dock'], sinks: [gates]}\n"  # so that this sink is there from the start
        plant.routes(two(desk, gates, who="desk") + of_dock)
        with plant.runs():
            first = plant.writes(camera="gate")
            desk.wait_for(1)
            plant.writes(camera="dock")
            gates.wait_for(1)
            plant.routes(two(desk, gates, who="desk, gates") + of_dock)
            plant.writes_until(lambda: len(gates.ids) > 1, "the gates are told")
            over, last = plant.resolves(first), plant.writes(camera="gate")
            desk.wait_until(lambda: delivery_id(over) in desk.ids)
            gates.wait_until(lambda: delivery_id(last) in gates.ids)
        assert delivery_id(over) not in gates.ids


def test_a_sink_that_is_added_begins_and_one_that_is_removed_ends_while_the_other_goes_on(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    with Receiver() as desk, Receiver() as gates:
        plant.routes(f'{{sinks: [{{name: desk, kind: webhook, url: "{desk.url}"}}], route: {{sinks: [desk]}}}}')
        with plant.runs() as router:
            plant.writes(camera="yard")
            desk.wait_for(1)
            plant.routes(two(desk, gates, who="gates, desk"))
            gate = plant.writes(camera="gate")
            gates.wait_for(1)
            assert gates.ids == [delivery_id(gate)]
            entry = f'{{name: gates, kind: webhook, url: "{gates.url}", timeout_seconds: 15}}'
            plant.routes(f"{{sinks: [{entry}], route: {{sinks: [gates]}}}}")

            def desk_is_gone() -> bool:
                before = len(desk.ids)
                last = plant.writes(camera="yard")
                until(lambda: delivery_id(last) in desk.ids + gates.ids, "somebody is told")
                return len(desk.ids) == before

            until(desk_is_gone, "the desk is not told any more")
            assert capsys.readouterr().out.count("partitions_assigned") == 2, "what did not change is undisturbed"
        assert router.code == 0
        assert len(set(desk.ids)) == len(desk.ids)
        assert len(set(gates.ids)) == len(gates.ids)


def test_a_sink_that_changed_is_restarted_and_nothing_is_lost_or_doubled(plant: Plant) -> None:
    with Receiver() as desk, Receiver() as before, Receiver() as after:
        plant.routes(two(desk, before, who="gates"))
        with plant.runs():
            written = [plant.writes(camera="gate")]
            before.wait_for(1)
            plant.routes(two(desk, after, who="gates"))
            written += plant.writes_until(lambda: bool(after.ids), "the new place is told")
            until(lambda: len(before.ids) + len(after.ids) >= len(written), "the last one is told")
        assert sorted(before.ids + after.ids) == sorted(map(delivery_id, written))
        assert desk.ids == []


def test_a_secret_that_changed_in_its_file_alone_is_taken_up_too(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "desk-url"
    monkeypatch.setenv("DESK_URL_FILE", str(place))
    with Receiver() as before, Receiver() as after:
        place.write_text(f"{before.url}\n")
        plant.routes('{sinks: [{name: desk, kind: webhook, url: "${DESK_URL}"}], route: {sinks: [desk]}}')
        with plant.runs():
            written = [plant.writes(camera="gate")]
            before.wait_for(1)
            place.write_text(f"{after.url}\n")
            written += plant.writes_until(lambda: bool(after.ids), "the new place is told")
            until(lambda: len(before.ids) + len(after.ids) >= len(written), "the last one is told")
        assert sorted(before.ids + after.ids) == sorted(map(delivery_id, written))


def test_a_document_that_does_not_check_changes_nothing_and_is_said_with_its_place(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    with Receiver() as desk, Receiver() as gates:
        plant.routes(two(desk, gates, who="desk"))
        with plant.runs():
            plant.writes(camera="gate")
            desk.wait_for(1)
            plant.routes(two(desk, gates, who="gates").replace("sinks: [desk]", "sinks: [nobody]"))
            until(lambda: reload_ok() == 0, "it is refused")
            said = next(line for line in capsys.readouterr().out.splitlines() if "reload_refused" in line)
            assert "routes.yaml: " in said
            assert "nobody" in said
            alert = plant.writes(camera="gate")
            desk.wait_until(lambda: delivery_id(alert) in desk.ids)
            (plant.told.configs / "routes.yaml").unlink()
            time.sleep(6)  # two looks: a file that is gone is refused as well
            assert reload_ok() == 0
            plant.routes(two(desk, gates, who="gates"))
            until(lambda: reload_ok() == 1, "the mended one is taken up")
            alert = plant.writes(camera="gate")
            gates.wait_until(lambda: delivery_id(alert) in gates.ids)
