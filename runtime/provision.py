"""Bring the topics of a cluster in line with the registry (schemas/topics.py), and never lose history unasked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from schemas.topics import PARTITIONS, TOPICS, Topic

_SECONDS: Final = 30.0


class ProvisionError(RuntimeError):
    """The cluster did not do what was asked, or could not be asked."""


class Refused(ProvisionError):
    """Applying the registry would move cameras to other partitions or delete history. Nothing was changed."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = tuple(reasons)


@dataclass(frozen=True)
class Change:
    """What `apply_topics` did with one topic; `settings` maps a changed setting to (before, after)."""

    topic: str
    action: Literal["created", "updated", "unchanged"]
    partitions: int
    settings: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class TopicView:
    """One topic of the registry beside what the cluster has.

    `differences` maps a setting to (cluster, registry); `refusals` say what `apply_topics` would not do by itself.
    """

    topic: Topic
    full_name: str
    wanted_partitions: int
    partitions: int | None  # None: the topic is not there
    replication: int | None
    differences: Mapping[str, tuple[str, str]]
    refusals: tuple[str, ...]

    @property
    def state(self) -> Literal["missing", "same", "differs", "refused"]:
        """In one word."""
        if self.partitions is None:
            return "missing"
        if self.refusals:
            return "refused"
        return "differs" if self.differences else "same"


def describe_topics(
    admin: AdminClient,
    prefix: str = "",
    *,
    partitions: int | None = None,
    allow_loss: bool = False,
    topics: Sequence[Topic] = TOPICS,
) -> list[TopicView]:
    """The registry beside the cluster; changes nothing. Arguments as of `apply_topics`."""
    found = _list(admin).topics
    there = [topic.full_name(prefix) for topic in topics if topic.full_name(prefix) in found]
    settings = _read_settings(admin, there)
    views = []
    for topic in topics:
        name = topic.full_name(prefix)
        wanted = _wanted_partitions(topic, partitions)
        if name not in settings:
            views.append(TopicView(topic, name, wanted, None, None, {}, ()))
            continue
        known = found[name].partitions
        differences = {
            key: (settings[name].get(key, ""), value)
            for key, value in topic.kafka_config().items()
            if not _same(key, settings[name].get(key, ""), value)
        }
        refusals = _refusals(name, len(known), wanted, {} if allow_loss else differences)
        replication = min((len(partition.replicas) for partition in known.values()), default=None)
        views.append(TopicView(topic, name, wanted, len(known), replication, differences, refusals))
    return views


def apply_topics(
    admin: AdminClient,
    prefix: str = "",
    replication: int | None = None,
    *,
    partitions: int | None = None,
    allow_loss: bool = False,
    topics: Sequence[Topic] = TOPICS,
) -> list[Change]:
    """Create what is missing and update settings that differ; running it again changes nothing.

    `replication` None: 3 where the cluster has three brokers or more, else 1; for new topics only. `partitions`
    replaces the registry's count of topics by camera (small ones for tests). Raises `Refused`, with nothing changed,
    when a topic has another partition count, or when an update would shorten history (retention, cleanup policy) and
    `allow_loss` is not set. Settings that the registry does not name are left as they are.
    """
    for _ in range(2):
        views = describe_topics(admin, prefix, partitions=partitions, allow_loss=allow_loss, topics=topics)
        refusals = [reason for view in views for reason in view.refusals]
        if refusals:
            raise Refused(refusals)
        missing = [view for view in views if view.partitions is None]
        if _create(admin, missing, replication or _usual_replication(admin)):
            break  # else somebody made one of them meanwhile: look again, it may not be what we want
    _update(admin, [view for view in views if view.differences])
    _wait_for_leaders(admin, views)
    return [_change(view) for view in views]


def remove_topics(admin: AdminClient, names: Sequence[str]) -> None:
    """Delete topics; those that are not there are left out."""
    there = set(_list(admin).topics)
    doomed = [name for name in names if name in there]
    if doomed:
        _outcomes("delete", admin.delete_topics(doomed, operation_timeout=_SECONDS))


def _change(view: TopicView) -> Change:
    if view.partitions is None:
        return Change(view.full_name, "created", view.wanted_partitions)
    action: Literal["updated", "unchanged"] = "updated" if view.differences else "unchanged"
    return Change(view.full_name, action, view.partitions, view.differences)


def _wanted_partitions(topic: Topic, override: int | None) -> int:
    return topic.partitions if override is None or topic.partitions != PARTITIONS else override


