"""What each service may do in Kafka, and nothing else: made from the topic registry. Pure.

One principal per service, so that whoever takes one over gets no further. `backsight topics acl` shows and applies it;
on the cluster an authorizer denies what nobody granted.
"""

from collections.abc import Iterator
from typing import Final, Literal

from msgspec import Struct

from schemas.topics import (
    ALERTS,
    ALERTS_SHADOW,
    ALERTS_SYSTEM,
    CAMERA_STATUS,
    DEAD_LETTERS,
    DELIVERIES,
    DETECTIONS,
    FRAMES,
    INGEST_LEASES,
    MARKS,
    REVISION_ACKS,
    ROI_REVISIONS,
    RULES_EPISODES,
    RULES_HITS,
    SHADOW,
    SILENCES,
    TOPICS,
    Topic,
)

Resource = Literal["topic", "group"]
Pattern = Literal["literal", "prefixed"]
Operation = Literal["read", "write", "create", "delete", "alter", "describe", "describe_configs", "alter_configs"]

_MAKING: Final[tuple[Operation, ...]] = ("create", "alter", "describe_configs", "alter_configs")
_REPLAYING: Final[tuple[Operation, ...]] = ("create", "read", "write", "delete", "describe_configs", "alter_configs")
UNJOINED: Final = "backsight-"
"""Begins the group names of readers outside any group: librdkafka wants one, and asks the cluster about it."""
REPLAY: Final = "replay."
"""Begins the topics of replays."""


class Grant(Struct, frozen=True, order=True):
    """One thing that is allowed. ``pattern`` prefixed: on everything whose name begins so."""

    resource: Resource
    name: str
    pattern: Pattern
    operation: Operation


class Service(Struct, frozen=True):
    """Who needs what, and why.

    ``groups`` are joined (a name that ends in a dot begins many), ``watches`` only asked how far they are. ``ends`` are
    topics of which only the ends are asked; None: of every topic.
    """

    name: str
    why: str
    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    groups: tuple[str, ...] = ()
    watches: tuple[str, ...] = ()
    ends: tuple[Topic, ...] | None = ()


SERVICES: Final = (
    Service(
        "ingest",
        "cameras to frames; reads back when each camera's last frame was taken",
        reads=(FRAMES, INGEST_LEASES),
        writes=(FRAMES, CAMERA_STATUS),
        groups=("ingest",),
        watches=("inference",),
    ),
    Service(
        "inference",
        "frames to detections; reads which labels alert, for the picture memory",
        reads=(FRAMES, ROI_REVISIONS),
        writes=(DETECTIONS, DEAD_LETTERS),
        groups=("inference",),
    ),
    Service(
        "rules",
        "detections to alerts, with its own state",
        reads=(DETECTIONS, ROI_REVISIONS, RULES_HITS, RULES_EPISODES),
        writes=(ALERTS, DEAD_LETTERS, REVISION_ACKS, RULES_HITS, RULES_EPISODES),
        groups=("rules",),
    ),
    Service(
        "router",
        "alerts to sinks; watches the other stages for system alerts",
        reads=(ALERTS, ALERTS_SYSTEM, DELIVERIES, SILENCES, DETECTIONS, CAMERA_STATUS),
        writes=(DELIVERIES, DEAD_LETTERS, ALERTS_SYSTEM),
        groups=("router.",),
        watches=("inference", "rules"),
        ends=(FRAMES, DEAD_LETTERS),
    ),
    Service(
        "evidence",
        "the picture of every alert",
        reads=(ALERTS, FRAMES, ROI_REVISIONS),
        groups=("evidence",),
    ),
    Service(
        "api",
        "shows alerts and clips; takes ROIs, marks and silences",
        reads=(ALERTS, DELIVERIES, MARKS, SILENCES, ROI_REVISIONS, FRAMES),
        writes=(ROI_REVISIONS, MARKS, SILENCES),
        ends=None,
    ),
    Service(
        "config",
        "`backsight config apply`, `pull` and `history`",
        reads=(ROI_REVISIONS, REVISION_ACKS),
        writes=(ROI_REVISIONS,),
        watches=("rules",),
        ends=(DETECTIONS,),
    ),
    Service("archive", "`backsight archive`", reads=(DETECTIONS,)),
    Service(
        "operator",
        "people at a terminal: alerts, silences, dead letters, replays, shadows",
        reads=TOPICS,
        writes=(ROI_REVISIONS, MARKS, SILENCES, DEAD_LETTERS, DELIVERIES, SHADOW, ALERTS_SHADOW),
        watches=("ingest", "inference", "rules", "router.", "evidence"),
    ),
    Service("topics", "`backsight topics apply`, which makes the topics", ends=None),
    Service(
        "keda",
        "KEDA on Kubernetes, which scales by lag: looks at ends and at how far groups are",
        watches=("inference", "rules", "router."),
        ends=(FRAMES, DETECTIONS, ALERTS),
    ),
)

READABLE: Final = (DETECTIONS, ALERTS)
"""What programs outside Backsight may be let read."""


def grants(service: Service, prefix: str = "") -> frozenset[Grant]:
    """Everything the service is allowed, its topics and groups under ``prefix``."""
    return frozenset(_grants(service, prefix))


def reader_grants(name: str, prefix: str = "") -> frozenset[Grant]:
    """What a reader is allowed: detections and alerts, in groups that are called as it is or begin so with a dot."""
    topics = (Grant("topic", topic.full_name(prefix), "literal", "read") for topic in READABLE)
    return frozenset((*topics, Grant("group", name, "literal", "read"), Grant("group", f"{name}.", "prefixed", "read")))


def _grants(service: Service, prefix: str) -> Iterator[Grant]:
    for topic in service.reads:
        yield Grant("topic", topic.full_name(prefix), "literal", "read")
    for topic in service.writes:
        yield Grant("topic", topic.full_name(prefix), "literal", "write")
    for topic in TOPICS if service.ends is None else service.ends:
        yield Grant("topic", topic.full_name(prefix), "literal", "describe")
    for name in service.groups:
        yield _group(prefix + name, "read")
    for name in service.watches:
        yield _group(prefix + name, "describe")
    if service.reads:
        yield Grant("group", UNJOINED, "prefixed", "read")
    if service.name == "topics":
        for topic in TOPICS:
            for operation in _MAKING:
                yield Grant("topic", topic.full_name(prefix), "literal", operation)
    if service.name == "operator":
        for operation in _REPLAYING:
            yield Grant("topic", prefix + REPLAY, "prefixed", operation)
        for topic in TOPICS:
            yield Grant("topic", topic.full_name(prefix), "literal", "describe_configs")


def _group(name: str, operation: Operation) -> Grant:
    return Grant("group", name, "prefixed" if name.endswith(".") else "literal", operation)
