"""What a number of cameras needs beside disk, how even they lie, and the page that says so."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli import scaling_page
from cli.plan import plan
from cli.scaling_page import PAGE, main_streams, page, sub_streams
from runtime.capacity import EVENT_BYTES, Load, frame_bytes
from runtime.pinning import balance, even_ids, groups, renamings
from runtime.sizing import BUSY, DETECTORS, Change, Site, cameras_per_detector, changes, needs
from schemas.partitioning import partition_of
from schemas.topics import PARTITIONS


def amounts(site: Site) -> dict[str, float]:
    return {need.name: need.amount for need in needs(site)}


def points(site: Site) -> dict[str, Change]:
    return {change.name: change for change in changes(site)}


def test_a_hundred_cameras_are_reckoned_by_hand() -> None:
    site = main_streams(100)
    found = amounts(site)
    assert found["GPUs"] == 3, "500 frames/s at 294 × 70 %"
    assert cameras_per_detector(site) == 41
    decoding, making = 0.4 + 1.8 * 1920 * 1080 / 1e6, 0.1 + 3.1 * 1280 * 720 / 1e6
    assert found["cores for ingest"] == pytest.approx(100 * (25 * decoding + 5 * making) / 1000 / BUSY, abs=1)
    into = 500 * (frame_bytes(site.load) + EVENT_BYTES) * 8 / 1e6
    assert found["into Kafka"] == found["out of Kafka"] == pytest.approx(into)
    assert found["between brokers"] == pytest.approx(2 * into)
    assert found["brokers"] == 3


def test_the_measured_points_are_met() -> None:
    """Of ingest, in CPU for each frame sent: 1080p to 1280 took 19.6 ms, a sub-stream 2.1."""
    for site, measured_ms in ((main_streams(1000), 19.6 * 5), (sub_streams(1000), 2.1 * 5)):
        cores = amounts(site)["cores for ingest"] * BUSY
        assert 1000 * measured_ms / 1000 == pytest.approx(cores, rel=0.25)


@given(cameras=st.integers(1, 5000), fps=st.floats(0.5, 30), width=st.integers(320, 3840))
def test_more_cameras_never_need_less(cameras: int, fps: float, width: int) -> None:
    site = Site(Load(cameras, fps, width, replication=3), DETECTORS["a100"])
    before, after = amounts(site), amounts(site.with_cameras(cameras * 2))
    assert all(after[name] >= value for name, value in before.items())
    assert min(before.values()) >= 0


def test_the_design_changes_exactly_where_it_is_said_to() -> None:
    found = points(main_streams(1))
    assert set(found) == {"sub-streams", "frames kept for less", "tiered storage", "claim check", "several clusters"}
    clusters = found["several clusters"].cameras
    assert clusters is not None
    assert amounts(main_streams(clusters))["GPUs"] == PARTITIONS + 1
    assert amounts(main_streams(clusters - 1))["GPUs"] == PARTITIONS
    order = [change.cameras for change in changes(main_streams(1)) if change.cameras is not None]
    assert order == sorted(order)
    assert (points(sub_streams(1))["sub-streams"].cameras or 0) > (found["sub-streams"].cameras or 0)


def test_the_page_is_what_the_command_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run `python -m cli.scaling_page`"
    assert text.count("<!-- table:") == len(scaling_page.tables())


def test_the_check_of_the_page_fails_when_a_figure_was_changed_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "scaling.md"
    text = PAGE.read_text(encoding="utf-8")
    changed.write_text(text.replace("| GPUs | 1 |", "| GPUs | 2 |"), encoding="utf-8")
    monkeypatch.setattr(scaling_page, "PAGE", changed)
    assert scaling_page.main(["--check"]) == 1
    assert scaling_page.main([]) == 0
    assert changed.read_text(encoding="utf-8") == text
    assert scaling_page.main(["--check"]) == 0


LOADS = st.dictionaries(
    st.from_regex(r"[a-z]{1,8}_[0-9]{1,3}", fullmatch=True), st.floats(0.5, 30), min_size=1, max_size=40
)


@given(loads=LOADS, gpus=st.integers(1, 20))
def test_balance_tells_best_and_worst_and_loses_no_camera(loads: dict[str, float], gpus: int) -> None:
    found = balance(loads, gpus)
    assert sum(found.partitions) == pytest.approx(sum(loads.values()))
    assert found.worst >= found.best - 1e-9
    some, of_each = groups(found.partitions, gpus)
    assert sorted(partition for group in some for partition in group) == list(range(PARTITIONS))
    assert sum(of_each) == pytest.approx(sum(loads.values()))
    assert len(some) == min(gpus, PARTITIONS)


@given(loads=LOADS, gpus=st.sampled_from([2, 3, 4, 5, 6, 12]))
def test_other_ids_never_make_it_worse_and_lie_where_they_say(loads: dict[str, float], gpus: int) -> None:
    changed = renamings(loads, gpus)
    names = {each.camera_id: each.suggested_id for each in changed}
    after = {names.get(each, each): load for each, load in loads.items()}
    assert len(after) == len(loads), "no id is given twice"
    for each in changed:
        assert partition_of(each.camera_id, PARTITIONS) == each.partition
        assert partition_of(each.suggested_id, PARTITIONS) == each.to
    assert balance(after, gpus).worst <= balance(loads, gpus).worst + 1e-9


def test_many_cameras_on_one_partition_are_spread() -> None:
    crowd = [name for name in (f"gate_{number}" for number in range(600)) if partition_of(name, PARTITIONS) == 4]
    loads = dict.fromkeys(crowd[:24], 5.0)
    assert balance(loads, 3).worst == 3.0
    names = {each.camera_id: each.suggested_id for each in renamings(loads, 3)}
    assert balance({names.get(each, each): load for each, load in loads.items()}, 3).worst <= 1.05


@given(cameras=st.integers(1, 300))
def test_new_ids_fall_as_evenly_as_their_number_lets_them(cameras: int) -> None:
    ids = even_ids(cameras)
    assert len(set(ids)) == cameras
    counts = [[partition_of(each, PARTITIONS) for each in ids].count(partition) for partition in range(PARTITIONS)]
    assert max(counts) - min(counts) <= 1


def test_cameras_without_a_file_get_ids_that_need_no_others() -> None:
    shown = CliRunner().invoke(plan, ["--cameras", "240", "--gpus", "3"])
    assert shown.exit_code == 0, shown.output
    assert "1.00 times its share, at worst 1.00 times" in " ".join(shown.output.split())
    assert "10 more: --json" in shown.output
    assert "id to give it" not in shown.output
    answer = json.loads(CliRunner().invoke(plan, ["--cameras", "240", "--gpus", "3", "--json"]).output)
    assert len(answer["pinning"]["cameras"]) == 240
    assert answer["pinning"]["renamings"] == []


def test_the_command_proposes_for_a_file_and_answers_programs(tmp_path: Path) -> None:
    lines = "".join(f"  - {{id: gate_{number}, url: a.mp4}}\n" for number in range(1, 25))
    file = tmp_path / "cameras.yaml"
    file.write_text(f"cameras:\n{lines}  - {{id: away, url: a.mp4, enabled: false}}\n")
    arguments = ["--cameras-file", str(file), "--gpus", "3", "--configs", str(tmp_path)]
    shown = CliRunner().invoke(plan, arguments)
    assert shown.exit_code == 0, shown.output
    for expected in ("id to give it", "another id is another camera", "several clusters", "published, not measured"):
        assert expected in " ".join(shown.output.split())
    answer = json.loads(CliRunner().invoke(plan, [*arguments, "--json"]).output)
    assert answer["site"]["load"]["cameras"] == 24
    assert sum(answer["pinning"]["partitions"]) == 24 * 5
    assert len(answer["pinning"]["groups"]) == 3
    assert {need["name"] for need in answer["needs"]} >= {"GPUs", "brokers", "partitions"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([], "Give --cameras"),
        (["--cameras", "4", "--gpus", "0"], "--gpus"),
        (["--cameras", "4", "--detector-rate", "0"], "--detector-rate"),
        (["--cameras", "4", "--detector", "h9000"], "h9000"),
    ],
)
def test_what_cannot_be_reckoned_is_refused_with_the_place(wrong: list[str], said: str) -> None:
    refused = CliRunner().invoke(plan, wrong)
    assert refused.exit_code == 2
    assert said in refused.output


def test_a_file_that_does_not_check_is_refused_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "cameras.yaml").write_text("cameras: [{id: gate, url: a.mp4, fps_target: fast}]\n")
    refused = CliRunner().invoke(plan, ["--cameras-file", str(tmp_path / "cameras.yaml"), "--gpus", "2"])
    assert refused.exit_code == 2
    assert "cameras[0].fps_target" in refused.output
