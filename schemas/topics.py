"""The one list of topics. The provisioner, the AsyncAPI document, the docs and the manifests are made from it."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from schemas.effective import RoiRevision
from schemas.messages import Alert, CameraStatus, Delivery, DetectionEvent, Mark, RevisionAck, Silence

PARTITIONS: Final = 12
"""Of every topic that is partitioned by camera. Fixed once: another count would move cameras to other partitions."""

MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""Broker, topic, producer and consumer agree on it."""

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

Cleanup = Literal["delete", "compact", "compact,delete"]


class Topic(msgspec.Struct, frozen=True):
    """One topic: what is in it, how long it stays, and why it is there.

    ``by_camera``: partitioned by camera, so that its partition count equals that of ``frames``.
    ``retention_ms`` None: no limit of time. ``config`` holds further topic settings in Kafka's own words.
    """

    name: str
    key: str
    message: type[msgspec.Struct] | str
    by_camera: bool
    retention_ms: int | None
    cleanup: Cleanup
    why: str
    partitions: int = PARTITIONS
    config: Mapping[str, str] = {}

    @property
    def needs_two_copies(self) -> bool:
        """Whether a record counts as written only when two brokers have it: not for what is worth less than that."""
        return self.name not in ("frames", "ingest-leases")

    def full_name(self, prefix: str = "") -> str:
        """The topic's name in the cluster."""
        return prefix + self.name

    def kafka_config(self) -> dict[str, str]:
        """Every setting of the topic in Kafka's words, as `CreateTopics` takes them."""
        retention = -1 if self.retention_ms is None else self.retention_ms
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(retention),
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
            **self.config,
        }


FRAMES: Final = Topic(
    name="frames",
    key="camera id",
    message="JPEG bytes, or empty for an offline tick; what is known of it in the headers",
    by_camera=True,
    retention_ms=HOUR,
    cleanup="delete",
    why="the pictures, for the detector and for evidence",
    config={
        # A JPEG does not shrink. Deletion goes by whole segments, so segments are small; bytes are per partition.
        "compression.type": "uncompressed",
        "segment.ms": str(10 * MINUTE),
        "segment.bytes": str(64 * 1024 * 1024),
        "retention.bytes": str(2 * 1024**3),
    },
)
DETECTIONS: Final = Topic(
    name="detections",
    key="camera id",
    message=DetectionEvent,
    by_camera=True,
    retention_ms=30 * DAY,
    cleanup="delete",
    why="what the detector saw, one event per frame: the history that can be judged again",
)
ALERTS: Final = Topic(
    name="alerts",
    key="camera id",
    message=Alert,
    by_camera=True,
    retention_ms=90 * DAY,
    cleanup="delete",
    why="alerts opened and resolved",
)
ALERTS_SYSTEM: Final = Topic(
    name="alerts.system",
    key="what it is about",
    message=Alert,
    by_camera=False,
    retention_ms=90 * DAY,
    cleanup="delete",
    why="alerts about Backsight itself; whoever has its partition observes",
    partitions=1,
)
DELIVERIES: Final = Topic(
    name="deliveries",
    key="<sink>/<alert_id>_<seq>",
    message=Delivery,
    by_camera=False,
    retention_ms=90 * DAY,
    cleanup="compact,delete",
    why="how the delivery of each alert to each sink ended; read back at start",
)
ROI_REVISIONS: Final = Topic(
    name="roi-revisions",
    key="camera/effective_from",
    message=RoiRevision,
    by_camera=False,
    retention_ms=None,
    cleanup="compact",
    why="which ROIs hold from which instant; no two records share a key, so history stays",
    partitions=1,
)
REVISION_ACKS: Final = Topic(
    name="revision-acks",
    key="worker/camera",
    message=RevisionAck,
    by_camera=False,
    retention_ms=7 * DAY,
    cleanup="compact,delete",
    why="which rules worker judges which camera by which revision",
    partitions=1,
)
ALERTS_SHADOW: Final = Topic(
    name="alerts.shadow",
    key="camera id",
    message=Alert,
    by_camera=True,
    retention_ms=30 * DAY,
    cleanup="delete",
    why="alerts of a candidate that runs beside the active rules; no sink reads it",
)
SHADOW: Final = Topic(
    name="shadow",
    key="candidate, or <shadow>/<partition>",
    message="the candidate, or what its shadow has judged of a partition and its state there; JSON",
    by_camera=False,
    retention_ms=None,
    cleanup="compact",
    why="which candidate runs beside the active rules, and where it goes on",
    partitions=1,
    config={"segment.ms": str(10 * MINUTE), "min.cleanable.dirty.ratio": "0.1"},
)
MARKS: Final = Topic(
    name="marks",
    key="alert id",
    message=Mark,
    by_camera=False,
    retention_ms=None,
    cleanup="compact",
    why="which alerts operators found right or false, so that a replay can say what a candidate would lose",
)
SILENCES: Final = Topic(
    name="silences",
    key="silence id",
    message=Silence,
    by_camera=False,
    retention_ms=None,
    cleanup="compact",
    why="which alerts are not told for a while, who said so and why",
    partitions=1,
)
CAMERA_STATUS: Final = Topic(
    name="camera-status",
    key="camera id",
    message=CameraStatus,
    by_camera=False,
    retention_ms=7 * DAY,
    cleanup="compact,delete",
    why="whether each camera is live, offline or frozen: at every change and once a minute",
    partitions=1,
    config={"segment.ms": str(10 * MINUTE), "min.cleanable.dirty.ratio": "0.1"},
)
INGEST_LEASES: Final = Topic(
    name="ingest-leases",
    key="–",
    message="nothing: its partitions are what ingest processes share cameras by",
    by_camera=False,
    retention_ms=HOUR,
    cleanup="delete",
    why="no camera is read twice, and a dead process's cameras move",
)
DEAD_LETTERS: Final = Topic(
    name="dead-letters",
    key="the original key",
    message="the original bytes; headers say stage, origin, reason and attempts",
    by_camera=False,
    retention_ms=14 * DAY,
    cleanup="delete",
    why="what could not be read, judged or delivered",
)
RULES_HITS: Final = Topic(
    name="rules-hits-changelog",
    key="subject and second",
    message="Faust's changelog of the windowed table of hits",
    by_camera=True,
    retention_ms=None,
    cleanup="compact",
    why="state of the rules app",
    config={"segment.ms": str(10 * MINUTE), "min.cleanable.dirty.ratio": "0.1"},
)
RULES_EPISODES: Final = Topic(
    name="rules-episodes-changelog",
    key="subject",
    message="Faust's changelog of the table of episodes",
    by_camera=True,
    retention_ms=None,
    cleanup="compact",
    why="state of the rules app",
    config={"segment.ms": str(10 * MINUTE), "min.cleanable.dirty.ratio": "0.1"},
)

TOPICS: Final = (
    FRAMES,
    DETECTIONS,
    ALERTS,
    ALERTS_SYSTEM,
    DELIVERIES,
    ROI_REVISIONS,
    REVISION_ACKS,
    ALERTS_SHADOW,
    SHADOW,
    MARKS,
    SILENCES,
    CAMERA_STATUS,
    INGEST_LEASES,
    DEAD_LETTERS,
    RULES_HITS,
    RULES_EPISODES,
)
