"""Kafka: does it answer, and are the topics those of the registry."""

from pathlib import Path

from cli.checks.finding import Finding, fault, note, ok, warning
from runtime.broker import DEFAULT_PORT, BrokerError, LocalBroker, ports
from runtime.broker.jars import cache_folder
from runtime.broker.java import find_java
from runtime.kafka import BrokerUnreachable, admin, wait_for_broker
from runtime.provision import ProvisionError, TopicView, describe_topics
from runtime.settings import KafkaSettings, Settings

_APPLY = "`backsight topics apply`"


def cluster(settings: Settings, data: Path) -> KafkaSettings | None:
    """The cluster that is set, else the local one (of ``data``, or on the usual port) if it runs."""
    if settings.kafka_is_given:
        return settings.kafka
    local = LocalBroker(data / "kafka", port=0).status()
    port = local.port if local.state in ("up", "stuck") else DEFAULT_PORT
    return KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}") if port and ports.answers(port) else None


def local_kafka(data: Path) -> list[Finding]:
    """Where no cluster is set and none runs: how the local one ended, and what it needs."""
    found = [note("kafka", "KAFKA_BOOTSTRAP_SERVERS is not set: `backsight up` starts one of its own")]
    local = LocalBroker(data / "kafka", port=0).status()
    if local.state == "died":
        found = [
            fault("kafka", f"the local one ended: {local.why}", "`backsight up` or `backsight kafka up` starts it")
        ]
    try:
        java = find_java()
    except BrokerError as error:
        return [*found, fault("local kafka", str(error), "install Java, or set KAFKA_BOOTSTRAP_SERVERS")]
    jars = "jars are here" if any(cache_folder().glob("jars/*.jar")) else "jars are fetched at its first start"
    return [*found, ok("local kafka", f"Java {java.major} at {java.path}, {jars}")]


def kafka(settings: Settings, seconds: float) -> list[Finding]:
    """The cluster and its topics."""
    try:
        brokers = wait_for_broker(settings.kafka, seconds)
    except BrokerUnreachable as error:
        return [fault("kafka", str(error), "correct KAFKA_BOOTSTRAP_SERVERS and its KAFKA_… settings, or start it")]
    found = [ok("kafka", f"{brokers} broker(s) at {settings.kafka.bootstrap_servers}")]
    try:
        views = describe_topics(admin(settings.kafka), settings.prefix)
    except ProvisionError as error:
        return [*found, fault("topics", str(error), "may this user describe topics? (`backsight topics acl`)")]
    return [*found, *judged(views, brokers)]


def judged(views: list[TopicView], brokers: int) -> list[Finding]:
    """What is to be said of the topics beside the registry."""
    missing = [view.full_name for view in views if view.partitions is None]
    if len(missing) == len(views):
        return [fault("topics", "none of them is there", _APPLY)]
    found = [fault("topics", f"there is no {name}", _APPLY) for name in missing]
    for view in views:
        if view.partitions not in (None, view.wanted_partitions):
            said = f"{view.full_name} has {view.partitions} partitions, the registry says {view.wanted_partitions}"
            do = "another count moves cameras: use another BACKSIGHT_PREFIX, or docs/upgrade.md"
            found.append(fault("topics", said, do))
        for key, (have, want) in view.differences.items():
            said = f"{view.full_name} has {key}={have or 'nothing'}, the registry says {want}"
            loses = any(f" has {key}=" in reason for reason in view.refusals)
            do = f"{_APPLY[:-1]} --allow-loss`, which would delete history" if loses else _APPLY
            found.append(warning("topics", said, do))
    copies = [view.full_name for view in views if view.replication == 1]
    if brokers >= 3 and copies:
        do = "raise their replication with kafka-reassign-partitions.sh: a lost disk is lost history"
        found.append(warning("topics", f"one copy only of {', '.join(copies)}", do))
    if not found:
        most = max(view.wanted_partitions for view in views)
        found.append(ok("topics", f"{len(views)} as the registry has them, {most} partitions by camera"))
    return found
