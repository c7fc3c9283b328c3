"""The demos without Kafka, each as somebody would start it."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import simplejpeg
import yaml

from demos.truth import SentFrame, compare, expected_alerts
from demos.trying import SCENE, SCENE_FPS, SCENE_FROM_MS, SCENE_SECONDS, scene_clip
from inference.annotate import AMBER, RED
from ingest.sampling import Sampler
from runtime.settings import CHECKOUT
from schemas.codec import decode
from schemas.documents.reading import read_document
from schemas.documents.rois import RoiDefaults, Rois, effective_rules
from schemas.effective import RoiRevision, revision_of
from schemas.messages import Alert, FrameRef
from tests.support.servers import free_port

ROIS = {"cameras": [SCENE.roi_document()]}


@pytest.fixture(scope="module")
def clip() -> Path:
    """The clip that the demos film where they are given no source."""
    return Path(scene_clip())


def environ(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return {**kept, "INFERENCE_DEVICE": "cpu", **more}


def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A demo from the checkout, until it ends; ``more`` goes into its environment."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=CHECKOUT,
        env=environ(**more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rois_file(folder: Path) -> str:
    path = folder / "rois.yaml"
    path.write_text(yaml.safe_dump(ROIS))
    return str(path)


def revision() -> RoiRevision:
    rules = effective_rules(read_document(Rois, ROIS, "rois").cameras[0], RoiDefaults())
    return RoiRevision(SCENE.camera, revision_of(rules), 0, 0, "file", rules)


def test_alerts_are_those_of_the_scene_and_pine_and_worker_alert_nobody(clip: Path) -> None:
    done = run("demos/infer_alert.py")
    assert done.returncode == 0, done.stderr
    found = [decode(Alert, line.encode()) for line in done.stdout.splitlines()]
    # The clip's own times, from the picture that an alert names: the n-th that was sampled.
    sampler = Sampler(5)
    times = [round(number * 1000 / SCENE_FPS) for number in range(SCENE_SECONDS * SCENE_FPS)]
    sampled = [at for at in times if sampler.keep(at)]
    began = found[0].evidence.captured_at - sampled[found[0].evidence.frame.offset]
    frames = [
        SentFrame(SCENE.camera, began + at, number, FrameRef("", 0, number), 640, 360, SCENE_FROM_MS + at)
        for number, at in enumerate(sampled)
    ]
    rows = compare(expected_alerts(frames, SCENE, revision()), found, 2_200, {SCENE.camera: frames[-1].captured_at})
    assert rows
    assert [row.verdict for row in rows] == ["as expected"] * len(rows)
    assert {alert.label for alert in found} == {"object"}
    there = {truth.label for frame in frames for truth in SCENE.truths(frame.scene_ms or 0)}
    assert there == {"object", "pine", "worker"}, "all three are to be seen, one alerts"
    assert f"{len(sampled)} pictures, 1 alert(s)" in done.stderr


def test_a_video_comes_out_with_what_was_seen_drawn_in(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    words = ["--source", str(clip), "--rois", rois_file(tmp_path), "--output", str(output), "--duration", "5"]
    done = run("-m", "demos.demo_video_infer", *words)
    assert done.returncode == 0, done.stderr
    assert "object" in done.stdout
    assert f"{5 * SCENE_FPS}/{5 * SCENE_FPS}" in done.stderr, "the progress bar came to its end"
    with av.open(str(output)) as written, av.open(str(clip)) as source:
        drawn = [frame.to_ndarray(format="rgb24") for frame in written.decode(video=0)]
        plain = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)][: len(drawn)]
        assert written.streams.video[0].codec_context.name == "h264"
        assert float(written.duration) / av.time_base == pytest.approx(5, abs=0.3)
    assert len(drawn) == 5 * SCENE_FPS
    # The plate with the ROI's name stands above its topmost corner: amber while it is empty, red while it is not.
    height, width = drawn[0].shape[:2]
    x, y = min(ROIS["cameras"][0]["forbidden_rois"][0]["points"], key=lambda point: (point[1], point[0]))
    left, foot = round(x * width), round(y * height)
    plate = np.s_[foot - 4 : foot - 1, left + 4 : left + 40]
    (incident,) = SCENE.incidents(SCENE_FROM_MS + 5_000)
    comes = (incident.starts_ms - SCENE_FROM_MS) * SCENE_FPS // 1000
    ground = [tuple(np.median(picture[plate], axis=(0, 1))) for picture in drawn]
    assert ground[0] == pytest.approx(AMBER, abs=40)
    red = [number for number, colour in enumerate(ground) if colour == pytest.approx(RED, abs=40)]
    assert red, "the ROI is red while the object is in it"
    assert min(red) >= comes - 1
    assert all(np.median(each[plate], axis=(0, 1)) != pytest.approx(AMBER, abs=40) for each in plain), "not of itself"


@contextmanager
def streaming(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The live demo on a page, and the page's address."""
    command = [sys.executable, "demos/realtime_yolo_stream.py", "--port", "0", *words]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environ(), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", said)
        assert found, said + process.stderr.read()
        yield process, found.group()
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@contextmanager
def display() -> Iterator[str]:
    """A display that nobody sees."""
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        reason = "Xvfb is not installed (Debian: xvfb)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [xvfb, "-displayfd", str(writing), "-screen", "0", "800x600x24"], pass_fds=[writing], stderr=subprocess.DEVNULL
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as numbers:
            yield f":{numbers.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


