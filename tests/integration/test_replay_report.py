"""`backsight replay rules --report` on a real broker: detections, some of their frames, and a picture memory."""

import base64
import re
import time
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from cli.replay import replay
from runtime.kafka import Message, producer
from runtime.marks import publish_mark
from runtime.picture_memory import PictureMemory
from schemas.codec import encode, schema_header
from schemas.frames import FrameHead, frame_headers
from schemas.messages import Detection, DetectionEvent, FrameRef, Mark, Model, alert_id
from schemas.partitioning import partition_of
from tests.support.broker import settings

pytestmark = pytest.mark.usefixtures("topics")

START = round(time.time() / 1000) * 1_000_000 - 1_200_000
"""Twenty minutes ago: retention keeps frames for an hour."""
EVERY_MS = 500
EVENTS = 240
CRATE = Detection("object", 0.9, (0.4, 0.5, 0.5, 0.7))
SHOWN = range(40, 60)
"""The events in which the crate lies, 10 s of 2 minutes."""


def painted(shade: int) -> bytes:
    return cv2.imencode(".jpg", np.full((90, 160, 3), shade, np.uint8))[1].tobytes()


def write_history(bootstrap: str, prefix: str, camera: str, *, frames: bool, moved_by: int = 0) -> None:
    """Two minutes of one camera. ``moved_by``: references to frames are so many offsets too high."""
    sender = producer(settings(bootstrap), "test-report", linger_ms=5)
    sent: list[Message] = []
    instants = [START + number * EVERY_MS for number in range(EVENTS)]
    if frames:
        for number, at in enumerate(instants):
            head = FrameHead(number, at, at, "live", 160, 90, 1600, 900)
            sender.produce(
                f"{prefix}frames",
                key=camera,
                value=painted(200),
                headers=frame_headers(head),
                on_delivery=lambda _, message: sent.append(message),
            )
        assert sender.flush(30) == 0
    for number, at in enumerate(instants):
        offset = sent[number].offset() if sent else 1_000_000 + number
        event = DetectionEvent(
            camera_id=camera,
            captured_at=at,
            seq=number,
            frame=FrameRef(f"{prefix}frames", partition_of(camera, 3), (offset or 0) + moved_by),
            width=1600,
            height=900,
            floor=0.1,
            model=Model("yard", "1", "ab" * 32),
            detections=(CRATE,) if number in SHOWN else (),
        )
        sender.produce(
            f"{prefix}detections",
            key=camera,
            value=encode(event),
            headers=[schema_header(DetectionEvent)],
            timestamp=at,
        )
    assert sender.flush(30) == 0


def rois(path: Path, cameras: tuple[str, ...], right: int) -> Path:
    """One ROI per camera, in pixels of the source picture, that reaches to ``right``."""
    roi = {"name": "zone", "points": [[320, 180], [right, 180], [right, 720], [320, 720]], "severity": "critical"}
    entries = [{"camera_id": each, "forbidden_rois": [roi], "alert_classes": ["object"]} for each in cameras]
    path.write_text(yaml.safe_dump({"cameras": entries}))
    return path


def report(bootstrap: str, prefix: str, folder: Path, *arguments: str) -> Result:
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "BACKSIGHT_PREFIX": prefix,
        "BACKSIGHT_CONFIGS": "no-such-folder",
        "PICTURE_MEMORY_URL": str(folder / "memory"),
    }
    span = ["--from", str(START), "--to", str(START + EVENTS * EVERY_MS)]
    command = ["rules", *span, "--report", str(folder / "report"), *arguments]
    return CliRunner(env=environ).invoke(replay, command, catch_exceptions=False)


def cards(page: Path) -> dict[str, ElementTree.Element]:
    """Camera to its card."""
    found = list(ElementTree.fromstring(page.read_text(encoding="utf-8")).iter("article"))
    return {each.findtext("header/p/b") or "": each for each in found}


