"""What a number of cameras needs."""

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli.plan import plan
from runtime.capacity import ALERT_BYTES, EVENT_BYTES, Load, Store, disk
from schemas.topics import DETECTIONS, FRAMES


def stores(load: Load) -> dict[str, Store]:
    return {store.name: store for store in disk(load)}


def test_one_camera_is_reckoned_by_hand() -> None:
    found = stores(Load(cameras=1, fps=2, width=1280, alerts_per_day=10, in_sight=1))
    assert found["detections"].records == 2 * 30 * 86_400
    assert found["detections"].size == 2 * 30 * 86_400 * EVENT_BYTES
    assert found["alerts"].size == 2 * 10 * 90 * ALERT_BYTES
    assert found["picture memory"].records == 30 * 86_400 // 2
    assert found["picture memory"].size == 30 * 86_400 // 2 * round(640 * 360 * 0.10)
    assert found["evidence"].records == 10 * 90
    assert found["evidence"].size == 10 * 90 * round(2.75 * round(1280 * 720 * 0.15))
    assert found["frames"].records == 2 * (3600 + 600), "an hour, and the segment that is not closed yet"
    assert found["frames"].kept_ms == FRAMES.retention_ms


def test_frames_end_at_the_topic_s_bound_and_say_so() -> None:
    few, many = stores(Load(24, 5, 1280))["frames"], stores(Load(240, 5, 1280))["frames"]
    assert few.size <= many.size + 1_000_000
    assert many.size <= 12 * (2 * 1024**3 + 64 * 1024**2)
    assert many.kept_ms == pytest.approx(few.kept_ms / 10, rel=0.01)
    assert "bound" in many.how


@given(
    cameras=st.integers(1, 500),
    fps=st.floats(0.1, 60),
    width=st.integers(64, 7680),
    in_sight=st.floats(0, 1),
    replication=st.integers(1, 3),
)
def test_more_of_anything_never_takes_less(
    cameras: int, fps: float, width: int, in_sight: float, replication: int
) -> None:
    def sizes(**more: float) -> list[int]:
        told = {"cameras": cameras, "fps": fps, "width": width, "in_sight": in_sight, "replication": replication}
        return [store.size for store in disk(Load(**{**told, **more}))]  # type: ignore[arg-type]

    least = sizes()
    # The bound is cut to whole frames: less than one frame a partition.
    slack = 7680 * 7680 * replication
    for more in ({"cameras": cameras + 1}, {"fps": fps * 2}, {"in_sight": 1.0}, {"replication": replication + 1}):
        assert all(after >= before - slack for before, after in zip(least, sizes(**more), strict=True))
    assert min(least) >= 0


def test_pictures_switched_off_take_nothing_and_narrow_frames_are_kept_as_they_are() -> None:
    assert stores(Load(8, 5, 1280, picture_every_seconds=0))["picture memory"].size == 0
    narrow = stores(Load(8, 5, 480, in_sight=1))
    assert narrow["picture memory"].size / narrow["picture memory"].records == pytest.approx(480 * 270 * 0.15)


def test_pictures_are_kept_as_long_as_detections() -> None:
    found = stores(Load(1, 1, 1280))
    assert found["picture memory"].kept_ms == found["detections"].kept_ms == DETECTIONS.retention_ms


def test_the_plan_is_shown_with_its_assumptions(tmp_path) -> None:
    (tmp_path / "services.yaml").write_text("picture_memory: {every_seconds: 0.5}\n")
    shown = CliRunner().invoke(plan, ["--cameras", "8", "--configs", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    for expected in ("frames", "detections", "alerts", "picture memory", "one every 0.5 s", "Assumed", "all"):
        assert expected in shown.output


@pytest.mark.parametrize("wrong", [["--cameras", "0"], [], ["--cameras", "1", "--in-sight", "nan"]])
def test_a_wrong_plan_is_refused(wrong: list[str]) -> None:
    assert CliRunner().invoke(plan, wrong).exit_code == 2
