"""The parts of deploy/kubernetes that are made from the registry: topics, users, and scaling by topics and metrics."""

import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.metrics import MetricWrapperBase

from runtime import metrics
from schemas.grants import SERVICES, Grant, grants
from schemas.topics import PARTITIONS, TOPICS
from tests.support.kubernetes import build, of_kind
from tests.support.prometheus import promtool


def test_every_topic_once_as_the_registry_has_it() -> None:
    made = [each["spec"] for each in of_kind(build("gpu"), "KafkaTopic").values()]
    assert [each["topicName"] for each in made] == sorted(topic.name for topic in TOPICS)
    for topic in TOPICS:
        (spec,) = (each for each in made if each["topicName"] == topic.name)
        assert spec["partitions"] == topic.partitions
        assert topic.kafka_config().items() <= spec["config"].items()


def test_every_service_is_a_user_with_the_rights_of_the_table_and_no_others() -> None:
    users = of_kind(build("gpu"), "KafkaUser")
    assert sorted(users) == sorted(f"backsight-{service.name}" for service in SERVICES)
    for service in SERVICES:
        spec = users[f"backsight-{service.name}"]["spec"]
        assert spec["authentication"]["type"] == "scram-sha-512"
        allowed = {
            Grant(of["type"], of["name"], {"prefix": "prefixed"}.get(of["patternType"], of["patternType"]), snake(name))
            for acl in spec["authorization"]["acls"]
            for of in (acl["resource"],)
            for name in acl["operations"]
        }
        assert allowed == grants(service)


def snake(operation: str) -> Any:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()


def test_detectors_are_scaled_by_how_many_the_whole_load_would_keep_busy(tmp_path: Path) -> None:
    """Two detectors: half busy; all busy and half of the frames stale, so four would be; busy, and never a skip."""
    (query, target) = next(
        (each["metadata"]["query"], float(each["metadata"]["threshold"]))
        for each in of_kind(build("gpu"), "ScaledObject")["backsight-inference"]["spec"]["triggers"]
        if each["type"] == "prometheus"
    )
    assert target == 0.8

    def series(busy: float, finished: int, stale: int | None) -> list[dict[str, str]]:
        made = [(f'backsight_inference_duration_seconds_sum{{pod="{pod}"}}', f"0+{busy * 15}x40") for pod in ("a", "b")]
        made.append(('backsight_stage_records_total{stage="inference"}', f"0+{finished}x40"))
        if stale is not None:
            made.append(('backsight_frames_skipped_total{reason="stale"}', f"0+{stale}x40"))
        return [{"series": name, "values": values} for name, values in made]

    wanted = [(series(0.5, 100, 0), 1.0), (series(1.0, 100, 50), 4.0), (series(0.75, 100, None), 1.5)]
    tests = [
        {
            "interval": "15s",
            "input_series": told,
            "promql_expr_test": [{"expr": query, "eval_time": "8m", "exp_samples": [{"labels": "{}", "value": value}]}],
        }
        for told, value in wanted
    ]
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": [], "tests": tests}))
    promtool("test", "rules", str(tmp_path / "test.yml"))


def test_nothing_is_scaled_beyond_the_partitions_it_shares() -> None:
    manifests = build("gpu")
    scaled = of_kind(manifests, "ScaledObject")
    assert set(scaled) == {"backsight-inference", "backsight-router", "backsight-rules"}
    (keda,) = (service for service in SERVICES if service.name == "keda")
    may_look_at = {(grant.resource, grant.name) for grant in grants(keda) if grant.operation == "describe"}
    for name, each in scaled.items():
        assert each["spec"]["scaleTargetRef"]["name"] == name in of_kind(manifests, "Deployment")
        assert "replicas" not in of_kind(manifests, "Deployment")[name]["spec"], "a rollout would set it back"
        assert 1 <= each["spec"]["minReplicaCount"] <= each["spec"]["maxReplicaCount"] <= PARTITIONS
        for trigger in each["spec"]["triggers"]:
            told = trigger["metadata"]
            if trigger["type"] == "kafka":
                assert ("topic", told["topic"]) in may_look_at
                assert told["bootstrapServers"] == f"backsight-kafka-bootstrap.{each['metadata']['namespace']}.svc:9093"
                group = told["consumerGroup"]
                assert {("group", group), ("group", group.split(".")[0] + ".")} & may_look_at
                assert told["consumerGroup"].split(".")[0] == name.removeprefix("backsight-")
            else:
                assert names_in(told["query"]) <= metric_names()
    rules = scaled["backsight-rules"]["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert rules["scaleDown"] == {"selectPolicy": "Disabled"}


def names_in(query: str) -> set[str]:
    return set(re.findall(r"\bbacksight_\w+", query))


def metric_names() -> set[str]:
    families = (each.describe()[0] for each in vars(metrics).values() if isinstance(each, MetricWrapperBase))
    return {family.name + ending for family in families for ending in ("", "_total", "_sum", "_count", "_bucket")}
