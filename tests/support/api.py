"""The API in process, around a detector that sees what the test says, and pictures of every kind."""

import struct
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import simplejpeg
from pydantic import SecretStr

from api.access import Guard
from api.alerts import Showing
from api.app import create_app
from api.documents import Documents
from api.kafka_watch import KafkaState
from api.looking import Looking
from api.marks import Marking
from api.revisions import Revisions
from api.silences import Silencing
from api.tokens import TokenFile, Tokens
from evidence.clip import ClipGone
from evidence.index import AlertIndex, Asked, Entry, Key, Page
from evidence.store import EvidenceStore
from inference.pictures import Limits
from runtime.kafka import BrokerUnreachable
from runtime.revisions import RevisionHistory
from schemas.documents.rois import RoiDefaults
from schemas.effective import RoiRevision
from schemas.messages import Alert, Detection, Mark, Model, Silence

CAMERAS = """
cameras:
  - id: cam_yard
    name: "Yard, door 2"
    rtsp_url: "rtsp://cam.admin:p%40ss-geheim@192.168.1.10:554/Streaming/Channels/101?pwd=geheim&profile=1"
  - id: cam_bare
    url: "rtsp://${CAM_USER}:${CAM_PASSWORD}@[2001:db8::7]/live"
    enabled: false
"""
ROIS = """
cameras:
  - camera_id: cam_yard
    forbidden_rois:
      - name: whole
        points: [[0, 0], [1, 0], [1, 1], [0, 1]]
        units: fractions
        confirm: {hits: 2, within_seconds: 2}
      - name: left
        points: [[0, 0], [50, 0], [50, 100], [0, 100]]
        min_confidence: 0.6
    allowed_classes: [pine]
    alert_classes: [object]
"""
SEEN = (
    Detection("object", 0.9, (0.6, 0.2, 0.8, 0.5)),
    Detection("pine", 0.8, (0.1, 0.1, 0.3, 0.3)),
    Detection("object", 0.5, (0.1, 0.2, 0.2, 0.5)),
    Detection("object", 0.15, (0.4, 0.4, 0.5, 0.5)),
)


class Topics:
    """`roi-revisions`, `alerts` and `marks` in memory; ``away`` set, nobody answers."""

    def __init__(self) -> None:
        self.history = RevisionHistory()
        self.alerts: list[Alert] = []
        self.marks: list[Mark] = []
        self.silences: dict[str, Silence] = {}
        self.searched_since = 0
        self.away: BrokerUnreachable | None = None
        self.index = AlertIndex()
        self.complete = True

    def revisions(self) -> Revisions:
        """What the API reads and replaces."""
        return Revisions(self._read, self._write, RoiDefaults())

    def marking(self) -> Marking:
        """What the API marks alerts through."""
        return Marking(self._find, self.marks.append)

    def silencing(self) -> Silencing:
        """What the API silences through."""

        def read() -> tuple[Silence, ...]:
            self._read()
            return tuple(self.silences.values())

        def publish(silence: Silence) -> None:
            self.silences[silence.silence_id] = silence

        return Silencing(read, publish)

    def showing(self, store: EvidenceStore) -> Showing:
        """What the API shows alerts from: ``index``, and clips that nobody can make."""

        def clip(_alert: Alert) -> bytes:
            raise ClipGone("the frames are gone")

        return Showing(self, store, clip)

    def get(self, alert_id: str) -> Entry | None:
        """See `api.alerts.List`."""
        return self.index.get(alert_id)

    def page(self, asked: Asked, limit: int, below: Key | None) -> Page:
        """See `api.alerts.List`."""
        return self.index.page(asked, limit, below)

    def _read(self) -> RevisionHistory:
        if self.away is not None:
            raise self.away
        return self.history

    def _write(self, revisions: Sequence[RoiRevision]) -> None:
        for revision in revisions:
            self.history.add(revision)

    def _find(self, alert_id: str, since: int) -> Alert | None:
        self._read()
        self.searched_since = since
        return next((alert for alert in self.alerts if alert.alert_id == alert_id), None)


class Seeing:
    """A detector that sees the same in every picture, after ``wait`` is set where the test gives one."""

    labels = ("object", "pine", "worker")
    model = Model("fake", "3", "ab" * 32)
    device = "cpu"
    input_size = (64, 64)
    batch_size = 1

    def __init__(self, seen: tuple[Detection, ...] = SEEN) -> None:
        self.seen = seen
        self.wait: threading.Event | None = None
        self.begun = threading.Event()
        self.error: Exception | None = None
        self.sizes: list[tuple[int, ...]] = []

    def detect(self, pictures: Any, names: object = None) -> list[tuple[Detection, ...]]:
        """Sees."""
        self.begun.set()
        if self.wait is not None:
            self.wait.wait(20)
        if self.error is not None:
            raise self.error
        self.sizes += [picture.shape for picture in pictures]
        return [self.seen for _ in pictures]


def write_configs(folder: Path, cameras: str = CAMERAS, rois: str = ROIS) -> Path:
    """A configuration folder."""
    (folder / "cameras.yaml").write_text(cameras, encoding="utf-8")
    (folder / "rois.yaml").write_text(rois, encoding="utf-8")
    return folder


def guarding(folder: Path, secret: str | None = None, per_minute: int = 0, **more: Any) -> Guard:
    """A guard over the tokens in the folder's `tokens.json`, of which there are none at first."""
    tokens = Tokens(TokenFile(folder / "tokens.json"))
    return Guard(tokens, None if secret is None else SecretStr(secret), per_minute, **more)


def make_app(
    configs: Path,
    open_detector: Callable[[], Any],
    *,
    waiting: int = 8,
    max_bytes: int = 100_000,
    max_pixels: int = 1_000_000,
    kafka: KafkaState | None = None,
    topics: Topics | None = None,
    showing: Showing | None = None,
    guard: Guard | None = None,
) -> tuple[Any, Looking]:
    """The application and its detector's thread, not started."""
    looking = Looking(open_detector, waiting)
    topics = topics or Topics()
    app = create_app(
        looking,
        Documents(configs, RoiDefaults()),
        topics.revisions(),
        topics.marking(),
        topics.showing(EvidenceStore(str(configs / "evidence"))) if showing is None else showing,
        topics.silencing(),
        guarding(configs) if guard is None else guard,
        kafka=lambda: kafka or KafkaState("ok"),
        limits=Limits(max_bytes, max_pixels),
    )
    return app, looking


@asynccontextmanager
async def serving(
    app: Any, *, peer: str = "127.0.0.1", url: str = "http://localhost:8000", token: str | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client that speaks to the application in this process; a fault of ours is answered, as in production."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 50_000))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url=url, headers=headers) as client:
        yield client


def jpeg(width: int = 100, height: int = 100) -> bytes:
    """A JPEG."""
    content: bytes = simplejpeg.encode_jpeg(np.full((height, width, 3), 90, np.uint8))
    return content


def encoded(suffix: str, width: int = 100, height: int = 80) -> bytes:
    """A picture as OpenCV writes it, such as `.png` or `.webp`."""
    return bytes(cv2.imencode(suffix, np.full((height, width, 3), 90, np.uint8))[1])


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header announces a large picture of one bit a pixel."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
