"""What a sampled 1080p frame costs ingest, beside `cv2.VideoCapture.read` + `cv2.imencode` on the same stream; and the
memory of one ingest process with eight cameras.

Three tables: the picture path alone (decode, date, sample, encode), the whole `backsight ingest` process on a real
RTSP stream and a real Kafka beside a process with the OpenCV loop on the same server, and the memory.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import psutil

from demos.rtsp_server import RtspServer
from ingest.capture_clock import CaptureClock
from ingest.frozen import FrozenWatch, thinned
from ingest.pictures import PictureEncoder
from ingest.sampling import Sampler
from ingest.sources import open_source
from runtime.broker import LocalBroker
from runtime.configs import ResolvedCamera
from runtime.kafka import admin
from runtime.provision import apply_topics
from runtime.settings import KafkaSettings
from schemas.documents.cameras import Camera
from tests.support.clips import write_clip
from tests.support.frames import Ingest, Watching, write_cameras

ROUNDS = 7
FPS, TARGET, QUALITY = 25, 5, 85
LIVE_SECONDS = 20.0
MEMORY_LIMIT = 500e6

OPENCV_LOOP = """
import cv2, sys
cv2.setNumThreads(1)
capture, count = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG), 0
while True:
    taken, picture = capture.read()
    if not taken:
        break
    if count % 5 == 0:
        cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    count += 1
    if count % 25 == 0:
        print(count, flush=True)
"""


def write_street(path: Path, seconds: int = 8) -> Path:
    """A 1080p25 clip of about 3 Mbit/s: texture at all scales, twelve movers, sensor noise."""
    dice = np.random.default_rng(3)
    ground = np.zeros((1080, 1920, 3), np.float32)
    for scale in (4, 16, 64, 256):
        coarse = dice.normal(size=(max(2, 1080 // scale), max(2, 1920 // scale), 3)).astype(np.float32)
        ground += cv2.resize(coarse, (1920, 1080), interpolation=cv2.INTER_CUBIC) * scale**0.6
    ground = np.clip(128 + ground * 8, 0, 255).astype(np.int16)
    noise = dice.normal(0, 3, (1144, 1984, 1)).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 1920, 1080, "yuv420p", 3_000_000
        stream.options = {"preset": "veryfast", "g": "50", "bf": "0"}
        for number in range(seconds * FPS):
            down, right = dice.integers(0, 64, 2)
            picture = np.clip(ground + noise[down : down + 1080, right : right + 1920], 0, 255).astype(np.uint8)
            for mover in range(12):
                left, top = (mover * 157 + number * (3 + mover)) % 1840, (mover * 89) % 950
                picture[top : top + 120, left : left + 60] = (mover * 20, 255 - mover * 20, 128)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path


def opencv(clip: Path) -> int:
    """The plain loop: every picture to BGR, every fifth to JPEG. Answers how many were sampled."""
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    count = sampled = 0
    while True:
        taken, picture = capture.read()
        if not taken:
            return sampled
        if count % (FPS // TARGET) == 0:
            cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            sampled += 1
        count += 1


def ours(clip: Path, width: int) -> int:
    """What a camera's thread does with each picture, as fast as it goes."""
    camera = Camera.model_validate({"id": "cam", "url": str(clip), "width": width, "quality": QUALITY})
    source = open_source(ResolvedCamera(camera, str(clip)), lambda _seconds: False)
    clock, sampler, encoder, frozen = (
        CaptureClock(),
        Sampler(TARGET),
        PictureEncoder(width, QUALITY),
        FrozenWatch(60_000),
    )
    sampled = 0
    for picture in source.pictures():
        taken = clock.taken(picture.at_ms or 0.0, picture.at_ms)
        if sampler.keep(taken):
            at = clock.stamp(taken)
            encoded = encoder.encode(picture.frame)
            frozen.look(at, thinned(encoded.luma))
            sampled += 1
    source.close()
    return sampled


def cpu_ms(work: Callable[[], int]) -> float:
    """CPU milliseconds of this process per sampled frame."""
    began = time.process_time()
    sampled = work()
    return (time.process_time() - began) / sampled * 1000


