"""What deploy/kubernetes has from elsewhere in this checkout: the registry of topics and the table of grants as Strimzi
takes them, and Prometheus' rules as its operator does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from schemas.grants import SERVICES, Grant, Service, grants
from schemas.topics import TOPICS, Topic

DEPLOY: Final = Path(__file__).parents[1] / "deploy"
CLUSTER: Final = "backsight"
"""The name of the `Kafka` that Strimzi runs, in the same namespace."""
COPIES: Final = 3
_PATTERNS: Final = {"literal": "literal", "prefixed": "prefix"}


def manifests() -> dict[Path, str]:
    """Every such file with its contents."""
    components = DEPLOY / "kubernetes" / "components"
    return {
        components / "strimzi" / "topics.yaml": _file("schemas/topics.py", *map(_topic, TOPICS)),
        components / "strimzi" / "users.yaml": _file("schemas/grants.py", *map(_user, SERVICES)),
        components / "monitoring" / "rules.yaml": _file("deploy/prometheus/rules", _rules()),
    }


def _file(source: str, *documents: Mapping[str, Any]) -> str:
    head = f"# Generated from {source} by `python -m schemas.generate`.\n"
    return head + yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _topic(topic: Topic) -> dict[str, Any]:
    config = topic.kafka_config()
    if topic.needs_two_copies:
        config["min.insync.replicas"] = "2"
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": topic.name, "labels": {"strimzi.io/cluster": CLUSTER}},
        "spec": {"topicName": topic.name, "partitions": topic.partitions, "replicas": COPIES, "config": config},
    }


def _user(service: Service) -> dict[str, Any]:
    operations: dict[tuple[str, str, str], list[str]] = {}
    for grant in sorted(grants(service)):
        operations.setdefault((grant.resource, grant.name, grant.pattern), []).append(_operation(grant))
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaUser",
        "metadata": {"name": f"backsight-{service.name}", "labels": {"strimzi.io/cluster": CLUSTER}},
        "spec": {
            "authentication": {"type": "scram-sha-512"},
            "authorization": {
                "type": "simple",
                "acls": [
                    {
                        "resource": {"type": resource, "name": name, "patternType": _PATTERNS[pattern]},
                        "operations": allowed,
                    }
                    for (resource, name, pattern), allowed in operations.items()
                ],
            },
        },
    }


def _operation(grant: Grant) -> str:
    """As Strimzi writes it: `describe_configs` as `DescribeConfigs`."""
    return grant.operation.title().replace("_", "")


def _rules() -> dict[str, Any]:
    files = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "backsight"},
        "spec": {"groups": groups},
    }


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as people write them."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
