"""Pictures are looked at before they are decoded."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from inference.pictures import MAX_SCANS, BadPicture, Limits, PictureHead, check, decode, read_head, shrink_factor

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Limits(max_bytes=2_000_000)


def scene(width: int = 64, height: int = 48) -> np.ndarray:
    """Red on the left, blue on the right, RGB."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[:, : width // 2] = (200, 10, 10)
    picture[:, width // 2 :] = (10, 10, 200)
    return picture


def encoded(suffix: str, width: int = 64, height: int = 48, *options: int) -> bytes:
    done, content = cv2.imencode(suffix, np.ascontiguousarray(scene(width, height)[:, :, ::-1]), list(options))
    assert done
    return content.tobytes()


def png(width: int, height: int, lines: int = 64) -> bytes:
    """A one-bit PNG of any size, small as a file; no more lines in it than wanted."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    body = zlib.compress(bytes((width // 8 + 1) * min(height, lines)), 9)
    size = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    """The same JPEG claiming another size."""
    place = next(jpeg.index(b"\xff" + bytes([kind])) for kind in (0xC0, 0xC2) if b"\xff" + bytes([kind]) in jpeg)
    return jpeg[: place + 5] + struct.pack(">HH", height, width) + jpeg[place + 9 :]


def whole_png(width: int, height: int) -> bytes:
    """A one-bit PNG with every line of it."""
    return png(width, height, lines=height)


PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
LOSSLESS_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 101)
LOSSY_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 80)


@pytest.mark.parametrize(
    ("content", "head"),
    [
        (encoded(".jpg"), PictureHead("jpeg", 64, 48)),
        (encoded(".jpg", 321, 77, *PROGRESSIVE), PictureHead("jpeg", 321, 77)),
        (encoded(".png", 33, 5), PictureHead("png", 33, 5)),
        (encoded(".webp", 70, 50, *LOSSY_WEBP), PictureHead("webp", 70, 50)),
        (encoded(".webp", 71, 51, *LOSSLESS_WEBP), PictureHead("webp", 71, 51)),
    ],
    ids=["jpeg", "progressive jpeg", "png", "lossy webp", "lossless webp"],
)
def test_the_header_tells_the_size_and_the_picture_is_red_on_the_left(content: bytes, head: PictureHead) -> None:
    assert read_head(content) == head
    picture = decode(content, LIMITS)
    assert picture.shape == (head.height, head.width, 3)
    assert picture.dtype == np.uint8
    assert picture[head.height // 2, 2].tolist() == pytest.approx([200, 10, 10], abs=12)
    assert picture[head.height // 2, -3].tolist() == pytest.approx([10, 10, 200], abs=12)


def test_an_extended_webp_tells_its_canvas() -> None:
    size = (2999).to_bytes(3, "little") + (1999).to_bytes(3, "little")
    content = b"RIFF\x00\x00\x00\x00WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size
    assert read_head(content) == PictureHead("webp", 3000, 2000)


def test_a_grey_jpeg_becomes_three_channels() -> None:
    grey = simplejpeg.encode_jpeg(np.full((8, 8, 1), 77, dtype=np.uint8), colorspace="GRAY", colorsubsampling="Gray")
    assert decode(grey, LIMITS)[4, 4].tolist() == [77, 77, 77]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"GIF89a", "unknown_format"),
        (b"\xff\xd8\xff", "bad_header"),
        (b"\xff\xd8\xff\xd9", "bad_header"),
        (b"\xff\xd8\xff\xe0\x00\x01", "bad_header"),
        (b"\x89PNG\r\n\x1a\n", "bad_header"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "bad_header"),
        (b"RIFF\x00\x00\x00\x00WEBPnone" + bytes(30), "bad_header"),
        (encoded(".jpg")[:300], "undecodable"),
        (encoded(".png")[:60], "undecodable"),
        (with_size(encoded(".jpg"), 0, 48), "bad_header"),
        (with_size(encoded(".jpg"), 20_000, 10), "too_many_pixels"),
        (with_size(encoded(".jpg"), 8_000, 6_000), "too_many_pixels"),
        (png(30_000, 30_000), "too_many_pixels"),
        (encoded(".jpg") + bytes(LIMITS.max_bytes), "too_many_bytes"),
        (encoded(".jpg", 64, 48, *PROGRESSIVE) + b"\xff\xda" * MAX_SCANS, "undecodable"),
    ],
)
def test_what_is_no_picture_for_us_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(BadPicture) as caught:
        decode(content, LIMITS)
    assert caught.value.reason == reason


def test_a_frame_is_a_jpeg_and_nothing_else() -> None:
    with pytest.raises(BadPicture, match="expected jpeg, found png"):
        check(encoded(".png"), LIMITS, ("jpeg",))


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF0000WEBPVP8 "]))
def test_no_bytes_bring_the_header_probe_down(tail: bytes, start: bytes) -> None:
    try:
        read_head(start + tail)
    except BadPicture:
        return


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_jpeg_is_a_picture_or_a_reason(place: int, value: int) -> None:
    content = bytearray(encoded(".jpg"))
    content[place % len(content)] = value
    try:
        assert decode(bytes(content), Limits(max_bytes=10_000, max_pixels=10_000)).ndim == 3
    except BadPicture:
        return


@pytest.mark.parametrize(
    ("size", "at_least", "factor"),
    [
        ((1280, 720), None, 1),
        ((1280, 720), (640, 640), 2),
        ((1280, 720), (640, 384), 2),
        ((1920, 1080), (640, 640), 2),
        ((2560, 1440), (640, 640), 4),
        ((1279, 720), (640, 640), 1),
        ((640, 360), (640, 640), 1),
        ((320, 180), (640, 640), 1),
        ((9000, 4000), (640, 640), 8),
    ],
)
def test_a_large_jpeg_is_decoded_no_larger_than_wanted(
    size: tuple[int, int], at_least: tuple[int, int] | None, factor: int
) -> None:
    assert shrink_factor(size, at_least) == factor
    content = simplejpeg.encode_jpeg(scene(*size))
    picture = decode(content, LIMITS, at_least=at_least)
    assert picture.shape == (-(-size[1] // factor), -(-size[0] // factor), 3)


WATCHED = """
import importlib, os, sys
class Watching:
    def find_spec(self, name, path=None, target=None):
        if name == "cv2":
            print(os.environ.get("OPENCV_IO_MAX_IMAGE_PIXELS"))
            sys.exit(0)
sys.meta_path.insert(0, Watching())
importlib.import_module(sys.argv[1])
"""


@pytest.mark.parametrize("module", ["api.main", "cli.evidence", "ingest.pictures", "demos.yard"])
def test_opencv_knows_its_limit_before_it_is_imported(module: str) -> None:
    name = "OPENCV_IO_MAX_IMAGE_PIXELS"
    environment = {key: value for key, value in os.environ.items() if key != name}
    answer = subprocess.run(
        [sys.executable, "-c", WATCHED, module], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "40000000"


def test_every_package_that_uses_opencv_sets_its_limit_first() -> None:
    found = 0
    for package in ("api", "cli", "demos", "evidence", "inference", "ingest", "replay", "router", "rules", "runtime"):
        for file in (ROOT / package).rglob("*.py"):
            if "import cv2" in file.read_text(encoding="utf-8"):
                begins = (ROOT / package / "__init__.py").read_text(encoding="utf-8")
                assert "import runtime.pixel_limit" in begins, file
                found += 1
    assert found >= 8


BOMBS = """
import resource, sys
from inference.pictures import BadPicture, Limits, decode
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        try:
            decode(file.read(), Limits(max_bytes=10 * 1024 * 1024))
        except BadPicture as bad:
            print(bad.reason)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bombs_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """A PNG of 109 KB that holds 900 million pixels, and a grey JPEG of some MB that holds 256 million: both whole."""
    (tmp_path / "a.png").write_bytes(whole_png(30_000, 30_000))
    assert (tmp_path / "a.png").stat().st_size < 150_000
    grey = simplejpeg.encode_jpeg(np.zeros((16_000, 16_000, 1), np.uint8), colorspace="GRAY", colorsubsampling="Gray")
    (tmp_path / "b.jpg").write_bytes(grey)
    assert len(grey) < 5_000_000, "a limit of bytes alone does not help"
    answer = subprocess.run(
        [sys.executable, "-c", BOMBS, str(tmp_path / "a.png"), str(tmp_path / "b.jpg")],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *reasons, megabytes = answer.stdout.split()
    assert reasons == ["too_many_pixels", "too_many_pixels"]
    assert int(megabytes) < 60