def picture_path(clip: Path) -> None:
    """Interleaved rounds; the ratio is the median of per-round ratios."""
    variants: dict[str, Callable[[], int]] = {
        "cv2.VideoCapture.read + imencode, 1920": lambda: opencv(clip),
        "ours, the same picture, 1920": lambda: ours(clip, 1920),
        "ours, as shipped, 1280": lambda: ours(clip, 1280),
        "ours, 640": lambda: ours(clip, 640),
    }
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(ROUNDS + 1):
        for name, work in variants.items():
            milliseconds = cpu_ms(work)
            if turn:  # the first is the warm-up
                spent[name].append(milliseconds)
    plain = next(iter(spent.values()))
    print(
        f"picture path, CPU ms per sampled 1080p frame ({FPS} -> {TARGET} fps), median of {ROUNDS} interleaved rounds"
    )
    for name, each in spent.items():
        ratio = statistics.median(before / after for before, after in zip(plain, each, strict=True))
        print(f"  {name:42s} {statistics.median(each):6.1f}   {ratio:.2f} x cheaper")


def live(clip: Path, bootstrap: str, folder: Path) -> None:
    """The whole process on a live stream, Kafka and all, beside the OpenCV loop at the same time."""
    if not RtspServer.available():
        print("live RTSP: skipped, GStreamer's RTSP server is not here")
        return
    environ = {**os.environ, "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;tcp"}
    with RtspServer({"street": clip}) as server, topics(bootstrap, "benchlive.") as prefix:
        for width in (1920, 1280):
            camera = {"id": f"street{width}", "url": server.url("street"), "width": width}
            configs = write_cameras(folder / f"live{width}", camera)
            with Ingest(bootstrap, prefix, configs) as process, Watching(bootstrap, f"{prefix}frames") as seen:
                loop = subprocess.Popen(
                    [sys.executable, "-c", OPENCV_LOOP, server.url("street")],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environ,
                )
                try:
                    assert loop.stdout is not None
                    loop.stdout.readline()
                    seen.until(lambda w, name=camera["id"]: len(w.pictures(str(name))) >= 5)
                    pids = (process.process.pid, loop.pid)
                    before = [cpu_seconds(pid) for pid in pids]
                    began = time.monotonic()
                    time.sleep(LIVE_SECONDS)
                    spent = [cpu_seconds(pid) - first for pid, first in zip(pids, before, strict=True)]
                    frames = (time.monotonic() - began) * TARGET
                finally:
                    loop.kill()
                    loop.wait()
                    loop.stdout.close()
            ingest_ms, opencv_ms = (seconds / frames * 1000 for seconds in spent)
            print(f"live RTSP, {LIVE_SECONDS:g} s side by side, CPU ms per sampled 1080p frame, whole process")
            print(f"  {'cv2.VideoCapture.read + imencode, 1920':42s} {opencv_ms:6.1f}")
            name = f"backsight ingest to Kafka, width {width}"
            print(f"  {name:42s} {ingest_ms:6.1f}   {opencv_ms / ingest_ms:.2f} x cheaper")


def memory(bootstrap: str, folder: Path) -> bool:
    """Resident memory of one process with eight file cameras at 640 x 360."""
    clip = write_clip(folder / "small.mp4", size=(640, 360), seconds=10, fps=25)
    names = [f"cam{number}" for number in range(8)]
    configs = write_cameras(folder / "memory", *({"id": name, "url": str(clip), "loop": True} for name in names))
    with (
        topics(bootstrap, "benchmemory.") as prefix,
        Ingest(bootstrap, prefix, configs) as process,
        Watching(bootstrap, f"{prefix}frames") as seen,
    ):
        seen.until(lambda w: all(len(w.pictures(name)) >= 60 for name in names), 60)
        resident = psutil.Process(process.process.pid).memory_info().rss
    print(f"memory of one ingest process with 8 file cameras at 640 x 360: {resident / 1e6:.0f} MB (limit 500)")
    return bool(resident < MEMORY_LIMIT)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@contextmanager
def topics(bootstrap: str, prefix: str) -> Iterator[str]:
    """The registry's topics under a prefix."""
    apply_topics(admin(KafkaSettings(bootstrap_servers=bootstrap)), prefix, partitions=1)
    yield prefix


def main() -> int:
    """Prints the tables; answers 1 when the memory limit is passed."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="backsight-bench-") as name:
        folder = Path(name)
        clip = write_street(folder / "street.mp4")
        print(f"clip: 1080p{FPS}, {clip.stat().st_size * 8 / 8 / 1e6:.1f} Mbit/s")
        picture_path(clip)
        broker = LocalBroker(folder / "kafka", port=0, bound=True)
        broker.start()
        try:
            live(clip, broker.bootstrap, folder)
            within = memory(broker.bootstrap, folder)
        finally:
            broker.stop()
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
