"""A picture for each differing alert: its frame while the topic has it, else what the picture memory kept near it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from inference.keeping import small
from inference.pictures import BadPicture, read_head
from replay.diff import Difference
from replay.report.drawing import Picture, evidence_of
from replay.report.words import lasting
from rules.kinds import PictureSize
from runtime.frame_records import Frame
from runtime.kafka import BrokerUnreachable
from runtime.store import StoreTrouble
from schemas.messages import Evidence, FrameRef

WIDEST: Final = 1280
"""Pixels: a wider picture is made smaller."""
QUALITY: Final = 82


class Frames(Protocol):
    """`runtime.frame_records.FrameRecords`."""

    def read(self, refs: Iterable[FrameRef]) -> Iterator[tuple[FrameRef, Frame]]:
        """The frames that are still there. Raises `BrokerUnreachable`."""


class Kept(Protocol):
    """`runtime.picture_memory.Kept`."""

    @property
    def captured_at(self) -> int:
        """Milliseconds UTC."""

    def jpeg(self) -> bytes:
        """Raises `StoreTrouble`."""


class Memory(Protocol):
    """`runtime.picture_memory.PictureMemory`."""

    def find(self, camera_id: str, at: int, within_ms: int) -> Kept | None:
        """The nearest. Raises `StoreTrouble`."""


class PictureFinder:
    """Finds pictures; ``troubles`` says what could not be reached, once each.

    ``within_ms``: how far in time a kept picture may be from the alert. ``memory`` None: there is none.
    """

    def __init__(self, frames: Frames, memory: Memory | None, within_ms: int) -> None:
        self._frames = frames
        self._memory = memory
        self._within_ms = within_ms
        self.troubles: list[str] = []

    def find(self, differences: Sequence[Difference]) -> list[Picture | None]:
        """One for each, None where no picture is kept any more."""
        found: list[Picture | None] = [None] * len(differences)
        # The frame of the candidate's alert is best; where it is gone, that of the alert before may be there.
        for choice in (0, 1):
            self._from_frames(differences, found, choice)
        for place, difference in enumerate(differences):
            if found[place] is None and self._memory is not None:
                found[place] = self._from_memory(self._memory, difference)
        return found

    def _from_frames(self, differences: Sequence[Difference], found: list[Picture | None], choice: int) -> None:
        wanted: dict[FrameRef, list[int]] = {}
        for place, difference in enumerate(differences):
            evidence = evidence_of(difference)[choice : choice + 1]
            if evidence and found[place] is None:
                wanted.setdefault(evidence[0].frame, []).append(place)
        try:
            for ref, frame in self._frames.read(wanted):
                for place in wanted[ref]:
                    found[place] = self._shown(frame, differences[place], evidence_of(differences[place])[choice])
        except BrokerUnreachable as error:
            self._trouble(f"frames could not be read: {error}")

    def _shown(self, frame: Frame, difference: Difference, evidence: Evidence) -> Picture | None:
        # A topic that was removed and made again has other frames at the same offsets.
        if (frame.camera_id, frame.head.captured_at) != (difference.camera_id, evidence.captured_at):
            return None
        ref = evidence.frame
        words = f"its frame, from the topic {ref.topic} (partition {ref.partition}, offset {ref.offset:,})"
        return self._picture(
            frame.jpeg, PictureSize(frame.head.source_width, frame.head.source_height), evidence, words
        )

    def _from_memory(self, memory: Memory, difference: Difference) -> Picture | None:
        evidence = evidence_of(difference)[0]
        try:
            kept = memory.find(difference.camera_id, evidence.captured_at, self._within_ms)
            if kept is None:
                return None
            jpeg = kept.jpeg()
        except StoreTrouble as error:
            self._memory = None
            self._trouble(f"the picture memory could not be read: {error}")
            return None
        by = kept.captured_at - evidence.captured_at
        when = "of the same instant" if by == 0 else f"{lasting(abs(by))} {'later' if by > 0 else 'earlier'}"
        return self._picture(jpeg, None, evidence, f"from the picture memory, {when}")

    def _picture(self, jpeg: bytes, source_size: PictureSize | None, evidence: Evidence, words: str) -> Picture | None:
        try:
            head = read_head(jpeg)
            if head.format != "jpeg":
                raise BadPicture("unknown_format", f"expected a JPEG, found {head.format}")
            jpeg = small(jpeg, WIDEST, QUALITY)
            head = read_head(jpeg)
        except BadPicture as bad:
            self._trouble(f"a picture was left out: {bad}")
            return None
        known = source_size is not None and min(source_size) > 0
        return Picture(jpeg, PictureSize(head.width, head.height), source_size if known else None, evidence, words)

    def _trouble(self, words: str) -> None:
        if words not in self.troubles:
            self.troubles.append(words)
