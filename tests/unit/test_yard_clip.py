"""The clock in the picture survives what cameras and networks do to pictures; clips carry their truth."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.frame import PictureType
from hypothesis import given
from hypothesis import strategies as st

from demos.yard import Yard, timecode
from demos.yard.clip import read_truth, truth_path, write_clip


@given(t_ms=st.integers(0, 2**32 - 1), grey=st.integers(0, 255))
def test_the_clock_reads_what_was_drawn(t_ms: int, grey: int) -> None:
    picture = np.full((360, 640, 3), grey, np.uint8)
    timecode.draw(picture, t_ms)
    assert timecode.read(picture) == t_ms


@pytest.mark.parametrize("t_ms", [-1, 2**32])
def test_a_time_that_does_not_fit_is_refused(t_ms: int) -> None:
    with pytest.raises(ValueError, match="the time must lie between"):
        timecode.draw(np.zeros((360, 640, 3), np.uint8), t_ms)


def test_a_picture_without_a_clock_has_no_time() -> None:
    rng = np.random.default_rng(5)
    assert timecode.read(np.zeros((360, 640, 3), np.uint8)) is None
    assert timecode.read(rng.integers(0, 255, (360, 640, 3), dtype=np.uint8)) is None
    picture = np.full((360, 640, 3), 90, np.uint8)
    timecode.draw(picture, 123_456)
    picture[:9, 100:110] = 255 - picture[:9, 100:110]  # one bit turned over
    assert timecode.read(picture) is None


@pytest.mark.parametrize("width", [480, 854, 1280])
def test_the_clock_survives_jpeg_and_scaling(width: int) -> None:
    yard = Yard(7, "yard_gate")
    for t_ms in range(0, 60_000, 7_001):
        picture = cv2.resize(yard.at(t_ms)[0], (width, round(width * 9 / 16)))
        _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
        assert timecode.read(cv2.imdecode(encoded, cv2.IMREAD_COLOR)) == t_ms


def test_a_clip_is_what_a_camera_sends_and_every_frame_tells_its_time(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    yard = Yard(7, "yard_gate")
    beside = write_clip(clip, yard, seconds=3, fps=10, start_ms=8_000, bit_rate=1_000_000)
    assert beside == truth_path(clip) == tmp_path / "truth.jsonl"
    lines = list(read_truth(beside))
    assert [line.t_ms for line in lines] == list(range(8_000, 11_000, 100))
    with av.open(str(clip)) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name == "h264"
        frames = list(file.decode(stream))
    assert len(frames) == 30
    for number, (frame, line) in enumerate(zip(frames, lines, strict=True)):
        assert frame.time == pytest.approx(number / 10)
        assert frame.key_frame == (number % 10 == 0)
        assert frame.pict_type in {PictureType.I, PictureType.P}
        picture = frame.to_ndarray(format="bgr24")
        for width in (480, 640, 1280):
            scaled = cv2.resize(picture, (width, width * 9 // 16))
            _, encoded = cv2.imencode(".jpg", scaled, [cv2.IMWRITE_JPEG_QUALITY, 80])
            assert timecode.read(cv2.imdecode(encoded, cv2.IMREAD_COLOR)) == line.t_ms
        assert list(line.truths) == yard.at(line.t_ms)[1]
    assert clip.stat().st_size * 8 / 3 < 2_000_000
