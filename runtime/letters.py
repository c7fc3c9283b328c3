"""Dead letters read back, and what people decided about them; see docs/decisions/dead-letters.md.

A decision is a record of its own on the same topic, in the letter's partition: it comes after its letter and is deleted
no earlier.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from runtime.kafka import Message, deliver, producer
from runtime.settings import KafkaSettings
from runtime.topic_reader import TopicReader
from schemas.topics import DEAD_LETTERS

Verdict = Literal["redriven", "dropped"]
Place = tuple[int, int]
"""Partition and offset on the topic `dead-letters`."""

SETTLES: Final = "settles"
_ORIGINAL: Final = "original."


class Settlement(msgspec.Struct, frozen=True):
    """What was decided about a letter, when (milliseconds UTC) and by whom."""

    verdict: Verdict
    at: int
    by: str
    comment: str = ""


class Letter(msgspec.Struct, frozen=True):
    """A dead letter. ``value`` is None where it was not asked for, or where the record had none.

    ``headers`` are the record's own, as they were before it became a letter. ``cut_from_bytes``: how long the value
    was, where it did not fit.
    """

    place: Place
    at: int
    stage: str
    origin: tuple[str, int, int]
    reason: str
    detail: str
    attempts: int
    size: int
    headers: tuple[tuple[str, bytes], ...] = ()
    key: bytes | None = None
    value: bytes | None = None
    cut_from_bytes: int | None = None
    settled: Settlement | None = None

    @property
    def name(self) -> str:
        """How people call it: `PARTITION/OFFSET`."""
        return f"{self.place[0]}/{self.place[1]}"

    @property
    def sink(self) -> str | None:
        """The sink that was not told; None where another stage put it away."""
        stage, dot, sink = self.stage.partition(".")
        return sink if stage == "router" and dot else None


def letter_of(record: Message) -> Letter:
    """The letter in a record. A header that is missing or makes no sense is shown as unknown, never an error."""
    headers = {name: content or b"" for name, content in record.headers() or []}

    def text(name: str) -> str:
        return headers.get(name, b"").decode(errors="replace")

    def number(name: str) -> int:
        return int(text(name)) if text(name).isdecimal() else 0

    value = record.value()
    return Letter(
        place=(record.partition() or 0, record.offset() or 0),
        at=record.timestamp()[1],
        stage=text("stage") or "unknown",
        origin=(text("origin_topic"), number("origin_partition"), number("origin_offset")),
        reason=text("reason") or "unknown",
        detail=text("detail"),
        attempts=number("attempts"),
        size=len(value or b""),
        headers=tuple(
            (name.removeprefix(_ORIGINAL), content or b"")
            for name, content in record.headers() or []
            if name.startswith(_ORIGINAL)
        ),
        key=record.key(),
        value=value,
        cut_from_bytes=number("cut_from_bytes") or None,
    )


def read_letters(
    kafka: KafkaSettings,
    prefix: str = "",
    *,
    since: int | None = None,
    wanted: Callable[[Letter], bool] = lambda _letter: True,
    values: bool = False,
    partitions: tuple[int, ...] | None = None,
) -> list[Letter]:
    """The letters that are ``wanted``, oldest first, with what was decided about each. Raises `BrokerUnreachable`.

    ``since`` (ms UTC) is when they were put away. ``values``: also what was in them, which may be two megabytes each.
    """
    found: dict[Place, Letter] = {}
    topic = TopicReader(kafka, DEAD_LETTERS.full_name(prefix), "backsight-letters", partitions=partitions, since=since)
    try:
        for record in topic.new():
            settles = dict(record.headers() or []).get(SETTLES)
            if settles is not None:
                _settle(found, (record.partition() or 0, settles), record.value())
                continue
            letter = letter_of(record)
            if wanted(letter):
                found[letter.place] = letter if values else msgspec.structs.replace(letter, value=None)
    finally:
        topic.close()
    return sorted(found.values(), key=lambda letter: (letter.at, letter.place))


def settle(kafka: KafkaSettings, prefix: str, letters: Sequence[Letter], settlement: Settlement) -> None:
    """Records the decision about every letter. Raises `BrokerUnreachable`."""
    client = producer(kafka, "backsight-letters")
    topic = DEAD_LETTERS.full_name(prefix)
    for letter in letters:
        partition, offset = letter.place
        headers = [(SETTLES, str(offset).encode()), ("stage", letter.stage.encode())]
        value = msgspec.json.encode(settlement)
        deliver(client, topic, value=value, key=letter.key, headers=headers, partition=partition)


def _settle(found: dict[Place, Letter], place: tuple[int, bytes], value: bytes | None) -> None:
    partition, offset = place
    letter = found.get((partition, int(offset))) if offset.isdigit() else None
    if letter is None:
        return
    try:
        settlement = msgspec.json.decode(value or b"", type=Settlement)
    except msgspec.DecodeError:
        return  # written by something else: the letter stays undecided
    found[letter.place] = msgspec.structs.replace(letter, settled=settlement)
