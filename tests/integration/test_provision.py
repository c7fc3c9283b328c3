"""The registry's topics on a real cluster: made, brought in line, never cut."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka.admin import NewTopic

from cli.topics import topics as topics_command
from runtime.kafka import AdminClient, admin
from runtime.provision import ProvisionError, Refused, apply_topics, describe_topics
from schemas.topics import ALERTS, DELIVERIES, DETECTIONS, FRAMES, MAX_MESSAGE_BYTES, ROI_REVISIONS, TOPICS
from tests.support.broker import read_all, settings, write_all


@pytest.fixture
def cluster(bootstrap: str) -> AdminClient:
    return admin(settings(bootstrap))


def partitions_of(cluster: AdminClient, topic: str) -> int | None:
    found = cluster.list_topics(timeout=10).topics.get(topic)
    return None if found is None else len(found.partitions)


def test_the_registry_is_made_whole_and_twice_is_once(cluster: AdminClient, prefix: str) -> None:
    first = apply_topics(cluster, prefix)
    assert [(change.topic, change.action) for change in first] == [(prefix + each.name, "created") for each in TOPICS]
    assert all(view.state == "same" and view.replication == 1 for view in describe_topics(cluster, prefix))
    assert partitions_of(cluster, prefix + FRAMES.name) == FRAMES.partitions
    assert partitions_of(cluster, prefix + ROI_REVISIONS.name) == 1
    assert {change.action for change in apply_topics(cluster, prefix)} == {"unchanged"}


def test_a_topic_taken_away_is_made_again_and_the_others_are_left(cluster: AdminClient, prefix: str) -> None:
    apply_topics(cluster, prefix, partitions=1, topics=[ALERTS])
    done = apply_topics(cluster, prefix, partitions=1, topics=[ALERTS, FRAMES])
    assert [change.action for change in done] == ["unchanged", "created"]


def test_a_changed_setting_is_brought_in_line(cluster: AdminClient, prefix: str) -> None:
    before = msgspec.structs.replace(FRAMES, config={**FRAMES.config, "retention.bytes": "1000000"})
    apply_topics(cluster, prefix, partitions=1, topics=[before])
    (view,) = describe_topics(cluster, prefix, partitions=1, topics=[FRAMES])
    assert view.state == "differs"
    (change,) = apply_topics(cluster, prefix, partitions=1, topics=[FRAMES])
    assert change.action == "updated"
    assert change.settings == {"retention.bytes": ("1000000", FRAMES.config["retention.bytes"])}
    assert describe_topics(cluster, prefix, partitions=1, topics=[FRAMES])[0].state == "same"


@pytest.mark.parametrize("have", [2, 4])
def test_another_partition_count_is_refused_and_nothing_is_changed(
    cluster: AdminClient, prefix: str, have: int
) -> None:
    apply_topics(cluster, prefix, partitions=have, topics=[ALERTS])
    with pytest.raises(Refused, match=f"has {have} partitions and the registry says 3"):
        apply_topics(cluster, prefix, partitions=3, allow_loss=True, topics=[FRAMES, ALERTS])
    assert partitions_of(cluster, prefix + ALERTS.name) == have
    assert partitions_of(cluster, prefix + FRAMES.name) is None


def test_what_would_delete_history_is_refused_until_it_is_meant(cluster: AdminClient, prefix: str) -> None:
    longer = msgspec.structs.replace(DETECTIONS, retention_ms=None)
    other = msgspec.structs.replace(DELIVERIES, cleanup="compact")
    apply_topics(cluster, prefix, partitions=1, topics=[longer, other])
    with pytest.raises(Refused) as refused:
        apply_topics(cluster, prefix, partitions=1, topics=[FRAMES, DETECTIONS, DELIVERIES])
    assert len(refused.value.reasons) == 2
    assert "retention.ms=-1" in str(refused.value)
    assert "cleanup.policy=compact" in str(refused.value)
    assert partitions_of(cluster, prefix + FRAMES.name) is None
    done = apply_topics(cluster, prefix, partitions=1, allow_loss=True, topics=[DETECTIONS, DELIVERIES])
    assert [change.action for change in done] == ["updated", "updated"]


def test_a_longer_retention_is_applied_by_itself(cluster: AdminClient, prefix: str) -> None:
    shorter = msgspec.structs.replace(ALERTS, retention_ms=3_600_000)
    apply_topics(cluster, prefix, partitions=1, topics=[shorter])
    assert apply_topics(cluster, prefix, partitions=1, topics=[ALERTS])[0].action == "updated"


def test_what_the_cluster_cannot_do_is_said(cluster: AdminClient, prefix: str) -> None:
    with pytest.raises(ProvisionError, match=f"cannot create {prefix}alerts: .*replication factor"):
        apply_topics(cluster, prefix, replication=2, topics=[ALERTS])


def test_a_record_can_be_written_at_once_and_is_as_large_as_agreed(
    bootstrap: str, topics: dict[str, str], topic_partitions: int
) -> None:
    sent = [b"", b"x" * (MAX_MESSAGE_BYTES - 200)]
    write_all(bootstrap, topics["frames"], sent, key=b"camera")
    assert [message.value() for message in read_all(bootstrap, topics["frames"])] == sent


class ManyBrokers:
    """As much of an admin client as `apply_topics` asks for, with as many brokers as wanted."""

    def __init__(self, brokers: int) -> None:
        self.brokers = brokers
        self.made: dict[str, NewTopic] = {}

    def list_topics(self, timeout: float) -> SimpleNamespace:
        led = SimpleNamespace(partitions={0: SimpleNamespace(leader=1)})
        return SimpleNamespace(brokers=range(self.brokers), topics=dict.fromkeys(self.made, led))

    def create_topics(self, topics: list[NewTopic], operation_timeout: float) -> dict[str, Future[None]]:
        done: Future[None] = Future()
        done.set_result(None)
        self.made = {each.topic: each for each in topics}
        return dict.fromkeys(self.made, done)


@pytest.mark.parametrize(("brokers", "copies"), [(1, 1), (2, 1), (3, 3), (5, 3)])
def test_three_copies_where_there_are_three_brokers(brokers: int, copies: int) -> None:
    cluster = ManyBrokers(brokers)
    apply_topics(cluster, topics=[ALERTS, FRAMES])
    assert {each.replication_factor for each in cluster.made.values()} == {copies}
    in_sync = {name: each.config.get("min.insync.replicas") for name, each in cluster.made.items()}
    assert in_sync == {"alerts": "2" if copies == 3 else None, "frames": None}


def test_the_command_line(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(
            topics_command,
            [*arguments, f"--prefix={prefix}", f"--configs={tmp_path}"],
            env={"KAFKA_BOOTSTRAP_SERVERS": bootstrap},
            catch_exceptions=False,
        )
        return done.exit_code, done.output

    code, said = run("describe")
    assert code == 1
    assert said.count("missing") == len(TOPICS)
    code, said = run("apply")
    assert (code, said.count("created")) == (0, len(TOPICS))
    code, said = run("apply")
    assert (code, said.count("unchanged")) == (0, len(TOPICS))
    code, said = run("describe")
    assert (code, said.count(" same ")) == (0, len(TOPICS))


def test_the_command_line_refuses_with_its_own_code(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    apply_topics(admin(settings(bootstrap)), prefix, partitions=1, topics=[ALERTS])
    done = CliRunner().invoke(
        topics_command,
        ["apply", f"--prefix={prefix}", f"--configs={tmp_path}"],
        env={"KAFKA_BOOTSTRAP_SERVERS": bootstrap},
    )
    assert done.exit_code == 2
    assert "nothing was changed" in done.stderr
    assert "alerts has 1 partitions" in done.stderr
