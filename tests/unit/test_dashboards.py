"""The dashboards: what they ask for exists, with the labels they show; Grafana finds its source."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.test_metrics_scraped import ABSENT
from tests.support.dashboards import FOLDER, Target, targets
from tests.support.metrics import LISTED, SERIES, named, series

TARGETS = list(targets())
OF_PROMETHEUS = {"job", "instance"}
BY_SERIES: dict[str, Counter | Gauge | Histogram] = {
    name: metric for metric in LISTED.values() for name in series(metric)
}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.board}: {target.panel}")
def test_a_panel_asks_for_what_exists(target: Target) -> None:
    names = named(target.expression)
    assert names, target
    assert names <= SERIES
    labels = OF_PROMETHEUS.union(*(BY_SERIES[name]._labelnames for name in names if name in BY_SERIES))
    assert set(re.findall(r"{{(\w+)}}", target.legend)) <= labels
    assert set(re.findall(r"(\w+)=~?[\"']", target.expression)) <= labels


def test_every_metric_of_the_list_is_on_a_dashboard_but_those_of_the_api_which_its_clients_see() -> None:
    shown = frozenset[str]().union(*(named(target.expression) for target in TARGETS))
    assert not {name for name, metric in LISTED.items() if not series(metric) & shown and not name.startswith("API_")}


def test_the_source_that_panels_name_is_provisioned() -> None:
    folder = FOLDER.parent / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "backsight.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    for file in FOLDER.glob("*.json"):
        for panel in _panels(file):
            assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}


def _panels(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(file.read_text())["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    return [panel for panel in found if panel["type"] != "row"]


@pytest.mark.parametrize("name", sorted(ABSENT))
def test_what_no_run_without_a_gpu_or_a_fault_shows_is_exposed_once_it_is_set(name: str) -> None:
    metric = BY_SERIES[name]
    child: Any = metric.labels(**dict.fromkeys(metric._labelnames, "by_hand"))
    child.inc()
    try:
        exposed = {
            sample.name
            for family in text_string_to_metric_families(generate_latest().decode())
            for sample in family.samples
            if set(sample.labels.values()) == {"by_hand"}
        }
    finally:
        metric.remove(*["by_hand"] * len(metric._labelnames))
    assert name in exposed
