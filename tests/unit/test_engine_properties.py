"""The engine over drawn histories: what must hold whatever is seen and whatever the documents say."""

from random import Random

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from rules.engine import compile_rules, step
from rules.state import NEW_CAMERA, CameraState, SubjectState, camera_state, restored, row_of
from schemas.codec import encode
from schemas.effective import CameraRules, RoiRules
from schemas.messages import Alert, DetectionEvent
from tests.support.histories import CAMERA, documents, histories, published, roi, rois, rules, timelines
from tests.support.reference import Published, is_active, reference_alerts
from tests.support.rules_shell import Documents, judge_all, judge_killed

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MORE = settings(FEW, max_examples=120)


def same(one: list[Alert], other: list[Alert]) -> bool:
    """Equal to the byte."""
    return [encode(alert) for alert in one] == [encode(alert) for alert in other]


@MORE
@given(timelines(), histories())
def test_alerts_are_those_of_the_slow_reference(timeline: list[Published], history: list[DetectionEvent]) -> None:
    alerts, _ = judge_all(timeline, history)
    expected = reference_alerts(history, timeline)
    assert alerts == expected
    assert same(alerts, expected)


@FEW
@given(timelines(), histories(), st.data())
def test_judging_in_pieces_is_judging_in_one(
    timeline: list[Published], history: list[DetectionEvent], data: st.DataObject
) -> None:
    whole, end = judge_all(timeline, history)
    cut = data.draw(st.integers(0, len(history)))
    first, state = judge_all(timeline, history[:cut])
    rows = {
        subject: msgspec.json.decode(msgspec.json.encode(kept), type=SubjectState)
        for subject, kept in state.subjects.items()
    }
    then, after = judge_all(timeline, history[cut:], camera_state(state.watermark, rows))
    assert same(first + then, whole)
    assert after.subjects == end.subjects
    assert set(after.open) == set(end.open)


@FEW
@given(timelines(), histories())
def test_a_subject_comes_back_from_its_row_and_its_hits(
    timeline: list[Published], history: list[DetectionEvent]
) -> None:
    """Row and hits as a shell would have written them, gathered from what each event said had changed."""
    documents_ = Documents(timeline)
    state, rows, buckets = NEW_CAMERA, {}, {}
    for event in history:
        judged = step(documents_.at(event.captured_at), state, event)
        state = judged.state
        for subject in judged.changed:
            rows[subject] = msgspec.json.encode(row_of(state.subjects[subject]))
        for subject in judged.remembered:
            buckets.setdefault(subject, set()).add(event.captured_at)
        read = {
            subject: restored(
                msgspec.json.decode(rows[subject], type=SubjectState) if subject in rows else None,
                buckets.get(subject, ()),
            )
            for subject in {*rows, *buckets}
        }
        assert read == state.subjects


@FEW
@given(timelines(), histories(), st.randoms(use_true_random=False))
def test_an_event_given_twice_changes_nothing(
    timeline: list[Published], history: list[DetectionEvent], chance: Random
) -> None:
    doubled = [event for event in history for _ in range(chance.randint(1, 2))]
    alerts, state = judge_all(timeline, history)
    again, state_again = judge_all(timeline, doubled)
    assert same(alerts, again)
    assert state == state_again


@MORE
@given(timelines(), histories(longest=25), st.integers(1, 3), st.data())
def test_a_shell_that_is_killed_sends_the_same_alerts_and_ends_in_the_same_state(
    timeline: list[Published], history: list[DetectionEvent], kills: int, data: st.DataObject
) -> None:
    undisturbed, state = judge_all(timeline, history)
    sent, state_read_back = judge_killed(timeline, history, data, kills)
    assert {encode(alert) for alert in sent} == {encode(alert) for alert in undisturbed}
    assert state_read_back.subjects == state.subjects


@FEW
@given(documents(with_active=False), histories(), st.integers(1, 10**9))
def test_shifting_all_times_shifts_all_alerts(document: CameraRules, history: list[DetectionEvent], shift: int) -> None:
    def moved(alert: Alert, by: int) -> object:
        instants = ("first_hit_at", "opened_at", "last_hit_at", "resolved_at")
        values = asdict(alert)
        return [
            {name: value for name, value in values.items() if name not in (*instants, "alert_id", "evidence")},
            [None if values[name] is None else values[name] + by for name in instants],
            alert.evidence.captured_at + by,
        ]

    timeline = [published(document)]
    later = [replace(event, captured_at=event.captured_at + shift) for event in history]
    alerts, _ = judge_all(timeline, history)
    shifted, _ = judge_all(timeline, later)
    assert [moved(alert, shift) for alert in alerts] == [moved(alert, 0) for alert in shifted]


