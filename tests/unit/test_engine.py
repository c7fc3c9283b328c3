"""The engine around the subjects: order, counts, what it refuses, and the pictures of `POST /infer`."""

import pytest
from msgspec.structs import replace

from rules.engine import RoiHit, compile_rules, roi_hits, step
from rules.state import NEW_CAMERA, Subject
from schemas.effective import ActiveRange
from schemas.messages import alert_id
from tests.support.histories import START, event, published, roi, rules, seen
from tests.support.rules_shell import judge_all

ONCE = {"confirm_hits": 1, "debounce_window_ms": 0}


def compiled(document):
    return compile_rules(document, published(document).revision, 0)


def test_an_alert_names_its_frame_model_and_revision():
    document = rules(roi(**ONCE, severity="critical"))
    frame = event(200, seen())
    (alert,) = step(compiled(document), NEW_CAMERA, frame).alerts
    revision = published(document).revision
    assert alert.alert_id == alert_id(frame.camera_id, "zone", "object", None, revision, START + 200)
    assert (alert.evidence.frame, alert.model, alert.roi_revision) == (frame.frame, frame.model, revision)
    assert (alert.seq, alert.severity, alert.track_id) == (0, "critical", None)


def test_alerts_come_in_the_documents_order_the_resolved_of_a_subject_before_its_opened():
    document = rules(roi("b", **ONCE), roi("a", **ONCE), labels=("person", "object"))
    frames = [event(0, seen("object"), seen("person")), event(9000, seen("object"), seen("person"))]
    alerts, _ = judge_all([published(document)], frames)
    order = [("b", "person"), ("b", "object"), ("a", "person"), ("a", "object")]
    assert [(alert.roi, alert.label) for alert in alerts[:4]] == order
    assert [(alert.roi, alert.label, alert.phase) for alert in alerts[4:]] == [
        (*subject, phase) for subject in order for phase in ("resolved", "opened")
    ]


def test_gone_subjects_come_first_and_sorted():
    before = rules(roi("z", **ONCE), roi("b", **ONCE), roi("a", **ONCE))
    after = rules(roi("z", **ONCE))
    alerts, _ = judge_all([published(before), published(after, START + 100)], [event(0, seen()), event(9000, seen())])
    assert [(alert.roi, alert.phase) for alert in alerts[3:]] == [
        ("a", "resolved"),
        ("b", "resolved"),
        ("z", "resolved"),
        ("z", "opened"),
    ]


def test_allowed_labels_are_never_hits_and_unlisted_ones_are_counted():
    judged = step(
        compiled(rules(roi(**ONCE))), NEW_CAMERA, event(0, seen("pine"), seen("cat"), seen("dog"), seen("cat"))
    )
    assert (judged.alerts, judged.hits, judged.unlisted) == ((), 0, ("cat", "dog", "cat"))


def test_confidence_counts_from_the_threshold_on():
    document = compiled(rules(roi("low", **ONCE, min_confidence=0.25), roi("high", **ONCE, min_confidence=0.5)))
    assert step(document, NEW_CAMERA, event(0, seen(confidence=0.2499))).hits == 0
    assert [alert.roi for alert in step(document, NEW_CAMERA, event(0, seen(confidence=0.25))).alerts] == ["low"]
    assert [alert.roi for alert in step(document, NEW_CAMERA, event(0, seen(confidence=0.5))).alerts] == ["low", "high"]


def test_a_skipped_event_holds_no_hit():
    assert step(compiled(rules(roi(**ONCE))), NEW_CAMERA, event(0, seen(), skipped="stale")).hits == 0


def test_hits_count_subjects():
    document = compiled(rules(roi("a"), roi("b"), labels=("object", "person")))
    judged = step(document, NEW_CAMERA, event(0, seen(), seen(), seen("person")))
    assert judged.hits == 4
    assert judged.remembered == tuple(Subject(name, label) for name in ("a", "b") for label in ("object", "person"))


def test_a_late_event_is_counted_and_changes_nothing():
    document = compiled(rules(roi(**ONCE)))
    state = step(document, NEW_CAMERA, event(1000)).state
    for at in (1000, 999, 0):
        judged = step(document, state, event(at, seen(), seen("cat")))
        assert judged.late
        assert judged.state is state
        assert (judged.alerts, judged.hits, judged.unlisted) == ((), 0, ())


