"""Runs that were published: their topics `replay.<run>.…`, and their manifests."""

import re
import time
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from replay.comparison import Comparison, as_json
from replay.judging import instant_of
from replay.kafka_source import Records
from replay.spans import Span
from replay.trial import Refused
from runtime.kafka import BrokerUnreachable, KafkaError, KafkaException, Message, Producer, admin, producer
from runtime.provision import apply_topics, remove_topics
from runtime.settings import KafkaSettings, Settings
from schemas.codec import encode, schema_header
from schemas.messages import Alert, DetectionEvent
from schemas.partitioning import partition_of
from schemas.topics import PARTITIONS, Topic

_NAME: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}$")
_ROOT: Final = "replay."
_BY_CAMERA: Final[dict[str, type[msgspec.Struct]]] = {"alerts": Alert, "detections": DetectionEvent}
_DOCUMENTS: Final = {"manifest": "the comparison as JSON", "plan": "what is looked at again, as JSON"}
"""The newest record counts."""
FLUSH_SECONDS: Final = 60.0


class Run(NamedTuple):
    """A published run. ``manifest`` is the comparison as JSON, None where it was never finished."""

    name: str
    topics: tuple[str, ...]
    manifest: dict[str, Any] | None


def run_name(span: Span) -> str:
    """A name from the wall clock, to the second."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"-{(span.end - span.begin) // 60_000}m"


def run_topic(run: str, what: str, partitions: int) -> Topic:
    """A topic of a run: kept for ever, removed with the run. ``what``: a key of `_BY_CAMERA` or of `_DOCUMENTS`."""
    by_camera = what in _BY_CAMERA
    return Topic(
        name=f"{_ROOT}{run}.{what}",
        key="camera id" if by_camera else "run",
        message=_BY_CAMERA[what] if by_camera else _DOCUMENTS[what],
        by_camera=by_camera,
        retention_ms=None,
        cleanup="delete",
        why=f"the {what} of a replay",
        partitions=partitions,
    )


def check_name(run: str) -> None:
    """Raises `Refused` for a name that cannot be part of a topic's."""
    if not _NAME.match(run):
        raise Refused(f"--run {run}: letters, digits, - and _ only, at most 61")


def check_new(settings: Settings, run: str) -> None:
    """Raises `Refused` where the run exists, or cannot: worth asking before the work."""
    check_name(run)
    if run in _topics_of_runs(settings):
        raise Refused(f"a run {run} exists already; `backsight replay remove {run}` removes it, --run names another")


def create_topics(settings: Settings, run: str, *what: str) -> None:
    """Makes the run's topics. Raises `Refused` where the run exists."""
    check_new(settings, run)
    partitions = _partitions_by_camera(settings)
    wanted = [run_topic(run, each, partitions if each in _BY_CAMERA else 1) for each in what]
    apply_topics(admin(settings.kafka), settings.prefix, topics=wanted, partitions=partitions)


def publish_run(settings: Settings, comparison: Comparison, alerts: Sequence[Alert]) -> None:
    """Writes the candidate's alerts to `replay.<run>.alerts` and the comparison to its manifest.

    Raises `Refused` where the run exists, `BrokerUnreachable` where the broker does not take them.
    """
    run = comparison.manifest.run
    create_topics(settings, run, "alerts", "manifest")
    client = producer(settings.kafka, "backsight-replay")
    topic = run_topic(run, "alerts", PARTITIONS).full_name(settings.prefix)
    partitions = _partitions_by_camera(settings)
    failed: list[str] = []

    def reported(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error.str())

    headers = [schema_header(Alert), ("engine", comparison.manifest.engine.encode())]
    for alert in alerts:
        _produce(
            client,
            topic,
            key=alert.camera_id,
            value=encode(alert),
            partition=partition_of(alert.camera_id, partitions),
            timestamp=instant_of(alert),
            headers=headers,
            on_delivery=reported,
        )
    write_manifest(settings.prefix, run, as_json(comparison), client)
    if failed:
        raise BrokerUnreachable(f"{topic}: {failed[0]}")


def write_manifest(prefix: str, run: str, manifest: dict[str, Any], client: Producer) -> None:
    """Writes what the run found, and waits until the broker has it and everything before it."""
    write_document(prefix, run, "manifest", manifest, client)


def write_document(prefix: str, run: str, what: str, document: Any, client: Producer) -> None:
    """Writes a document of the run as JSON, and waits until the broker has it and everything before it."""
    topic = run_topic(run, what, 1).full_name(prefix)
    _produce(client, topic, key=run, value=msgspec.json.encode(document), partition=0)
    if client.flush(FLUSH_SECONDS):
        raise BrokerUnreachable(f"{topic}: the broker did not take the run within {FLUSH_SECONDS:g} s")


def list_runs(settings: Settings) -> list[Run]:
    """Every run under the prefix, by name."""
    return [
        Run(name, tuple(sorted(topics)), _manifest(settings, name, topics))
        for name, topics in sorted(_topics_of_runs(settings).items())
    ]


def remove_run(settings: Settings, run: str) -> tuple[str, ...]:
    """Deletes the run's topics; answers their names. Raises `Refused` where there is no such run."""
    topics = _topics_of_runs(settings).get(run)
    if topics is None:
        raise Refused(f"there is no run {run}; `backsight replay list` shows them")
    remove_topics(admin(settings.kafka), sorted(topics))
    return tuple(sorted(topics))


def _topics_of_runs(settings: Settings) -> dict[str, set[str]]:
    root = settings.prefix + _ROOT
    found: dict[str, set[str]] = {}
    for name in _all_topics(settings.kafka):
        if name.startswith(root) and "." in name[len(root) :]:
            found.setdefault(name[len(root) :].split(".", 1)[0], set()).add(name)
    return found


def _partitions_by_camera(settings: Settings) -> int:
    detections = _all_topics(settings.kafka).get(f"{settings.prefix}detections")
    return PARTITIONS if detections is None else len(detections.partitions)


def _all_topics(kafka: KafkaSettings) -> dict[str, Any]:
    try:
        return dict(admin(kafka).list_topics(timeout=15).topics)
    except KafkaException as error:
        raise BrokerUnreachable(
            f"no Kafka broker answered at {kafka.bootstrap_servers}: {error.args[0].str()}"
        ) from None


def _manifest(settings: Settings, run: str, topics: set[str]) -> dict[str, Any] | None:
    newest = newest_document(settings, run, "manifest", topics)
    decoded: dict[str, Any] | None = None if newest is None else msgspec.json.decode(newest)
    return decoded


def newest_document(settings: Settings, run: str, what: str, topics: Collection[str] | None = None) -> bytes | None:
    """The newest document of the run, None where there is none. ``topics``: those there are, where that is known."""
    topic = run_topic(run, what, 1).full_name(settings.prefix)
    if topic not in (_all_topics(settings.kafka) if topics is None else topics):
        return None
    records = Records(settings.kafka, topic)
    newest: bytes | None = None
    try:
        for some in records.read({number: first for number, (first, _) in records.spans.items()}):
            newest = some[-1].value() if some else newest
    finally:
        records.close()
    return newest


def _produce(client: Producer, topic: str, **record: Any) -> None:
    while True:
        try:
            client.produce(topic, **record)
        except BufferError:
            client.poll(0.1)
        else:
            client.poll(0)
            return
