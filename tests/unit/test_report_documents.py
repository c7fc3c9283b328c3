"""The ROI documents as a difference of lines: what is compared means what was judged by."""

from hypothesis import given
from msgspec import structs

from replay.report.documents import document_changes, filled_in
from schemas.documents.rois import CameraRois, RoiDefaults, effective_rules
from schemas.effective import ActiveRange, CameraRules, revision_of
from tests.support.comparisons import DOCUMENT, TRIED, side
from tests.support.histories import LABELS, documents, roi, rules

OTHER_DEFAULTS = RoiDefaults(min_confidence=0.77, debounce_window_seconds=7)


@given(documents())
def test_what_is_shown_read_as_a_document_has_the_same_revision(document: CameraRules) -> None:
    judged = structs.replace(
        document,
        rois=tuple(
            structs.replace(each, anchors={label: each.anchors[label] for label in document.alert_classes})
            for each in document.rois
        ),
    )
    read = effective_rules(CameraRois.model_validate(filled_in(judged)), OTHER_DEFAULTS)
    assert revision_of(read) == revision_of(judged)


def test_what_changed_is_shown_with_its_surroundings() -> None:
    (change,) = document_changes(side("before", DOCUMENT), side("after", TRIED), ["cam_1"])
    lines = [f"{line.sign}{line.text}" for line in change.lines]
    assert "-  - [0.75, 0.25]" in lines
    assert "+  - [0.9, 0.25]" in lines
    assert "-  confirm: {hits: 3, within_seconds: 2}" in lines
    assert "+  confirm: {hits: 2, within_seconds: 2}" in lines
    assert " - name: loading_zone" in lines
    assert not any("gate" in line for line in lines if line[0] in "+-")
    assert (change.before_revision, change.after_revision) == (revision_of(DOCUMENT), revision_of(TRIED))


def test_lines_far_from_a_change_are_left_out_and_that_is_shown() -> None:
    changed = rules(*DOCUMENT.rois[:1], structs.replace(DOCUMENT.rois[1], severity="info"), camera="cam_1")
    (change,) = document_changes(side("before", DOCUMENT), side("after", changed), ["cam_1"])
    assert change.lines[0].sign == "…"
    assert [line.text.strip() for line in change.lines if line.sign in "+-"] == ["severity: critical", "severity: info"]


def test_equal_documents_show_no_line() -> None:
    (change,) = document_changes(side("before", DOCUMENT), side("after", DOCUMENT), ["cam_1"])
    assert change.lines == ()


def test_a_document_that_only_one_side_has_is_all_new_or_all_gone() -> None:
    added, gone = document_changes(
        side("before", DOCUMENT), side("after", structs.replace(DOCUMENT, camera_id="cam_2")), ["cam_2", "cam_1"]
    )
    assert {line.sign for line in added.lines} == {"+"}
    assert {line.sign for line in gone.lines} == {"-"}
    assert (added.before_revision, gone.after_revision) == (None, None)


def test_of_several_documents_that_held_the_last_is_compared() -> None:
    (change,) = document_changes(side("before", DOCUMENT, TRIED), side("after", TRIED), ["cam_1"])
    assert (change.lines, change.held_before) == ((), 2)


def test_active_times_and_anchors_are_written_as_people_write_them() -> None:
    night = ActiveRange(days=(0, 4), start_minute=22 * 60, end_minute=6 * 60 + 5, timezone="Europe/Madrid")
    drawn = roi(active=(night,), anchors={"object": 0.3, "person": "center"}, reference_size=(1920, 1080))
    written = filled_in(rules(drawn, labels=LABELS))["forbidden_rois"][0]
    assert written["active"] == [{"days": ["mon", "fri"], "from": "22:00", "to": "06:05", "timezone": "Europe/Madrid"}]
    assert written["anchors"] == {"object": {"overlap": 0.3}, "person": "center"}
    assert written["reference_size"] == [1920, 1080]