def test_the_usual_event_makes_no_new_map_of_subjects():
    document = compiled(rules(roi()))
    state = step(document, NEW_CAMERA, event(0, seen())).state
    after = step(document, state, event(200, seen("pine"), seen(x=0.9))).state
    assert after.subjects is state.subjects


def test_rois_beyond_the_picture_are_named_once_per_size_and_revision():
    wide = rules(roi("wide", points=((0, 0), (2000, 0), (0, 500)), units="pixels"), roi("fine"))
    document = compiled(wide)
    state, told = NEW_CAMERA, []
    for number, size in enumerate([(1600, 800), (1600, 800), (2560, 1440), (1600, 800)]):
        judged = step(document, state, event(number, size=size))
        told.append(judged.out_of_bounds)
        state = judged.state
    assert told == [("wide",), (), (), ("wide",)]
    assert step(document, state, event(100, skipped="offline")).out_of_bounds == ()
    state = step(document, state, event(100, skipped="offline")).state
    assert step(document, state, event(101)).out_of_bounds == ()
    other = compile_rules(wide, "other", 0)
    assert step(other, state, event(101)).out_of_bounds == ("wide",)


def test_a_picture_without_size_is_refused_only_where_its_pixels_matter():
    document = compiled(rules(roi(points=((0, 0), (100, 0), (0, 50)), units="pixels")))
    assert step(document, NEW_CAMERA, event(0, seen("pine"), size=(0, 0))).alerts == ()
    with pytest.raises(ValueError, match="gives its size as 0 x 0"):
        step(document, NEW_CAMERA, event(0, seen(), size=(0, 0)))


def test_another_cameras_event_is_refused():
    with pytest.raises(ValueError, match="an event of camera 'cam_gate' is not for the rules of 'cam_yard'"):
        step(compiled(rules(roi())), NEW_CAMERA, event(0, camera="cam_gate"))


def test_an_empty_document_counts_no_label():
    assert step(compiled(rules(labels=())), NEW_CAMERA, event(0, seen(), seen("cat"))).unlisted == ()


def test_nothing_hits_while_a_roi_is_not_active_and_an_open_alert_still_ends():
    # The histories begin on Monday 2026-09-21 at 16:13:20 in Madrid; the range ends at 16:14, 40 s later.
    until = ActiveRange((0,), 16 * 60, 16 * 60 + 14, "Europe/Madrid")
    document = rules(roi(**ONCE, active=(until,)))
    frames = [event(at, seen()) for at in (0, 39_000, 39_999, 40_000, 41_000, 50_000)]
    alerts, _ = judge_all([published(document)], frames)
    assert [(alert.phase, (alert.resolved_at or alert.opened_at) - START) for alert in alerts] == [
        ("opened", 0),
        ("resolved", 5000),
        ("opened", 39_000),
        ("resolved", 44_999),
    ]
    assert alerts[-1].reason == "quiet"


def test_one_picture_tells_which_detection_lies_where_now():
    night = ActiveRange((0,), 22 * 60, 6 * 60, "Europe/Madrid")
    document = compiled(
        rules(roi("day"), roi("night", active=(night,)), roi("corner", points=((0, 0), (0.1, 0), (0, 0.1))))
    )
    found = roi_hits(document, [seen("pine"), seen(confidence=0.1), seen(x=0.9), seen(), seen("cat")], 1600, 800, START)
    assert found == (
        RoiHit("day", "object", 1, active=True, confident=False),
        RoiHit("night", "object", 1, active=False, confident=False),
        RoiHit("day", "object", 3, active=True, confident=True),
        RoiHit("night", "object", 3, active=False, confident=True),
    )
    assert roi_hits(compiled(rules(labels=())), [seen()], 0, 0, START) == ()


def test_many_picture_sizes_do_not_fill_the_memory():
    document = compiled(rules(roi(points=((0, 0), (100, 0), (0, 50)), units="pixels")))
    for width in range(1, 100):
        document.locators(width, 50)
    assert len(document._located) <= 8


def test_events_do_not_change_the_state_they_are_given():
    document = compiled(rules(roi(**ONCE)))
    state = step(document, NEW_CAMERA, event(0, seen())).state
    kept = dict(state.subjects)
    step(document, state, event(9000, seen()))
    assert state.subjects == kept
    assert replace(state) == state
