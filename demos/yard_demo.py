"""The demo: a few cameras over the synthetic yard, watched by the whole pipeline, compared with the truth after."""

import multiprocessing
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml
from rich.console import Console
from rich.table import Table

from demos.rtsp_server import RtspServer
from demos.truth import Row, compare, delays, expected_alerts, sent_alerts, sent_frames
from demos.yard import Yard
from demos.yard.clip import write_clip
from runtime.revisions import RevisionLog
from runtime.settings import KafkaSettings

MODEL: Final = Path(__file__).parents[1] / "models" / "yard" / "yard-2.onnx"
CAMERAS: Final = (
    "yard_gate",
    "yard_dock",
    "yard_saw",
    "yard_ramp",
    "yard_hall",
    "yard_north",
    "yard_south",
    "yard_kiln",
)
CLIP_FPS: Final = 10
FPS_TARGET: Final = 5.0
SPARE_SECONDS: Final = 25
"""The clips are longer than the demo, since the stages take a few seconds to start and to drain."""
TOLERANCE_MS: Final = round(1000 / FPS_TARGET) + 2000
"""One sample interval and the confirm time of the yard's ROIs."""


@dataclass
class YardDemo:
    """What one run of the demo holds: its folder, its cameras, its RTSP server, and afterwards what was seen."""

    folder: Path
    yards: Mapping[str, Yard]
    seconds: float
    server: RtspServer | None = None
    rows: list[Row] = field(default_factory=list)
    frames: int = 0
    ticks: int = 0
    delays: list[int] = field(default_factory=list)

    @property
    def configs(self) -> Path:
        """The documents that `backsight up` is given."""
        return self.folder / "configs"

    @property
    def cameras(self) -> tuple[str, ...]:
        """The ids of the cameras."""
        return tuple(self.yards)

    def prepare(self, say: Callable[[str], None], *, rtsp: bool | None = None) -> None:
        """Films the clips, starts the RTSP server where GStreamer is there, and writes the documents.

        ``rtsp`` True asks for it and fails without; False plays files in real time.
        """
        self.configs.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        paths = film(self.folder / "clips", self.yards, self.seconds + SPARE_SECONDS)
        say(f"filmed {len(paths)} clips of the yard in {time.monotonic() - began:.0f} s")
        over_rtsp = RtspServer.available() if rtsp is None else rtsp
        if over_rtsp:
            self.server = RtspServer(paths, user="viewer", password="yard", loop=False).start()  # noqa: S106 - a demo
            urls = {name: self.server.url(name) for name in self.cameras}
            say(f"{len(urls)} cameras over RTSP on 127.0.0.1:{self.server.port}")
        else:
            urls = {name: str(path) for name, path in paths.items()}
            why = "" if rtsp is False else "no GStreamer RTSP server on this machine: "
            say(f"{why}the clips are played as files, in real time")
        self._write(
            "cameras.yaml", [{"id": name, "url": urls[name], "fps_target": FPS_TARGET} for name in self.cameras]
        )
        self._write("rois.yaml", [{**yard.roi_document(), "camera_id": name} for name, yard in self.yards.items()])
        services = {"inference": {"model_path": str(MODEL)}}
        (self.configs / "services.yaml").write_text(yaml.safe_dump(services), encoding="utf-8")

    def _write(self, name: str, entries: list[dict[str, object]]) -> None:
        text = yaml.safe_dump({"cameras": entries}, sort_keys=False)
        (self.configs / name).write_text(text, encoding="utf-8")

    def look_back(self, kafka: KafkaSettings, prefix: str) -> None:
        """Reads what went over the topics and compares it with the truth."""
        frames = sent_frames(kafka, prefix)
        self.frames = sum(1 for frame in frames if frame.width)
        self.ticks = len(frames) - self.frames
        log = RevisionLog(kafka, prefix)
        try:
            log.refresh()
        finally:
            log.close()
        expected = []
        for name, yard in self.yards.items():
            revision = log.at(name, round(time.time() * 1000))
            if revision is not None:
                expected += expected_alerts(frames, yard, revision)
        found = sent_alerts(kafka, prefix)
        ends = {frame.camera_id: frame.captured_at for frame in frames}
        self.rows = compare(expected, found, TOLERANCE_MS, ends)
        self.delays = delays(kafka, prefix, found)

    def close(self) -> None:
        """Ends the RTSP server."""
        if self.server is not None:
            self.server.stop()
            self.server = None

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def well(self) -> bool:
        """Whether every alert was as the truth expects, and there was one."""
        return bool(self.rows) and all(row.verdict == "as expected" for row in self.rows)

    def show(self, console: Console) -> None:
        """The table at the end."""
        table = Table(title="alerts against the scene's truth")
        for heading in ("camera", "label", "opened", "resolved"):
            table.add_column(heading, no_wrap=True)
        table.add_column("after the truth", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for row in self.rows:
            later = (_later(row.expected_opened_at, row.opened_at), _later(row.expected_resolved_at, row.resolved_at))
            table.add_row(
                row.camera_id,
                row.label,
                _clock(row.opened_at),
                _clock(row.resolved_at) if row.resolved_at else "open",
                ", ".join(text for text in later if text) or "–",
                row.verdict,
                style=None if row.verdict == "as expected" else "red",
            )
        console.print(table)
        good = sum(1 for row in self.rows if row.verdict == "as expected")
        words = f"{self.frames} frames of {len(self.cameras)} cameras; {good} of {len(self.rows)} alerts as expected"
        if self.delays:
            words += (
                f"; from capture to stdout {self.delays[len(self.delays) // 2]} ms in the middle, "
                f"{self.delays[-1]} ms at most"
            )
        console.print(words, highlight=False)
        if self.well:
            console.print("pine and worker walked through the ROIs all the while and alerted nobody", highlight=False)


def yards_of(seed: int, count: int) -> dict[str, Yard]:
    """So many cameras over the yard of one seed."""
    return {name: Yard(seed=seed, camera=name) for name in CAMERAS[:count]}


def film(folder: Path, yards: Mapping[str, Yard], seconds: float) -> dict[str, Path]:
    """A clip of each camera in ``folder``, filmed two at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    # Spawned, not forked: the caller may have threads already.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = {name: pool.submit(_film, folder / f"{name}.mp4", yard, seconds) for name, yard in yards.items()}
        return {name: job.result() for name, job in jobs.items()}


def _film(path: Path, yard: Yard, seconds: float) -> Path:
    write_clip(path, yard, seconds, fps=CLIP_FPS)
    return path


def _clock(instant: int | None) -> str:
    if instant is None:
        return "–"
    return datetime.fromtimestamp(instant / 1000, UTC).astimezone().strftime("%H:%M:%S.%f")[:-5]


def _later(expected: int | None, found: int | None) -> str:
    return "" if expected is None or found is None else f"{(found - expected) / 1000:+.1f} s"