def test_on_a_display_a_window_shows_it_and_without_one_it_is_an_error(clip: Path) -> None:
    words = ["demos/realtime_yolo_stream.py", "--show", "window", "--duration", "2"]
    with display() as number:
        done = run(*words, DISPLAY=number)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert "look at" not in done.stderr
    done = run(*words, DISPLAY=number)
    assert done.returncode == 1
    assert "no window can be opened" in done.stderr
    done = run(*words[:2], "auto", "--port", "0", *words[3:], DISPLAY=number)
    assert (done.returncode, "look at http://" in done.stderr) == (0, True), "a display that is gone is none"


def parts(stream: object, count: int) -> list[bytes]:
    """The first pictures of a multipart stream."""
    found = []
    while len(found) < count:
        head = {}
        while (line := stream.readline().strip()) or not head:  # type: ignore[attr-defined]
            name, _, value = line.partition(b":")
            head[name.lower()] = value.strip()
        found.append(stream.read(int(head[b"content-length"])))  # type: ignore[attr-defined]
        stream.readline()  # type: ignore[attr-defined]
    return found


def test_without_a_display_a_page_shows_the_stream_until_ctrl_c(clip: Path) -> None:
    with streaming() as (process, page):
        with urllib.request.urlopen(page, timeout=20) as answer:
            assert b"/stream.mjpg" in answer.read()
        with urllib.request.urlopen(f"{page}stream.mjpg", timeout=20) as answer:
            assert answer.headers.get_content_type() == "multipart/x-mixed-replace"
            pictures = [simplejpeg.decode_jpeg(jpeg) for jpeg in parts(answer, 3)]
        assert {picture.shape for picture in pictures} == {(360, 640, 3)}
        assert any(np.abs(a.astype(int) - b.astype(int)).max() > 30 for a, b in itertools.pairwise(pictures))
        with urllib.request.urlopen(f"{page}picture.jpg", timeout=20) as answer:
            newest = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
        assert newest.shape == (360, 640, 3)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_file_that_is_played_ends_the_stream(clip: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.mp4"
    with av.open(str(clip)) as source, av.open(str(short), "w") as target:
        video = source.streams.video[0]
        copy = target.add_stream_from_template(video)
        for packet in source.demux(video):
            if packet.pts is not None and float(packet.pts * video.time_base) < 1:
                packet.stream = copy
                target.mux(packet)
    with streaming("--source", str(short)) as (process, _):
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["demos/infer_alert.py", "--source", "rtsp://viewer:geheim@127.0.0.1:{port}/a", "--rois", "{rois}"],
            "refused",
        ),
        (["-m", "demos.infer_alert", "--source", "gate.mp4"], "--rois"),
        (["-m", "demos.infer_alert", "--source", "http://viewer:geheim@cam/a.mp4", "--rois", "{rois}"], "rtsp://"),
        (["demos/demo_video_infer.py", "--source", "none.mp4"], "no such file"),
        (["demos/realtime_yolo_stream.py", "--device", "cuda:99"], "cuda:99"),
        (["demos/realtime_yolo_stream.py", "--rois", "{rois}", "--camera", "other"], "yard_gate"),
    ],
)
def test_bad_input_is_one_clear_error_without_credentials(
    words: list[str], said: str, clip: Path, tmp_path: Path
) -> None:
    done = run(*(word.format(port=free_port(), rois=rois_file(tmp_path)) for word in words))
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "geheim" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "words", [["demos/infer_alert.py"], ["demos/demo_video_infer.py"], ["-m", "demos.realtime_yolo_stream"]]
)
def test_help_explains(words: list[str]) -> None:
    done = run(*words, "--help")
    assert done.returncode == 0
    assert "--source" in done.stdout
