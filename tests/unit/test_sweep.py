"""Sweeps: what `--vary` means, that every combination is judged as its document would be, and the plot."""

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.comparison import Verdicts
from replay.judging import CameraRun, Timeline
from replay.spans import Span
from replay.sweep import BadVary, Swept, combinations, swept, vary, with_combination
from replay.sweep_plot import plot
from schemas.documents.rois import CameraRois, RoiDefaults, effective_rules
from schemas.messages import Mark
from tests.support.histories import CAMERA, START, event, roi, rules, seen

SPAN = Span(START, START + 3_600_000)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("confirm.hits=1..5", (1, 2, 3, 4, 5)),
        ("confirm.hits=2", (2,)),
        ("debounce_window_seconds=10,30,60", (10, 30, 60)),
        ("min_confidence=0.2..0.4/0.1", (0.2, 0.3, 0.4)),
        ("confirm.within_seconds=1..2/0.5,5", (1.0, 1.5, 2.0, 5)),
        ("anchor=center,bottom_center", ("center", "bottom_center")),
        ("anchor.overlap=0.1,0.5", (0.1, 0.5)),
    ],
)
def test_values_are_lists_and_ranges(text: str, values: tuple[object, ...]) -> None:
    assert vary(text) == (text.partition("=")[0], values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("confirm.hits", "expected KEY=VALUES"),
        ("points=1", "one of the keys"),
        ("confirm.hits=0", "greater than or equal to 1"),
        ("confirm.hits=1.5", "valid integer"),
        ("min_confidence=0.5,2", "less than or equal to 1"),
        ("confirm.hits=5..1", "goes nowhere"),
        ("confirm.hits=1,1", "given twice"),
        ("confirm.hits=1..900", "at most 200"),
        ("anchor=middle", "middle"),
    ],
)
def test_a_wrong_vary_says_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(BadVary, match=said):
        vary(text)


def test_combinations_are_every_pair_of_values() -> None:
    every = combinations([vary("confirm.hits=1..2"), vary("resolve_after_seconds=3,4")])
    assert every == [(("confirm.hits", hits), ("resolve_after_seconds", after)) for hits in (1, 2) for after in (3, 4)]
    with pytest.raises(BadVary, match="given twice"):
        combinations([vary("confirm.hits=1"), vary("confirm.hits=2")])
    with pytest.raises(BadVary, match="at most 200"):
        combinations([vary("confirm.hits=1..15"), vary("resolve_after_seconds=1..15")])


@given(
    st.integers(1, 9),
    st.sampled_from([0.5, 2, 10]),
    st.sampled_from([1, 2.5]),
    st.sampled_from([0, 12.5]),
    st.sampled_from([0.3, 1.0]),
)
def test_a_combination_is_what_the_document_with_those_values_means(
    hits: int, within: float, resolve: float, debounce: float, confidence: float
) -> None:
    def document(**roi_keys: object) -> CameraRois:
        forbidden = {"name": "zone", "points": [[0, 0], [90, 0], [0, 90]], **roi_keys}
        return CameraRois.model_validate(
            {"camera_id": CAMERA, "forbidden_rois": [forbidden], "alert_classes": ["object"]}
        )

    varied = effective_rules(document(), RoiDefaults())
    combination = (
        ("confirm.hits", hits),
        ("confirm.within_seconds", within),
        ("resolve_after_seconds", resolve),
        ("debounce_window_seconds", debounce),
        ("min_confidence", confidence),
        ("anchor.overlap", 0.4),
    )
    written = document(
        confirm={"hits": hits, "within_seconds": within},
        resolve_after_seconds=resolve,
        debounce_window_seconds=debounce,
        min_confidence=confidence,
        anchor={"overlap": 0.4},
    )
    assert with_combination(varied, combination) == effective_rules(written, RoiDefaults())


def test_only_the_named_roi_is_varied() -> None:
    both = rules(roi("zone"), roi("gate"))
    changed = with_combination(both, (("confirm.hits", 7),), frozenset({"gate"}))
    assert [each.confirm_hits for each in changed.rois] == [3, 7]


@settings(max_examples=20)
@given(st.integers(1, 5))
def test_the_sum_of_a_combination_counts_alerts_marks_and_what_was_held_back(hits: int) -> None:
    base = with_combination(rules(roi("zone")), (("debounce_window_seconds", 10), ("resolve_after_seconds", 1)))
    # Three seconds in, three out, four times: the second stay lies in the first's debounce window.
    events = [event(at, *([seen()] if at // 3000 % 2 == 0 else [])) for at in range(0, 24_000, 200)]

    def judged(count: int) -> CameraRun:
        run = CameraRun(CAMERA, Timeline.constant(with_combination(base, (("confirm.hits", count),))), SPAN, None)
        run.feed(events)
        return run

    recorded = judged(3).alerts
    first = recorded[0]
    marks = {first.alert_id: Mark(first.alert_id, True, 0, "somebody")}
    found = swept((("confirm.hits", hits),), judged(hits).alerts, recorded, SPAN, 86_400_000 // 2, marks)
    assert (found.alerts, found.per_day, found.held_back) == (2, 4.0, 1)
    assert (found.verdicts, found.lost) == (Verdicts(1, 0), ())
    none = swept((("confirm.hits", 99),), [], recorded, SPAN, 86_400_000, marks)
    assert (none.alerts, none.median_seconds, none.lost) == (0, None, (first.alert_id,))


def test_the_plot_is_a_picture_with_a_line_for_each_other_combination() -> None:
    def result(hits: int, window: int) -> Swept:
        combination = (("confirm.hits", hits), ("debounce_window_seconds", window))
        return Swept(combination, hits, float(hits), 0, None, Verdicts(0, 0), ())

    svg = ElementTree.fromstring(plot([result(hits, window) for hits in (1, 2, 3) for window in (10, 30)]))
    lines = svg.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2
    assert all(len(line.attrib["points"].split()) == 3 for line in lines)
    assert "debounce_window_seconds=30" in "".join(svg.itertext())
