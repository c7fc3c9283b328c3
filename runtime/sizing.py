"""What a number of cameras needs beside disk: detectors, cores, memory, network, brokers, partitions, and where another
design is called for. Pure arithmetic over measured or published figures, each named with the answer."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from runtime.capacity import ASPECT, EVENT_BYTES, Load, disk, frame_bytes
from schemas.topics import ALERTS, DETECTIONS, FRAMES, MINUTE, PARTITIONS

BUSY: Final = 0.7
"""Of a core or a detector: what is beyond takes up bursts, restarts and a neighbour that fails."""
INGEST_MS: Final = (0.6, 1.7, 0.1, 3.1)
"""CPU of decoding a picture, and of making a frame: milliseconds each, and for each megapixel on top."""
FRAME_MS: Final = (1.5, 2.8)
"""CPU of turning a frame into the detector's input: milliseconds, and for each megapixel on top."""
EVENT_MS: Final = 0.2
"""CPU of judging a detection event."""
BROKER_BYTES: Final = 100e6
"""A second that a broker writes, the copies of others among them."""
BROKER_DISK: Final = 4e12
MOST_BROKERS: Final = 12
"""For pictures; beyond it an object store carries them for less."""
MACHINE_CORES: Final = 16
FEWEST_MINUTES: Final = 10
"""That frames should be there: for evidence, for clips, and for `replay frames` after a bad afternoon."""
INGEST_MB: Final = (125, 15)
"""Of an ingest process, and of each camera of 1080p."""
DETECTOR_MB: Final = 300
"""Of an inference process on the CPU; on a GPU its runtime alone takes `GPU_MB`."""
GPU_MB: Final = 4000
STAGES_MB: Final = 800
"""Router, evidence, API and one rules worker; `RULES_MB` each further one."""
RULES_MB: Final = 150


@dataclass(frozen=True)
class Detector:
    """What a device does, in frames a second, and who says so."""

    name: str
    per_second: float
    source: str
    is_gpu: bool = True


_HALF: Final = "half of it without TensorRT, which is the default; published, not measured here"
DETECTORS: Final = {
    "cpu": Detector(
        "a core", 72, "yard 2 at 384 × 224, 13.9 ms a picture on one thread (models/yard/README.md)", is_gpu=False
    ),
    "cpu-640": Detector(
        "a core", 19, "YOLO26n at 640 × 384 in ONNX Runtime, 53 ms a picture on one thread; measured", is_gpu=False
    ),
    "t4": Detector("a T4", 294, f"YOLO26n at 640 × 640, 1.7 ms in TensorRT (Ultralytics); {_HALF}"),
    "a100": Detector("an A100", 1470, f"YOLOv8n at 640 × 640, 0.34 ms in batches of 8 (Ultralytics); {_HALF}"),
}


@dataclass(frozen=True)
class Site:
    """What is to be carried (``load``), by which detector, and what the cameras send."""

    load: Load
    detector: Detector
    source_width: int = 1920
    source_fps: float = 25.0
    camera_mbit: float = 4.0

    def with_cameras(self, cameras: int) -> "Site":
        """The same with another number of cameras."""
        return replace(self, load=replace(self.load, cameras=cameras))

    @property
    def frames(self) -> float:
        """A second, of all cameras."""
        return self.load.cameras * self.load.fps


@dataclass(frozen=True)
class Need:
    """How much of something. ``how``: the reckoning, for a person."""

    name: str
    amount: float
    unit: str
    how: str


@dataclass(frozen=True)
class Change:
    """Where the design changes. ``cameras``: from how many of these on; None: never for this reason."""

    name: str
    cameras: int | None
    why: str
    do: str


def cameras_per_detector(site: Site) -> int:
    """How many cameras one device looks at."""
    return math.floor(site.detector.per_second * BUSY / site.load.fps)


