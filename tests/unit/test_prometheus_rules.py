"""Prometheus's configuration and rules: its own tool takes them, each rule is tested, each metric exists."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.metrics import SERIES, named
from tests.support.prometheus import promtool

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = {
    rule["alert"]: rule
    for file in sorted((FOLDER / "rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
}


def test_prometheus_takes_its_configuration_and_rules() -> None:
    assert "3 rule files found" in promtool("check", "config", "prometheus.yml")


def test_every_rule_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", *map(str, sorted((FOLDER / "tests").glob("*.yml"))))


def test_every_rule_has_a_test_in_which_it_fires() -> None:
    tests: list[dict[str, Any]] = [
        case
        for file in (FOLDER / "tests").glob("*.yml")
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    assert {case["alertname"] for case in tests if case.get("exp_alerts")} == set(RULES)
    silent = {case["alertname"] for case in tests if not case.get("exp_alerts")}
    assert set(RULES) - silent <= {"BacksightWatchdog", "BacksightGpuError"}, "each is silent once, too"


@pytest.mark.parametrize("alert", RULES)
def test_a_rule_names_metrics_that_exist_and_says_what_to_do(alert: str) -> None:
    rule = RULES[alert]
    assert named(rule["expr"]) <= SERIES
    assert rule["labels"]["severity"] in ("critical", "warning", "none")
    assert set(rule["annotations"]) == {"summary", "todo"}
