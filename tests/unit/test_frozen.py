"""A frozen picture is found; a still scene with a camera's noise is not taken for one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.frozen import FrozenWatch, fingerprint

STILL = np.full((360, 640), 90, np.uint8)


def noisy(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1.5, STILL.shape)
    return np.clip(STILL + noise, 0, 255).astype(np.uint8)


def test_one_picture_over_and_over_is_frozen_after_the_time() -> None:
    watch = FrozenWatch(60_000)
    print_ = fingerprint(STILL)
    flags = [watch.look(200 * n, print_) for n in range(400)]
    assert flags.index(True) * 200 == 60_000
    assert all(flags[flags.index(True) :])


def test_a_still_scene_with_sensor_noise_is_never_frozen() -> None:
    watch = FrozenWatch(2_000)
    assert not any(watch.look(200 * n, fingerprint(noisy(n))) for n in range(100))


def test_a_frozen_picture_that_is_encoded_anew_changes_with_every_key_frame_and_is_frozen_all_the_same() -> None:
    watch = FrozenWatch(10_000)
    flags = [watch.look(200 * n, n // 5) for n in range(100)]
    assert flags[-1]


def test_a_camera_that_moves_again_is_released_within_three_pictures() -> None:
    watch = FrozenWatch(5_000)
    for n in range(50):
        watch.look(200 * n, 7)
    assert watch.frozen
    assert [watch.look(10_000 + 200 * n, 100 + n) for n in range(4)] == [True, True, False, False]


def test_zero_seconds_turn_it_off() -> None:
    watch = FrozenWatch(0)
    assert not any(watch.look(1000 * n, 1) for n in range(1000))


@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_nothing_is_frozen_before_the_time_has_passed(changes: list[bool]) -> None:
    watch, print_ = FrozenWatch(60_000), 0
    for n, change in enumerate(changes):
        print_ += change
        if 200 * n < 60_000:
            assert not watch.look(200 * n, print_)


def test_a_strided_plane_has_the_same_print_as_a_packed_one() -> None:
    wide = np.zeros((360, 704), np.uint8)
    wide[:, :640] = noisy(1)
    assert fingerprint(wide[:, :640]) == fingerprint(noisy(1))
