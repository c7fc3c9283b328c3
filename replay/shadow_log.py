"""What a shadow leaves on the topic `shadow`: its candidate, and per partition how far it has judged and its state.

A partition's progress is one record, so that position, states and counts are of one moment: a process that goes on from
it judges as one that was never stopped, and two processes of the same shadow do no harm to one another.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from replay.comparison import CameraFacts
from replay.judging import Inexact
from replay.run import Side
from replay.trial import Refused
from rules.state import SubjectState
from runtime.kafka import Producer, deliver, producer
from runtime.settings import KafkaSettings, Settings
from runtime.topic_reader import TopicReader
from schemas.documents.reading import read_document
from schemas.documents.rois import RoiDefaults, Rois
from schemas.messages import Model
from schemas.topics import MAX_MESSAGE_BYTES, SHADOW

CANDIDATE: Final = b"candidate"
"""Key of the record that names the shadow of now; without a value there is none."""

Kind = TypeVar("Kind", bound=Struct)

_SCHEMAS: Final = {"Candidate": b"shadow-candidate/1", "PartitionProgress": b"shadow-progress/1"}


class Candidate(Struct, frozen=True):
    """What is tried: a whole `rois.yaml` as it was written, with the defaults that filled it in.

    ``shadow`` names this trial of it. ``started_at``: its alerts are those that open from this capture time on.
    ``begun_at`` is wall time. ``starts``: the first offset judged of each partition, with the state of before.
    ``inexact``: subjects whose state of before could not be known. Instants are ms UTC.
    """

    shadow: str
    name: str
    started_at: int
    begun_at: int
    rois: dict[str, Any]
    defaults: dict[str, Any]
    starts: dict[int, int]
    inexact: tuple[Inexact, ...] = ()

    def document(self) -> tuple[Rois, RoiDefaults]:
        """The document and its defaults. Raises `BadDocument` where this version refuses what an older one took."""
        name = f"the candidate {self.name}"
        return read_document(Rois, self.rois, name), read_document(RoiDefaults, self.defaults, name)

    def side(self) -> Side:
        """The document as judging takes it. Raises `BadDocument`."""
        return Side.of_rois(self.name, *self.document())


class KeptSubject(Struct, frozen=True):
    """One subject of a camera and its state."""

    roi: str
    label: str
    state: SubjectState


class CameraProgress(Struct, frozen=True):
    """One camera: its state, and what became of its events since the shadow began.

    ``seen``: offset of its newest record. Every event up to ``watermark`` (capture time) is judged.
    """

    seen: int
    watermark: int
    subjects: tuple[KeptSubject, ...]
    facts: CameraFacts
    models: tuple[Model, ...] = ()


class PartitionProgress(Struct, frozen=True):
    """Every record before ``position`` is judged and its alerts are on `alerts.shadow`.

    ``left_out`` counts those that could not be read or judged. ``written_at`` is wall time.
    """

    shadow: str
    partition: int
    position: int
    written_at: int
    left_out: int
    cameras: tuple[CameraProgress, ...]


Record = tuple[bytes, bytes | None]
"""Key and value."""


def candidate_record(candidate: Candidate) -> Record:
    """The candidate as a record."""
    return CANDIDATE, msgspec.json.encode(candidate)


def progress_record(progress: PartitionProgress) -> Record:
    """A partition's progress as a record."""
    return f"{progress.shadow}/{progress.partition}".encode(), msgspec.json.encode(progress)


def header_of(record: Record) -> list[tuple[str, bytes]]:
    """The header that tells a person what the value is."""
    name = _SCHEMAS["Candidate" if record[0] == CANDIDATE else "PartitionProgress"]
    return [] if record[1] is None else [("schema", name)]


def shadow_client(settings: Settings) -> Producer:
    """Waits for a lost broker without end. A state shrinks to a tenth, and the broker's limit is on what arrives."""
    return producer(
        settings.kafka,
        "backsight-shadow",
        message_timeout_ms=0,
        compression_type="zstd",
        message_max_bytes=8 * MAX_MESSAGE_BYTES,
    )


def write_records(client: Producer, prefix: str, records: Iterable[Record]) -> None:
    """Writes them in their order, each acknowledged before the next. Raises `BrokerUnreachable`."""
    for key, value in records:
        headers = header_of((key, value))
        deliver(client, SHADOW.full_name(prefix), key=key, value=value, headers=headers, partition=0)


class ShadowLog:
    """The topic, read to its end at every `refresh`. Not for several threads at once."""

    def __init__(self, kafka: KafkaSettings, prefix: str = "") -> None:
        self._reader = TopicReader(kafka, SHADOW.full_name(prefix), "backsight-shadow-log")
        self._newest: dict[bytes, bytes] = {}

    def refresh(self) -> None:
        """Reads what is new. Raises `BrokerUnreachable`."""
        for record in self._reader.new():
            key, value = record.key() or b"", record.value()
            if value is None:
                self._newest.pop(key, None)
            else:
                self._newest[key] = value

    @property
    def position(self) -> int:
        """The offset up to which the topic is read."""
        return self._reader.position

    def candidate(self) -> Candidate | None:
        """What is tried now. Raises `Refused` where this version cannot read it."""
        value = self._newest.get(CANDIDATE)
        return None if value is None else _decoded(Candidate, value)

    def progress(self, shadow: str) -> Mapping[int, PartitionProgress]:
        """By partition. Raises `Refused` where this version cannot read it."""
        found = [
            _decoded(PartitionProgress, value)
            for key, value in self._newest.items()
            if key.startswith(f"{shadow}/".encode())
        ]
        return {each.partition: each for each in found}

    def forgotten(self) -> list[Record]:
        """Records that take away all progress that there is."""
        return [(key, None) for key in self._newest if key != CANDIDATE]

    def close(self) -> None:
        """Gives the connection back; what was read stays."""
        self._reader.close()


def is_of(value: bytes | None, shadow: str) -> bool:
    """Whether a record under the key `CANDIDATE` names this shadow."""
    if value is None:
        return False
    try:
        return _decoded(Candidate, value).shadow == shadow
    except Refused:
        return False


def _decoded(kind: type[Kind], value: bytes) -> Kind:
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.DecodeError as error:
        raise Refused(
            f"what the topic {SHADOW.name} holds is not of this version of Backsight ({error}); "
            "`backsight shadow stop` forgets it, `backsight shadow run --rois FILE --restart` begins anew"
        ) from None
