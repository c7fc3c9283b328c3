"""A JPEG shows what the camera showed: range, size, shape, turn."""

from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from ingest.pictures import PictureEncoder, PictureTooLarge, fitted
from schemas.frames import MAX_FRAME_BYTES
from tests.support.clips import write_clip

Image = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> av.VideoFrame:
    clip = write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", size=(1920, 1080), seconds=0.5)
    with av.open(str(clip)) as container:
        return list(container.decode(video=0))[-1]


def shown(jpeg: bytes) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def psnr(one: Image, other: Image) -> float:
    """Peak signal-to-noise ratio in dB."""
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("width", [1920, 1280, 640, 500])
def test_the_picture_is_that_of_the_way_over_rgb(frame: av.VideoFrame, width: int) -> None:
    encoded = PictureEncoder(width, 90).encode(frame)
    size = (encoded.width, encoded.height)
    reference = cv2.resize(frame.to_ndarray(format="bgr24"), size, interpolation=cv2.INTER_AREA)
    assert psnr(shown(encoded.jpeg), np.asarray(reference, np.uint8)) >= 33
    assert (encoded.source_width, encoded.source_height) == (1920, 1080)


def test_limited_range_planes_as_they_are_would_be_6_db_worse(frame: av.VideoFrame) -> None:
    reference = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    planes = [np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : p.width] for p in frame.planes]
    raw = simplejpeg.encode_jpeg_yuv_planes(*(np.ascontiguousarray(p) for p in planes), quality=90)
    ours = PictureEncoder(1920, 90).encode(frame).jpeg
    assert psnr(shown(ours), reference) >= psnr(shown(raw), reference) + 6


def test_black_and_blacker_than_black_are_black() -> None:
    frame = av.VideoFrame(64, 64, "yuv420p")
    for plane, value in zip(frame.planes, (3, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    assert shown(PictureEncoder(64, 90).encode(frame).jpeg).max() <= 1


@pytest.mark.parametrize(
    "pixels", ["yuvj420p", "yuv422p", "yuvj422p", "yuyv422", "nv12", "gray", "rgb24", "yuv444p", "yuv420p10le"]
)
def test_every_pixel_format_of_a_camera_is_understood(frame: av.VideoFrame, pixels: str) -> None:
    # 641 x 361: odd sizes have half a chroma sample too many
    odd = frame.reformat(641, 361, pixels, dst_color_range="JPEG" if pixels.startswith("yuvj") else "MPEG")
    encoded = PictureEncoder(1280, 90).encode(odd)
    assert encoded[1:5] == (640, 360, 641, 361)
    reference = cv2.resize(odd.to_ndarray(format="bgr24"), (640, 360), interpolation=cv2.INTER_AREA)
    assert psnr(shown(encoded.jpeg), np.asarray(reference, np.uint8)) >= 33


def test_a_phones_upright_video_comes_upright(tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    picture = np.zeros((96, 160, 3), np.uint8)
    picture[:48, :80] = (0, 0, 255)  # red, upper left
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.set_display_rotation(-90)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        encoded = PictureEncoder(1280, 90).encode(frame)
    assert encoded[1:5] == (96, 160, 96, 160)
    assert shown(encoded.jpeg)[20, 76].tolist()[2] > 200, "turned clockwise: red is upper right"


def test_a_picture_too_large_for_a_record_loses_quality_first() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (1600, 2400, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format="rgb24")
    assert 1_000_000 < len(PictureEncoder(2400, 100).encode(frame).jpeg) <= MAX_FRAME_BYTES


def test_a_picture_that_no_quality_makes_fit_is_refused() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (4320, 7680), dtype=np.uint8)
    with pytest.raises(PictureTooLarge, match="bytes at quality 30"):
        PictureEncoder(7680, 100).encode(av.VideoFrame.from_ndarray(noise, format="gray"))


@given(st.integers(2, 8000), st.integers(2, 8000), st.integers(64, 7680))
def test_sizes_are_even_not_wider_than_asked_and_keep_their_shape(width: int, height: int, widest: int) -> None:
    small = fitted(width, height, widest)
    assert all(side % 2 == 0 and side >= 2 for side in small)
    assert small[0] <= max(2, min(width, widest))
    assert abs(small[1] - height * small[0] / width) <= max(2, height / width * 2)
