"""What a number of cameras needs on disk. Pure arithmetic over assumptions that are shown with the answer.

Sizes per record were measured (docs/pictures.md says how); retention and bounds are those of the topics' registry.
"""

from dataclasses import dataclass
from typing import Final

from schemas.topics import ALERTS, DAY, DETECTIONS, FRAMES, SECOND, Topic

ASPECT: Final = 9 / 16
"""Height over width of the pictures."""
FRAME_BYTES_PER_PIXEL: Final = 0.15
"""Of a JPEG of quality 85. Measured 0.08 to 0.11 at 1280 pixels; a noisy night takes more."""
PICTURE_BYTES_PER_PIXEL: Final = 0.10
"""Of a JPEG of quality 75. Measured 0.09."""
DRAWN_OVER_CLEAN: Final = 1.75
"""Bytes of a picture with lines and words drawn in, for one of the frame itself. Measured at 640 pixels."""
EVENT_BYTES: Final = 800
"""Of a detection event with four detections in it, with its headers, as it lies in the log."""
ALERT_BYTES: Final = 750
"""Of one phase of an alert; it has two."""


@dataclass(frozen=True)
class Load:
    """What is to be carried. ``in_sight``: the share of the time in which a label that can alert is in sight."""

    cameras: int
    fps: float
    width: int
    alerts_per_day: float = 10.0
    in_sight: float = 0.1
    replication: int = 1
    picture_width: int = 640
    picture_every_seconds: float = 2.0
    evidence_days: float = 90.0


@dataclass(frozen=True)
class Store:
    """What one kind of record takes on disk, all copies together. ``how``: the reckoning, for a person."""

    name: str
    kept_ms: int
    records: int
    size: int
    how: str


def disk(load: Load) -> tuple[Store, ...]:
    """Every store that grows with the cameras, when it is full: three topics, the picture memory, the evidence."""
    return (_frames(load), _detections(load), _alerts(load), _pictures(load), _evidence(load))


def frame_bytes(load: Load) -> int:
    """Of a frame."""
    return _jpeg(load.width, FRAME_BYTES_PER_PIXEL)


def _frames(load: Load) -> Store:
    each = frame_bytes(load)
    # Whole segments are deleted: the newest one that is closed may be as old as the retention and still be there.
    kept = _retention(FRAMES) + int(FRAMES.config["segment.ms"])
    records = round(load.cameras * load.fps * kept / SECOND)
    partitions = min(load.cameras, FRAMES.partitions)
    bound = partitions * (int(FRAMES.config["retention.bytes"]) + int(FRAMES.config["segment.bytes"]))
    how = f"{each / 1000:.0f} kB each, {load.fps:g} a second and camera"
    if records * each > bound:
        kept = round(kept * bound / (records * each))
        records = bound // each
        how += f"; {bound / partitions / 1e9:.1f} GB a partition are the topic's bound"
    return Store(FRAMES.name, min(kept, _retention(FRAMES)), records, records * each * load.replication, how)


def _detections(load: Load) -> Store:
    kept = _retention(DETECTIONS)
    records = round(load.cameras * load.fps * kept / SECOND)
    how = f"{EVENT_BYTES} bytes each, one for every frame"
    return Store(DETECTIONS.name, kept, records, records * EVENT_BYTES * load.replication, how)


def _alerts(load: Load) -> Store:
    kept = _retention(ALERTS)
    records = round(2 * load.cameras * load.alerts_per_day * kept / DAY)
    how = f"{ALERT_BYTES} bytes each, opened and resolved, {load.alerts_per_day:g} alerts a day and camera"
    return Store(ALERTS.name, kept, records, records * ALERT_BYTES * load.replication, how)


def _pictures(load: Load) -> Store:
    kept = _retention(DETECTIONS)
    if not load.picture_every_seconds:
        return Store("picture memory", kept, 0, 0, "switched off")
    # A frame that is no wider than the picture is kept as it is.
    narrow = load.width <= load.picture_width
    each = _jpeg(load.width, FRAME_BYTES_PER_PIXEL) if narrow else _jpeg(load.picture_width, PICTURE_BYTES_PER_PIXEL)
    at_most = load.cameras * kept / (load.picture_every_seconds * SECOND)
    records = round(at_most * load.in_sight)
    how = f"{each / 1000:.0f} kB each, one every {load.picture_every_seconds:g} s, {load.in_sight:.0%} of the time"
    return Store("picture memory", kept, records, records * each, how)


def _evidence(load: Load) -> Store:
    kept = round(load.evidence_days * DAY)
    records = round(load.cameras * load.alerts_per_day * load.evidence_days)
    each = round((1 + DRAWN_OVER_CLEAN) * _jpeg(load.width, FRAME_BYTES_PER_PIXEL))
    how = f"{each / 1000:.0f} kB each, the frame clean and drawn; clips come on top"
    return Store("evidence", kept, records, records * each, how)


def _jpeg(width: int, bytes_per_pixel: float) -> int:
    return round(width * width * ASPECT * bytes_per_pixel)


def _retention(topic: Topic) -> int:
    assert topic.retention_ms is not None
    return topic.retention_ms