def _refusals(name: str, have: int, want: int, differences: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    reasons = []
    if have != want:
        reasons.append(
            f"{name} has {have} partitions and the registry says {want}: another count would move cameras to other "
            "partitions and break their order. Use another prefix, or move the history by hand."
        )
    for key, (before, after) in differences.items():
        if key == "cleanup.policy" or (key.startswith("retention.") and _shorter(before, after)):
            reasons.append(
                f"{name} has {key}={before} and the registry says {after}: applying it would delete history. "
                "Say that you mean it (--allow-loss)."
            )
    return tuple(reasons)


def _shorter(before: str, after: str) -> bool:
    """For retention in ms or bytes, where -1 means without limit."""
    unlimited = float("inf")
    try:
        old, new = (unlimited if int(value) < 0 else int(value) for value in (before, after))
    except ValueError:
        return True  # a cluster that does not say what it has is not to be shortened
    return new < old


def _same(key: str, one: str, other: str) -> bool:
    if key == "cleanup.policy":  # a set, written as a list
        return {part.strip() for part in one.split(",")} == {part.strip() for part in other.split(",")}
    return one == other


def _usual_replication(admin: AdminClient) -> int:
    return 3 if len(_list(admin).brokers) >= 3 else 1


def _list(admin: AdminClient) -> Any:
    try:
        return admin.list_topics(timeout=_SECONDS)
    except KafkaException as error:
        raise ProvisionError(f"The cluster does not answer: {_said(error)}") from None


def _read_settings(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    answers = admin.describe_configs(resources, request_timeout=_SECONDS)
    return {
        resource.name: {key: entry.value or "" for key, entry in entries.items()}
        for resource, entries in _outcomes("read the settings of", answers).items()
    }


def _create(admin: AdminClient, views: Sequence[TopicView], replication: int) -> bool:
    """False if one of them was there after all."""
    if not views:
        return True
    fresh = []
    for view in views:
        config = view.topic.kafka_config()
        if replication >= 3 and view.topic.needs_two_copies:
            config.setdefault("min.insync.replicas", "2")
        fresh.append(NewTopic(view.full_name, view.wanted_partitions, replication, config=config))
    answers = admin.create_topics(fresh, operation_timeout=_SECONDS)
    made = _outcomes("create", answers, excused=KafkaError.TOPIC_ALREADY_EXISTS)
    return len(made) == len(views)


def _update(admin: AdminClient, views: Sequence[TopicView]) -> None:
    if not views:
        return
    resources = []
    for view in views:
        entries = [
            ConfigEntry(key, after, incremental_operation=AlterConfigOpType.SET)
            for key, (_, after) in view.differences.items()
        ]
        resources.append(ConfigResource(ResourceType.TOPIC, view.full_name, incremental_configs=entries))
    _outcomes("update", admin.incremental_alter_configs(resources, request_timeout=_SECONDS))
    # The controller has said yes; the broker that is asked next may hear of it a moment later.
    deadline = time.monotonic() + _SECONDS
    names = [view.full_name for view in views]
    while not _is_updated(_read_settings(admin, names), views):
        if time.monotonic() > deadline:
            raise ProvisionError(f"Updated, but not seen so within {_SECONDS:.0f} s: {', '.join(names)}.")
        time.sleep(0.02)


def _is_updated(settings: Mapping[str, Mapping[str, str]], views: Sequence[TopicView]) -> bool:
    return all(
        _same(key, settings[view.full_name].get(key, ""), after)
        for view in views
        for key, (_, after) in view.differences.items()
    )


def _wait_for_leaders(admin: AdminClient, views: Sequence[TopicView]) -> None:
    """A topic is made before every partition has a leader; the first to write would be told to come again."""
    deadline = time.monotonic() + _SECONDS
    names = {view.full_name for view in views}
    while names:
        found = _list(admin).topics
        names = {name for name in names if name not in found or not _led(found[name])}
        if names and time.monotonic() > deadline:
            raise ProvisionError(f"No leader after {_SECONDS:.0f} s for {', '.join(sorted(names))}.")
        if names:
            time.sleep(0.02)


def _led(topic: Any) -> bool:
    return bool(topic.partitions) and all(partition.leader >= 0 for partition in topic.partitions.values())


def _outcomes(verb: str, answers: Mapping[Any, Any], excused: int | None = None) -> dict[Any, Any]:
    """The results of the cluster's answers; ProvisionError names every one that is an error."""
    done, failed = {}, []
    for subject, answer in answers.items():
        try:
            done[subject] = answer.result()
        except KafkaException as error:
            if error.args[0].code() != excused:
                failed.append(f"cannot {verb} {getattr(subject, 'name', subject)}: {_said(error)}")
    if failed:
        raise ProvisionError("\n".join(failed))
    return done


def _said(error: KafkaException) -> str:
    return str(error.args[0].str())