@FEW
@given(documents(), histories())
def test_nothing_opens_while_a_roi_is_not_active(document: CameraRules, history: list[DetectionEvent]) -> None:
    ranges = {roi.name: roi.active for roi in document.rois}
    for alert in judge_all([published(document)], history)[0]:
        active = ranges[alert.roi]
        if active is not None:
            assert any(is_active(each, alert.opened_at) for each in active)


@FEW
@given(rois("zone", with_active=False), histories())
def test_a_shorter_debounce_window_turns_suppressed_episodes_into_alerts(
    watched: RoiRules, history: list[DetectionEvent]
) -> None:
    """Episodes are the same whatever the window is; each opens, or is held to its end and counted."""
    held = rules(watched)
    free = rules(replace(watched, debounce_window_ms=0))
    alerts, state = judge_all([published(held)], history)
    without, state_without = judge_all([published(free)], history)
    opened = [alert for alert in alerts if alert.seq == 0]
    kept = list(state.subjects.values())
    still_held = sum(each.episode is not None and each.episode.opening is None for each in kept)
    suppressed = sum(alert.suppressed for alert in opened) + sum(each.suppressed for each in kept)
    assert len(opened) + suppressed + still_held == sum(alert.seq == 0 for alert in without)
    assert all(alert.suppressed == 0 for alert in without)
    assert state.open == state_without.open


@FEW
@given(timelines(), histories())
def test_every_alert_that_resolves_has_opened_before_with_the_same_words(
    timeline: list[Published], history: list[DetectionEvent]
) -> None:
    alerts, state = judge_all(timeline, history)
    opened: dict[str, Alert] = {}
    resolved: set[str] = set()
    for alert in alerts:
        if alert.phase == "opened":
            assert alert.alert_id not in opened
            opened[alert.alert_id] = alert
            assert alert.first_hit_at <= alert.opened_at == alert.last_hit_at
        else:
            assert alert.alert_id not in resolved
            resolved.add(alert.alert_id)
            said = opened[alert.alert_id]
            changed = {
                "seq": 1,
                "phase": "resolved",
                "last_hit_at": alert.last_hit_at,
                "resolved_at": alert.resolved_at,
                "reason": alert.reason,
                "hits": alert.hits,
            }
            assert alert == replace(said, **changed)
            assert alert.hits >= said.hits
    still_open = {
        kept.episode.opening.alert_id
        for kept in state.subjects.values()
        if kept.episode is not None and kept.episode.opening is not None
    }
    assert still_open == opened.keys() - resolved


@FEW
@given(histories(longest=15), histories(longest=15), st.randoms(use_true_random=False))
def test_another_cameras_events_change_nothing(
    mine: list[DetectionEvent], others: list[DetectionEvent], order: Random
) -> None:
    """Two cameras in one partition, each with its own state, are judged as if each were alone."""
    names = (CAMERA, "cam_gate")
    apart = {name: published(rules(roi(confirm_hits=2), camera=name)) for name in names}
    waiting = {CAMERA: list(mine), "cam_gate": [replace(event, camera_id="cam_gate") for event in others]}
    states = dict.fromkeys(names, NEW_CAMERA)
    alerts: dict[str, list[Alert]] = {name: [] for name in names}
    compiled = {name: compile_rules(each.rules, each.revision, 0) for name, each in apart.items()}
    while any(waiting.values()):
        name = order.choice([name for name in names if waiting[name]])
        judged = step(compiled[name], states[name], waiting[name].pop(0))
        states[name] = judged.state
        alerts[name] += judged.alerts
    assert (alerts[CAMERA], states[CAMERA]) == judge_all([apart[CAMERA]], mine)


def test_a_camera_state_is_made_of_what_can_be_written_down() -> None:
    assert camera_state(-1, {}) == NEW_CAMERA == CameraState()
