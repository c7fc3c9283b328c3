"""`docker compose --profile demo up` without Docker: the compose file's services as processes of this machine.

Commands, environments, health checks and the order of starting are parsed from the file. Kafka is the local broker with
the file's own settings, the cameras are the simulator's, over RTSP.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from demos.rtsp_server import RtspServer
from runtime.broker import BrokerError, LocalBroker
from tests.support.compose import ROOT, Project, broker_properties, read
from tests.support.prometheus import configuration

ONCE = ("topics", "config")
STAGES = ("ingest", "inference", "rules", "router", "evidence", "api")
LASTING = ("camera-simulator", *reversed(STAGES), "prometheus")
OURS = ("kafka.", "listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs")
"""Settings that are another address or folder on this machine."""


def unless_ci(reason: str) -> None:
    """Skips at home and fails in CI."""
    pytest.fail(reason, pytrace=False) if os.environ.get("CI") else pytest.skip(reason)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="backsight-compose-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def services() -> dict[str, object]:
    return read(environ={"SIMULATOR_SECONDS": "12"})["services"]


@pytest.fixture
def broker(folder: Path, services: dict[str, object]) -> Iterator[LocalBroker]:
    """Apache Kafka with every setting of the file that is not an address or a folder."""
    told = {name: value for name, value in broker_properties(services["kafka"]).items() if not name.startswith(OURS)}
    with_them = LocalBroker(folder / "kafka", port=0, overrides=told, bound=True)
    try:
        with_them.start()
    except BrokerError as error:
        unless_ci(f"no local Kafka here: {error}")
    yield with_them
    with_them.stop()


@pytest.fixture
def project(folder: Path, services: dict[str, object], broker: LocalBroker) -> Iterator[Project]:
    paths = {
        "/app/configs": ROOT / "configs",
        "/app/demos/configs": ROOT / "demos" / "configs",
        "/data": folder / "data",
        "/etc/prometheus": folder / "scraping",
        "/prometheus": folder / "metrics",
    }
    project = Project(services, folder, paths, {"kafka:9092": broker.bootstrap})
    for name in ("data", "scraping"):
        (folder / name).mkdir()
    scraping = configuration({name: [project.port(name, 9100)] for name in STAGES})
    (folder / "scraping" / "prometheus.yml").write_text(yaml.safe_dump(scraping))
    yield project
    project.close()


def scraped(project: Project, expression: str) -> object:
    """What the project's Prometheus answers now."""
    url = f"http://127.0.0.1:{project.port('prometheus', 9090)}/api/v1/query"
    answer = httpx.get(url, params={"query": expression}, timeout=10).json()
    assert answer["status"] == "success", answer
    return answer["data"]["result"]


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(900)  # every wait ends by an event: a minute on two idle cores, many on crowded ones
def test_the_demo_profile_tells_of_an_alert_and_everything_stops_in_order(project: Project) -> None:
    if not RtspServer.available():
        unless_ci("no GStreamer RTSP server here")
    if not shutil.which("prometheus"):
        unless_ci("no Prometheus here")
    project.up([*LASTING, *ONCE], 300)
    assert "demos/configs" in project.running["config"].stdout, "nobody has a camera, and the simulator answers"
    project.await_healthy(LASTING, 240)
    router = project.running["router"]
    project.until(lambda: '"phase":"opened"' in router.stdout, 180, "an alert is delivered")
    alert = json.loads(router.stdout.splitlines()[0])
    assert (alert["camera_id"][:5], alert["label"], alert["roi"]) == ("yard_", "object", "loading_zone")
    kept = Path(project.environment("evidence")["EVIDENCE_URL"])
    project.until(lambda: list(kept.rglob("*.jpg")), 120, "its picture is kept")
    for what in ("count(up == 1) == 6", "sum(backsight_alerts_total) > 0", "sum(backsight_deliveries_total) > 0"):
        project.until(lambda what=what: scraped(project, what), 120, f"Prometheus has seen {what}")
    again = project.start("config")  # as at every `up`
    assert again.process.wait(180) == 0, again.said
    assert "yard_gate: unchanged" in again.stdout
    project.await_healthy(LASTING, 120)
    assert {name: project.stop(name) for name in reversed(LASTING)} == dict.fromkeys(LASTING, 0), project.logs()
