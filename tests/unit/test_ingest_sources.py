"""Files and folders as cameras, and what is said of those that are none."""

import itertools
import socket
import threading
import time
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from ingest.sources import Picture, SourceFault, decoding, open_source, rtsp
from runtime.configs import ResolvedCamera
from schemas.documents.cameras import Camera
from tests.support.clips import write_clip


def never(_seconds: float) -> bool:
    """Waits not at all."""
    return False


def source(url: Path | str, **more: object) -> ResolvedCamera:
    camera = Camera.model_validate({"id": "cam", "url": str(url), **more})
    return ResolvedCamera(camera, str(url))


def times(pictures: list[Picture]) -> list[float]:
    return [round(each.at_ms or 0.0, 3) for each in pictures]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", seconds=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        picture = np.full((48, 64, 3), number * 20, np.uint8)
        cv2.imwrite(str(tmp_path / f"img_{number}.{'png' if number == 2 else 'jpg'}"), picture)
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_a_file_gives_every_picture_with_its_own_time(clip: Path) -> None:
    fast = open_source(source(clip, realtime=False, start_at="2026-11-01T00:00:00Z"), never)
    assert times(list(fast.pictures())) == [100.0 * n for n in range(10)]


def test_times_run_on_over_a_loop(clip: Path) -> None:
    looped = open_source(source(clip, loop=True), never)
    assert times(list(itertools.islice(looped.pictures(), 25))) == [100.0 * n for n in range(25)]
    looped.close()


def test_real_time_is_real_time(clip: Path) -> None:
    began = time.monotonic()
    naps: list[float] = []

    def nap(seconds: float) -> bool:
        naps.append(seconds)
        time.sleep(seconds)
        return False

    assert len(list(open_source(source(clip), nap).pictures())) == 10
    assert 0.85 <= time.monotonic() - began < 5
    assert max(naps) <= 0.1


def test_a_file_that_is_told_to_stop_stops(clip: Path) -> None:
    assert len(list(open_source(source(clip), lambda _seconds: True).pictures())) == 1


def test_a_folder_is_read_by_number_one_image_per_interval(folder: Path) -> None:
    images = open_source(source(folder, fps_target=4), never)
    pictures = list(images.pictures())
    assert times(pictures) == [0, 250, 500]
    assert [int(each.frame.to_ndarray(format="gray").mean()) // 20 for each in pictures] == [1, 2, 10]


def test_an_image_that_is_none_is_passed_over(folder: Path) -> None:
    (folder / "img_3.jpg").write_bytes(b"\xff\xd8 no")
    assert len(list(open_source(source(folder), never).pictures())) == 3


@pytest.mark.parametrize(
    ("name", "content", "reason", "words"),
    [
        ("absent.mp4", None, "not_found", "there is no such file"),
        ("text.mp4", b"this is no video at all\n" * 50, "no_video", "is no video that can be read"),
        ("empty.mp4", b"", "no_video", "is no video that can be read"),
        ("absent_folder/", None, "not_found", "there is no such folder"),
    ],
)
def test_what_is_no_video_is_said_plainly(
    tmp_path: Path, name: str, content: bytes | None, reason: str, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceFault, match=words) as caught:
        open_source(source(f"{tmp_path}/{name}"), never)
    assert caught.value.reason == reason


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"\0\0" * 8000)
    with pytest.raises(SourceFault, match="holds no video stream"):
        open_source(source(tmp_path / "sound.wav"), never)


def test_an_unreachable_camera_is_named_without_its_password() -> None:
    with pytest.raises(SourceFault, match="connection refused") as caught:
        open_source(source("rtsp://admin:hunter2@127.0.0.1:1/stream"), never)
    assert caught.value.reason == "unreachable"
    assert "hunter2" not in str(caught.value)
    assert "admin" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [(b"HTTP/1.0 400 what?\r\n\r\n", "no_video", "not with video"), (None, "timed_out", "no answer within 1 s")],
)
def test_something_else_on_the_cameras_port_is_said(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None, reason: str, words: str
) -> None:
    monkeypatch.setattr(rtsp, "OPEN_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                if answer is not None:
                    connection.sendall(answer)
                connection.recv(4096)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(SourceFault, match=words) as caught:
            open_source(source(f"rtsp://u:hunter2@127.0.0.1:{server.getsockname()[1]}/x"), never)
        thread.join(5)
    assert caught.value.reason == reason
    assert "hunter2" not in str(caught.value)


def test_a_name_that_nobody_knows_is_said() -> None:
    with pytest.raises(SourceFault, match="cannot be reached") as caught:
        open_source(source("rtsp://u:hunter2@no-such-host.invalid/stream"), never)
    assert "hunter2" not in str(caught.value)


def test_a_truncated_file_gives_what_it_has(clip: Path, tmp_path: Path) -> None:
    # Fragmented, as recorders write it, so that the index is not lost with the end.
    whole = tmp_path / "whole.ts"
    with av.open(str(clip)) as read, av.open(str(whole), "w", format="mpegts") as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                written.mux(packet)
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    count = len(list(open_source(source(cut), never).pictures()))
    assert 1 <= count < 10


def test_a_camera_is_spoken_to_by_no_other_protocol_than_those_of_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg speaks every protocol by itself: a URL that got past the check would still reach nobody."""
    with socket.socket() as web:
        web.bind(("127.0.0.1", 0))
        web.listen()
        web.setblocking(False)
        address = f"http://127.0.0.1:{web.getsockname()[1]}/a.mjpeg"
        for url in (address, f"concat:{address}", "file:/etc/hostname", "subfile:,,:/etc/hostname"):
            with pytest.raises(SourceFault):
                decoding.open_video(url, options={"protocol_whitelist": decoding.PROTOCOLS}, timeout=(2, 2))
        with pytest.raises(BlockingIOError):
            web.accept()
    told: list[dict[str, str]] = []

    def opened(_url: str, *, options: dict[str, str], **_more: object) -> None:
        told.append(options)
        raise OSError("enough")

    monkeypatch.setattr(av, "open", opened)
    with pytest.raises(SourceFault):
        rtsp.RtspSource("rtsp://192.0.2.1/1", 5)
    assert told[0]["protocol_whitelist"] == "rtsp,rtp,udp,tcp,tls,crypto"