def picture_on(card: ElementTree.Element) -> np.ndarray | None:
    image = card.find(".//img")
    if image is None:
        return None
    content = base64.b64decode(image.attrib["src"].removeprefix("data:image/jpeg;base64,"))
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def words_on(card: ElementTree.Element) -> str:
    return " ".join("".join(card.itertext()).split())


def test_each_alert_has_the_best_picture_there_is(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    cameras = ("framed", "kept", "gone", "recreated")
    write_history(bootstrap, prefix, "framed", frames=True)
    write_history(bootstrap, prefix, "kept", frames=False)
    write_history(bootstrap, prefix, "gone", frames=False)
    write_history(bootstrap, prefix, "recreated", frames=True, moved_by=3)
    opened = START + (SHOWN[0] + 2) * EVERY_MS
    PictureMemory(str(tmp_path / "memory"), prefix).keep("kept", opened - 700, painted(100))
    before = rois(tmp_path / "before.yaml", cameras, 1200)
    after = rois(tmp_path / "after.yaml", cameras, 600)

    result = report(bootstrap, prefix, tmp_path, "--rois", str(after), "--baseline", str(before))

    assert result.exit_code == 3, result.output
    page = tmp_path / "report" / "index.html"
    assert f"report: {page}" in result.stderr
    found = cards(page)
    assert set(found) == set(cameras)
    framed, kept = picture_on(found["framed"]), picture_on(found["kept"])
    assert framed is not None
    assert framed.mean() == pytest.approx(200, abs=2)
    assert kept is not None
    assert kept.mean() == pytest.approx(100, abs=2)
    assert "from the picture memory, 0.7 s earlier" in words_on(found["kept"])
    for camera in ("gone", "recreated"):
        assert picture_on(found[camera]) is None
        assert "no picture is kept any more" in words_on(found[camera])
    for camera in cameras:
        polygons = {each.attrib["class"]: each.attrib["points"] for each in found[camera].iter("polygon")}
        scale = 1.0 if camera in ("gone", "recreated") else 0.1  # the camera's own size, or that of the picture
        for side, right in (("before", 1200), ("after", 600)):
            corners = [tuple(map(float, corner.split(","))) for corner in polygons[side].split()]
            assert corners[1] == pytest.approx((right * scale, 180 * scale))
            assert corners[3] == pytest.approx((320 * scale, 720 * scale))


def test_what_operators_said_is_on_the_card(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    write_history(bootstrap, prefix, "yard", frames=False)
    before = rois(tmp_path / "before.yaml", ("yard",), 1200)
    after = rois(tmp_path / "after.yaml", ("yard",), 600)
    arguments = ("--rois", str(after), "--baseline", str(before))
    assert report(bootstrap, prefix, tmp_path, *arguments).exit_code == 3
    page = tmp_path / "report" / "index.html"
    (revision,) = set(re.findall(r"([0-9a-f]{16}) → ", page.read_text(encoding="utf-8")))
    opened = START + (SHOWN[0] + 2) * EVERY_MS
    marked = alert_id("yard", "zone", "object", None, revision, opened)
    publish_mark(settings(bootstrap), prefix, Mark(marked, True, START, "ana"))

    assert report(bootstrap, prefix, tmp_path, *arguments).exit_code == 3
    assert "would be lost: marked true by ana" in words_on(cards(page)["yard"])


def test_equal_sides_make_a_report_without_cards(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    write_history(bootstrap, prefix, "yard", frames=False)
    document = str(rois(tmp_path / "rois.yaml", ("yard",), 1200))
    result = report(bootstrap, prefix, tmp_path, "--rois", document, "--baseline", document)
    assert result.exit_code == 0, result.output
    page = tmp_path / "report" / "index.html"
    assert cards(page) == {}
    assert "The same alerts" in page.read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_is_said(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    write_history(bootstrap, prefix, "yard", frames=False)
    document = str(rois(tmp_path / "rois.yaml", ("yard",), 1200))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").mkdir()
    result = report(bootstrap, prefix, tmp_path, "--rois", document, "--baseline", document)
    assert result.exit_code == 2
    assert "report: cannot be written: Is a directory" in result.stderr
