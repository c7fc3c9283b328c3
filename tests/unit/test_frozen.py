"""A frozen picture is found; a still scene with a camera's noise is not taken for one."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.frozen import FrozenWatch, thinned
from ingest.pictures import PictureEncoder

Luma = npt.NDArray[np.uint8]
GROUND: Luma = np.asarray(
    cv2.resize(np.random.default_rng(1).integers(30, 220, (12, 20), dtype=np.uint8), (640, 360)), np.uint8
)

NOISES = [np.random.default_rng(seed).normal(0, 1, GROUND.shape) for seed in range(8)]


def noisy(seed: int, sigma: float = 1.5) -> Luma:
    noise = np.roll(NOISES[seed % 8], (13 * seed, 29 * seed), (0, 1)) * sigma
    return np.clip(GROUND + noise, 0, 255).astype(np.uint8)


def watched(pictures: list[Luma], after_ms: int = 10_000, every_ms: int = 200) -> list[bool]:
    watch = FrozenWatch(after_ms)
    return [watch.look(every_ms * number, thinned(picture)) for number, picture in enumerate(pictures)]


def test_one_picture_over_and_over_is_frozen_after_the_time() -> None:
    flags = watched([GROUND] * 100)
    assert flags.index(True) * 200 == 10_000
    assert all(flags[flags.index(True) :])


def test_a_live_camera_that_freezes_is_found_within_five_seconds_more() -> None:
    flags = watched([noisy(n) for n in range(30)] + [noisy(30)] * 120)
    assert 10_000 <= flags.index(True) * 200 - 6_000 <= 15_000


def test_a_still_scene_with_sensor_noise_is_never_frozen() -> None:
    assert not any(watched([noisy(n) for n in range(150)]))


def test_a_clock_that_runs_in_a_frozen_picture_hides_nothing() -> None:
    pictures = []
    for number in range(100):
        picture = GROUND.copy()
        cv2.putText(picture, f"{number:02d}", (600, 350), cv2.FONT_HERSHEY_PLAIN, 0.8, 255)
        pictures.append(picture)
    assert watched(pictures)[-1]


def test_something_small_that_moves_is_life_even_without_noise() -> None:
    pictures = []
    for number in range(150):
        picture = GROUND.copy()
        picture[200:220, 4 * number : 4 * number + 16] = 255
        pictures.append(picture)
    assert not any(watched(pictures))


def test_a_camera_that_moves_again_is_released_within_six_seconds() -> None:
    flags = watched([GROUND] * 60 + [noisy(n) for n in range(60)])
    assert flags[59]
    assert not any(flags[60 + 30 :])


def test_another_picture_size_is_another_picture() -> None:
    watch = FrozenWatch(10_000)
    for number in range(60):
        watch.look(200 * number, thinned(GROUND))
    for number in range(60, 90):
        watch.look(200 * number, thinned(np.ascontiguousarray(GROUND[:180, :320])))
    assert not watch.frozen


def test_zero_seconds_turn_it_off() -> None:
    assert not any(watched([GROUND] * 100, after_ms=0, every_ms=10_000))


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_nothing_is_frozen_before_the_time_has_passed(changes: list[bool]) -> None:
    assert not any(watched([noisy(n) if change else GROUND for n, change in enumerate(changes)], after_ms=10_000))


@pytest.mark.parametrize("crf", ["23", "32", "40"])
@pytest.mark.parametrize(("sigma", "is_frozen"), [(0.0, True), (0.7, False), (2.0, False)])
def test_an_encoder_makes_no_difference(tmp_path: Path, crf: str, sigma: float, is_frozen: bool) -> None:
    # Hard compression takes noise away between key frames; an encoder that is fed one picture refines it for ever.
    path = str(tmp_path / "clip.mp4")
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        stream.options = {"preset": "ultrafast", "g": "10", "bf": "0", "crf": crf}
        for number in range(150):
            frame = av.VideoFrame.from_ndarray(noisy(number, sigma), format="gray")
            frame.pts, frame.time_base = number, Fraction(1, 5)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    encoder = PictureEncoder(1280, 85)
    with av.open(path) as container:
        pictures = [encoder.encode(frame).luma.copy() for frame in container.decode(video=0)]
    assert any(watched(pictures, after_ms=15_000)) is is_frozen
