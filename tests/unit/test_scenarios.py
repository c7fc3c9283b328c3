"""Scenarios: every shipped one comes out as it says, a wrong expectation is told, and a mistake has its place."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli.rules import rules
from rules.scenario import Played, play, side_by_side
from schemas.documents.scenario_lines import BadLine, instants, seen, standing_at, time_in_words, time_of
from schemas.documents.scenarios import Scenario
from schemas.problems import BadDocument

FOLDER = Path(__file__).parents[2] / "configs" / "scenarios"
SHIPPED = sorted(FOLDER.glob("*.yaml"))

CONFIRM = """
what: A third hit opens.
rois:
  forbidden_rois:
    - {name: zone, units: fractions, points: [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]}
  alert_classes: [object]
events:
  - 1s, 1.2s, 1.4s: object at 0.5 0.5
  - 1.6s to 20s every 200ms: nothing
expect:
  - 1.4s: opened object in zone
  - 6.4s: resolved object in zone, quiet
"""


def scenario(**changes: object) -> Scenario:
    return Scenario.read(yaml.safe_load(CONFIRM) | changes, "it.yaml")


def told(played: Played) -> list[str]:
    return side_by_side(played.rows)


def problems(**changes: object) -> list[str]:
    with pytest.raises(BadDocument) as bad:
        scenario(**changes)
    return [str(problem) for problem in bad.value.problems]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_scenario_comes_out_as_it_says(file: Path) -> None:
    played = play(Scenario.read(yaml.safe_load(file.read_text(encoding="utf-8")), file.name))
    assert played.as_expected, "\n".join(told(played))


def test_a_dozen_and_more_are_shipped_and_the_page_lists_each() -> None:
    page = (FOLDER.parents[1] / "docs" / "scenarios.md").read_text(encoding="utf-8")
    assert len(SHIPPED) >= 12
    for file in SHIPPED:
        assert f"(../configs/scenarios/{file.name}) | {yaml.safe_load(file.read_text())['what']} |" in page


def test_a_wrong_instant_is_told_beside_the_right_one() -> None:
    played = play(scenario(expect=[{"1.2s": "opened object in zone"}, {"6.4s": "resolved object in zone, blind"}]))
    assert not played.as_expected
    assert told(played) == [
        "  expected                              happened",
        "≠ 1.2s: opened object in zone           1.4s: opened object in zone",
        "≠ 6.4s: resolved object in zone, blind  6.4s: resolved object in zone, quiet",
    ]


def test_an_alert_that_nobody_expected_is_told_with_its_hits() -> None:
    played = play(scenario(expect="nothing"))
    assert told(played) == [
        "  expected  happened",
        "≠           1.4s: opened object in zone, hits 3, suppressed 0, first hit 1s",
        "≠           6.4s: resolved object in zone, quiet, hits 3, suppressed 0, first hit 1s",
    ]


def test_an_alert_that_did_not_come_is_told() -> None:
    wanted = [*yaml.safe_load(CONFIRM)["expect"], {"1m": "opened object in zone"}]
    played = play(scenario(expect=wanted))
    assert [row.agrees for row in played.rows] == [True, True, False]
    assert told(played)[-1] == "≠ 1m: opened object in zone"


@pytest.mark.parametrize(
    "facts",
    ["hits 4", "suppressed 1", "first hit 1.2s", "last hit 1s", "severity info", "confidence 0.8",
     "opened by revision 2"],
)  # fmt: skip
def test_every_fact_that_is_asked_is_compared(facts: str) -> None:
    line = f"opened object in zone, {facts}"
    (first, *_) = play(scenario(expect=[{"1.4s": line}])).rows
    assert not first.agrees
    assert first.expected == f"1.4s: {line}"
    assert first.happened.startswith("1.4s: opened object in zone, " + facts.rsplit(" ", 1)[0])


def test_what_is_counted_is_compared_only_where_it_is_written() -> None:
    played = play(scenario(counted={"late": 2}))
    assert [row.agrees for row in played.rows] == [True, True, False]
    assert told(played)[-1].split() == ["≠", "late:", "2", "late:", "0"]
    assert play(scenario(counted={"late": 0, "unlisted": 0})).as_expected


def test_names_with_blanks_and_commas_are_understood() -> None:
    roi = {"name": "bay 3, in north", "units": "fractions", "points": [[0, 0], [1, 0], [1, 1]]}
    played = play(
        scenario(
            rois={"forbidden_rois": [roi], "alert_classes": ["fork lift in use"]},
            events=[{"1s, 1.2s, 1.4s": "fork lift in use at 0.8 0.2 confidence .5"}],
            expect=[{"1.4s": "opened fork lift in use in bay 3, in north, hits 3, confidence 0.50"}],
        )
    )
    assert played.as_expected, told(played)


def test_documents_take_the_camera_id_that_one_of_them_names() -> None:
    written = yaml.safe_load(CONFIRM)["rois"]
    later = {"from": "1.3s", "rois": {**written, "camera_id": "gate"}}
    assert play(scenario(revisions=[later])).alerts[0].camera_id == "gate"
    assert problems(rois={**written, "camera_id": "yard"}, revisions=[later]) == [
        "it.yaml: revisions: the documents are not all of one camera_id"
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"events": []}, "it.yaml: events: nothing is seen"),
        ({"events": ["1s object at 0.5 0.5"]}, "it.yaml: events[0]: expected one line like"),
        ({"events": [{"1s": "object at 1.5 0.5"}]}, "it.yaml: events[0]: 'object at 1.5 0.5': places are fractions"),
        ({"events": [{"1s": "object box 0.5 0 0.4 1"}]}, "a box is left, top, right, bottom"),
        ({"events": [{"1s": "object"}]}, "'object' is nothing that can be seen"),
        ({"events": [{"1s": []}]}, "[] is nothing that can be seen"),
        ({"events": [{"1s": ["nothing"]}]}, "'nothing' is nothing that can be seen"),
        ({"events": [{60: "nothing"}]}, "it.yaml: events[0]: 60 is no time"),
        ({"events": [{"1.4": "nothing"}]}, "'1.4' is no time"),
        ({"events": [{"1s to 2s": "nothing"}]}, "say how often"),
        ({"events": [{"2s to 1s every 1s": "nothing"}]}, "goes nowhere"),
        ({"events": [{"1s to 2s every 0s": "nothing"}]}, "goes nowhere"),
        ({"events": [{"0s to 30d every 1ms": "nothing"}]}, "is more than 200000 events"),
        ({"events": [{"0s to 40h every 1s, 0s to 40h every 1s": "nothing"}]}, "it.yaml: events: more than 200000 ev"),
        ({"events": [{"1000d": "nothing"}]}, "longer than a year"),
        ({"expect": [{"1s": "opens object in zone"}]}, "it.yaml: expect[0]: 'opens object in zone' is no alert"),
        ({"expect": [{"1s": "opened object in zone, quiet"}]}, "'quiet' has no place here"),
        ({"expect": [{"1s": "opened object in zone, hits 1, hits 2"}]}, "'hits 1' has no place here"),
        ({"expect": [{"1s": "opened object in zone, hits two"}]}, "there is no 'object in zone, hits two'; the docum"),
        ({"expect": [{"1s": "opened pine in zone"}]}, "the documents have: object in zone"),
        ({"what": " "}, "it.yaml: what:"),
        ({"colour": "red"}, "it.yaml: colour: there is no such key here"),
        ({"rois": None}, "it.yaml: no ROI document"),
        ({"start": "2026-01-05T12:00:00"}, "it.yaml: start: expected a zone, too"),
        ({"start": "1969-01-05T12:00:00Z"}, "it.yaml: start:"),
        ({"revisions": [{"from": 3, "rois": {}}]}, "it.yaml: revisions[0].from: 3 is no time"),
        ({"revisions": [{"from": "3s", "rois": {}}, {"from": "3s", "rois": {}}]}, "must begin later than the one"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(changes: dict, expected: str) -> None:
    assert [problem for problem in problems(**changes) if expected in problem], problems(**changes)


def test_a_polygon_that_crosses_itself_is_named_with_its_place() -> None:
    rois = {"forbidden_rois": [{"name": "zone", "units": "fractions", "points": [[0, 0], [1, 1], [1, 0], [0, 1]]}]}
    found = problems(rois=yaml.safe_load(CONFIRM)["rois"], revisions=[{"from": "1s", "rois": rois}])
    assert found[0].startswith("it.yaml: revisions[0].rois.forbidden_rois[0].points: the polygon crosses")


def test_active_times_need_a_start() -> None:
    written = yaml.safe_load(CONFIRM)["rois"]
    written["forbidden_rois"][0]["active"] = {"timezone": "UTC"}
    assert problems(rois=written) == ["it.yaml: rois: a ROI has active times: say when 0s is, in start"]
    assert play(scenario(rois=written, start="2026-01-05T12:00:00Z")).as_expected


def test_every_mistake_is_told_at_once() -> None:
    found = problems(what="", events=[{"1": "nothing"}, {"1s": "x"}], expect=[{"1s": "?"}], picture=[0, 5])
    assert [problem.split(": ")[1] for problem in found] == [
        "what",
        "picture[0]",
        "events[0]",
        "events[1]",
        "expect[0]",
    ]


@given(st.integers(0, 366 * 24 * 3_600_000))
def test_a_time_is_read_as_it_is_written(milliseconds: int) -> None:
    assert time_of(time_in_words(milliseconds)) == milliseconds


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_box_stands_exactly_on_its_point_within_the_picture(x: float, y: float) -> None:
    left, top, right, bottom = standing_at(x, y)
    assert ((left + right) / 2, bottom) == (x, y)
    assert 0 <= left <= right <= 1
    assert 0 <= top <= bottom


def test_times_are_single_ones_and_rows_in_the_order_written() -> None:
    assert instants("2s, 1s to 1.5s every 200ms, 1m30s", 100) == (2000, 1000, 1200, 1400, 90_000)
    with pytest.raises(BadLine):
        instants("", 100)


def test_what_is_seen_is_nothing_a_skip_or_detections() -> None:
    assert seen("nothing") == ((), None)
    assert seen("stale") == ((), "stale")
    (detections, skipped) = seen(["object at 0.5 0.5", "pine box 0 0 1 1 confidence 0.3"])
    assert skipped is None
    assert [(each.label, each.confidence) for each in detections] == [("object", 0.9), ("pine", 0.3)]


def rules_test(*places: Path):
    return CliRunner().invoke(rules, ["test", *map(str, places)])


def test_the_command_says_a_line_for_each_scenario(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(CONFIRM)
    (tmp_path / "two.yaml").write_text(CONFIRM.replace("6.4s", "7s"))
    done = rules_test(tmp_path)
    assert done.exit_code == 1
    assert f"ok      {tmp_path}/one.yaml: A third hit opens." in done.output
    assert f"FAILED  {tmp_path}/two.yaml: A third hit opens." in done.output
    assert "≠ 7s: resolved object in zone, quiet  6.4s: resolved object in zone, quiet" in done.output
    assert rules_test(tmp_path / "one.yaml").exit_code == 0


def test_a_failing_scenario_is_explained_step_by_step_where_asked(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(CONFIRM)
    (tmp_path / "two.yaml").write_text(CONFIRM.replace("6.4s", "7s"))
    done = CliRunner().invoke(rules, ["test", "--explain", str(tmp_path)])
    words = [" ".join(line.split()) for line in done.output.splitlines()]
    assert words.count("object in zone:") == 1
    assert "1.2s 2nd hit of 3 within 2 s" in words
    assert any(line.startswith("6.4s the alert resolves, 5 s after the last hit at 1.4s (quiet: ") for line in words)


def test_a_file_that_does_not_check_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("what: [1,")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "c.yaml").write_text(CONFIRM)
    done = rules_test(tmp_path)
    assert done.exit_code == 2
    assert "a.yaml:1:10" in done.output
    assert "b.yaml: cannot be read" in done.output
    assert "c.yaml: A third hit opens." in done.output


def test_a_folder_without_scenarios_is_refused(tmp_path: Path) -> None:
    done = rules_test(tmp_path)
    assert done.exit_code == 2
    assert "no .yaml file" in done.output