def needs(site: Site) -> tuple[Need, ...]:
    """Everything but disk (`runtime.capacity.disk`)."""
    load, detector = site.load, site.detector
    detectors, judging = _detectors(site), _rules(site)
    in_bytes, copies = _kafka_bytes(load), load.replication
    brokers, brokers_how = _brokers(load)
    feeding = site.frames * _ms(FRAME_MS, load.width) / 1000 / BUSY
    detecting = f"{GPU_MB / 1000:g} GB" if detector.is_gpu else f"{DETECTOR_MB} MB"
    return (
        Need(
            "GPUs" if detector.is_gpu else "cores for detection",
            detectors,
            "",
            f"{site.frames:,.0f} frames/s; {detector.name} does {detector.per_second:,.0f}/s, {BUSY:.0%} of it used",
        ),
        Need(
            "cores to decode frames",
            _up(feeding),
            "",
            f"{_ms(FRAME_MS, load.width):.1f} ms a frame of {load.width}, beside the detector",
        ),
        Need(
            "cores for ingest",
            _up(_ingest_cores(site)),
            "",
            f"{_ingest_ms(site):.0f} ms a second and camera of {site.source_width} at {site.source_fps:g} fps, "
            f"{BUSY:.0%} used",
        ),
        Need("cores for rules", _up(judging), "", f"{EVENT_MS * 1000:.0f} µs an event, {BUSY:.0%} used"),
        Need("memory of the stages", _memory(site), "GB", f"{INGEST_MB[1]} MB a camera, {detecting} a detector"),
        Need("from cameras", load.cameras * site.camera_mbit, "Mbit/s", f"{site.camera_mbit:g} Mbit/s each"),
        Need("into Kafka", in_bytes * 8 / 1e6, "Mbit/s", f"frames of {frame_bytes(load) / 1000:.0f} kB, and events"),
        Need("between brokers", in_bytes * 8 / 1e6 * (copies - 1), "Mbit/s", f"{copies - 1} further copies"),
        Need("out of Kafka", in_bytes * 8 / 1e6, "Mbit/s", "each frame to one detector, each event to rules"),
        Need("brokers", brokers, "", brokers_how),
        Need(
            "partitions",
            max(detectors if detector.is_gpu else 1, math.ceil(judging), 1),
            "",
            f"one for each GPU and each rules worker at least; the registry has {PARTITIONS}",
        ),
    )


def changes(site: Site) -> tuple[Change, ...]:
    """Where these cameras would outgrow the design, the first first."""

    def first(outgrown: Callable[[Site], bool]) -> int | None:
        low, high = 0, 1_000_000
        if not outgrown(site.with_cameras(high)):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if outgrown(site.with_cameras(middle)) else (middle, high)
        return high

    found = [
        Change(
            "sub-streams",
            first(lambda grown: _ingest_cores(grown) > MACHINE_CORES),
            f"ingest takes more than {MACHINE_CORES} cores, one machine",
            "read the cameras' sub-streams (640 × 360 at the rate that is needed), or more machines for ingest",
        ),
        Change(
            "frames kept for less",
            first(lambda grown: _frames_minutes(grown.load) < FEWEST_MINUTES),
            f"`frames` holds less than {FEWEST_MINUTES} minutes, the bound of its {PARTITIONS} partitions",
            "narrower frames (`width` of cameras.yaml), or a higher retention.bytes in schemas/topics.py and the disk",
        ),
        Change(
            "tiered storage",
            first(lambda grown: _kafka_disk(grown.load) > 3 * BROKER_DISK),
            f"Kafka's topics take more than three brokers of {BROKER_DISK / 1e12:g} TB",
            "the brokers' tiered storage (KIP-405) for `detections`, or `backsight archive` and a shorter retention",
        ),
        Change(
            "claim check",
            first(lambda grown: _written(grown.load) > MOST_BROKERS * BROKER_BYTES),
            f"pictures keep more than {MOST_BROKERS} brokers writing",
            "pictures to an object store and only their place through Kafka: another design, not built",
        ),
        Change(
            "several clusters",
            first(lambda grown: max(_detectors(grown) if grown.detector.is_gpu else 0, _rules(grown)) > PARTITIONS),
            f"more GPUs or rules workers than the {PARTITIONS} partitions",
            "an installation for each site or hall, with a cluster or a prefix of its own; or another PARTITIONS in "
            "schemas/topics.py before the first `topics apply`, for it holds for ever",
        ),
    ]
    return tuple(sorted(found, key=lambda each: math.inf if each.cameras is None else each.cameras))


