"""The registry of topics as Strimzi's `KafkaTopic`s, for deploy/kubernetes."""

from typing import Any, Final

import yaml

from schemas.topics import TOPICS, Topic

CLUSTER: Final = "backsight"
"""The name of the `Kafka` that Strimzi runs, in the same namespace."""
COPIES: Final = 3


def topic_manifests() -> str:
    """Every topic of the registry, as a file for Kustomize."""
    head = "# Generated from schemas/topics.py by `python -m schemas.generate`.\n"
    return head + yaml.safe_dump_all([_manifest(topic) for topic in TOPICS], sort_keys=False, width=120)


def _manifest(topic: Topic) -> dict[str, Any]:
    config = topic.kafka_config()
    if topic.needs_two_copies:
        config["min.insync.replicas"] = "2"
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": topic.name, "labels": {"strimzi.io/cluster": CLUSTER}},
        "spec": {"topicName": topic.name, "partitions": topic.partitions, "replicas": COPIES, "config": config},
    }
