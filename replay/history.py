"""Where detection events are read again from. Members: `replay.kafka_source`, `replay.archive.source`."""

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from replay.spans import Span
from schemas.messages import DetectionEvent


class Extent(Struct, frozen=True):
    """What a source holds of one camera's partition (or of one camera, in an archive).

    ``first`` and ``end`` are offsets; ``first_at`` is the capture time of the oldest record there is, None where there
    is none. ``whole``: nothing was ever deleted from its beginning, so that the state before ``first`` is known: it is
    that of a new camera.
    """

    partition: int
    first: int
    end: int
    first_at: int | None
    whole: bool


class Source(Protocol):
    """A history of detection events with a frozen end: reading twice gives the same."""

    def extents(self) -> tuple[Extent, ...]:
        """What there is, per partition. For the manifest and for saying what a span lacks."""

    def cameras(self) -> tuple[str, ...] | None:
        """The cameras that it holds, where it can tell without reading all of it."""

    def extent_of(self, camera_id: str) -> Extent:
        """The extent of the partition that holds the camera."""

    def read(self, span: Span, cameras: frozenset[str] | None = None) -> Iterator[list[DetectionEvent]]:
        """The events whose ``captured_at`` lies in the span, in lists of any length.

        Each camera's events come in their partition's order, doubles and late ones included; how cameras mix is not
        said. Beyond the span's end each camera's first event at or after it comes too, once: it closes what was
        open. ``cameras`` None: all. Raises `runtime.kafka.BrokerUnreachable`, or `BadArchive`.
        """

    def close(self) -> None:
        """Gives back what it holds."""