_INGEST: Final = (
    "ingest: decoding 0.6 ms a picture and 1.7 ms a megapixel, making a frame 0.1 ms and 3.1 ms (measured: H.264 of "
    "3 Mbit/s, one core of an AMD EPYC; docs/decisions/ingest.md); twice that for busy pictures at 8 Mbit/s or HEVC"
)
_BROKER: Final = (
    f"a broker writes {BROKER_BYTES / 1e6:.0f} MB/s (measured on two busy cores, docs/decisions/local-kafka.md; "
    f"a machine of its own with NVMe does several times that) and has {BROKER_DISK / 1e12:g} TB"
)
_MEMORY: Final = (
    "memory: a decoder of 1080p took 13 MB and inference with the yard model 136 MB where it was measured; "
    f"{GPU_MB / 1000:g} GB for the process of a GPU is a guess. Kafka's brokers want theirs beside it"
)
ASSUMED: Final = (
    _INGEST,
    "detection: the detector's figure above. Measure your own model and card and say it with --detector-rate",
    "frames to the detector: 1.5 ms a frame and 2.8 ms a megapixel (measured; less where a JPEG is read at half size)",
    "rules: 200 µs an event (measured: 51 to 246, docs/decisions/faust.md; much time goes to alerts)",
    _BROKER,
    _MEMORY,
)
"""In words, for whoever reads the answer."""


def _ms(terms: tuple[float, float], width: int) -> float:
    fixed, each_megapixel = terms
    return fixed + each_megapixel * width * width * ASPECT / 1e6


def _ingest_ms(site: Site) -> float:
    decoding, making = _ms(INGEST_MS[:2], site.source_width), _ms(INGEST_MS[2:], site.load.width)
    return site.source_fps * decoding + site.load.fps * making


def _ingest_cores(site: Site) -> float:
    return site.load.cameras * _ingest_ms(site) / 1000 / BUSY


def _detectors(site: Site) -> int:
    return math.ceil(site.frames / (site.detector.per_second * BUSY))


def _rules(site: Site) -> float:
    return site.frames * EVENT_MS / 1000 / BUSY


def _memory(site: Site) -> float:
    process, camera = INGEST_MB
    ingest = process * math.ceil(_ingest_cores(site) / MACHINE_CORES) + camera * site.load.cameras
    detecting = GPU_MB * _detectors(site) if site.detector.is_gpu else DETECTOR_MB
    return (ingest + detecting + STAGES_MB + RULES_MB * (math.ceil(_rules(site)) - 1)) / 1000


def _kafka_bytes(load: Load) -> float:
    """A second, into Kafka, each once."""
    return load.cameras * load.fps * (frame_bytes(load) + EVENT_BYTES)


def _written(load: Load) -> float:
    return _kafka_bytes(load) * load.replication


def _kafka_disk(load: Load) -> int:
    in_kafka = {topic.name for topic in (FRAMES, DETECTIONS, ALERTS)}
    return sum(store.size for store in disk(load) if store.name in in_kafka)


def _frames_minutes(load: Load) -> float:
    (frames,) = (store for store in disk(load) if store.name == FRAMES.name)
    return frames.kept_ms / MINUTE


def _brokers(load: Load) -> tuple[int, str]:
    writing, keeping = math.ceil(_written(load) / BROKER_BYTES), math.ceil(_kafka_disk(load) / BROKER_DISK)
    how = f"{_written(load) / 1e6:,.0f} MB/s to write and {_kafka_disk(load) / 1e12:.1f} TB to keep, copies included"
    return max(writing, keeping, load.replication), how


def _up(cores: float) -> float:
    """Tenths below one core, whole cores above."""
    return math.ceil(cores * 10) / 10 if cores < 1 else math.ceil(cores)
