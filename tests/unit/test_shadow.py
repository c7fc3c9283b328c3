"""The shadow's pure parts: a shadow that is stopped anywhere and goes on judges as one that was never stopped."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from replay.comparison import CameraFacts
from replay.judging import BelowFloor, Timeline
from replay.recorded import Recorded
from replay.run import Side
from replay.shadow_judging import PartitionJudging, outcomes
from replay.shadow_log import CameraProgress, Candidate, PartitionProgress, header_of, progress_record
from replay.shadow_promote import plan_promotion, promotion_in_words
from replay.shadow_report import cuts, kept
from runtime.revisions import RevisionHistory
from schemas.effective import CameraRules, RoiRevision, revision_of
from schemas.messages import Alert, DetectionEvent
from tests.support.alerts import opened, resolved
from tests.support.histories import CAMERA, START, documents, event, histories, roi, rules, seen

OTHER = "cam_gate"
ROIS = {
    "cameras": [
        {
            "camera_id": CAMERA,
            "forbidden_rois": [{"name": "zone", "points": [[10, 10], [90, 10], [90, 90]]}],
            "alert_classes": ["object"],
        }
    ]
}


def candidate(started_at: int = START) -> Candidate:
    return Candidate(
        shadow="1-a",
        name="candidate.yaml",
        started_at=started_at,
        begun_at=START,
        rois=ROIS,
        defaults={"min_confidence": 0.4, "debounce_window_seconds": 10.0},
        starts={0: 0},
    )


def nothing_yet(position: int = 0) -> PartitionProgress:
    return PartitionProgress("1-a", 0, position, START, 0, ())


def over_the_wire(progress: PartitionProgress) -> PartitionProgress:
    return msgspec.json.decode(progress_record(progress)[1] or b"", type=PartitionProgress)


def judged(judging: PartitionJudging, events: Sequence[DetectionEvent], first: int) -> list[Alert]:
    return [alert for offset, each in enumerate(events, first) for alert in judging.judge(offset, each)]


def facts(progress: PartitionProgress) -> PartitionProgress:
    return replace(progress, cameras=tuple(sorted(progress.cameras, key=lambda each: each.facts.camera_id)))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents(), histories(longest=60), st.data())
def test_a_shadow_stopped_anywhere_goes_on_as_if_it_never_was(
    document: CameraRules, history: list[DetectionEvent], data: st.DataObject
) -> None:
    side = Side.of_rules("candidate.yaml", [document, replace(document, camera_id=OTHER)])
    cameras = data.draw(st.lists(st.sampled_from((CAMERA, OTHER)), min_size=len(history), max_size=len(history)))
    events = [replace(each, camera_id=camera) for each, camera in zip(history, cameras, strict=True)]
    began = candidate(data.draw(st.sampled_from([each.captured_at for each in events])))
    whole = PartitionJudging(began, side, nothing_yet())
    alerts = judged(whole, events, 0)
    piecewise: list[Alert] = []
    progress, done = nothing_yet(), 0
    while done < len(events):
        last = data.draw(st.integers(done + 1, len(events)))
        going_on = PartitionJudging(began, side, progress)
        piecewise += judged(going_on, events[done:last], done)
        progress, done = over_the_wire(going_on.progress(START)), last
    assert piecewise == alerts
    assert facts(progress) == facts(over_the_wire(whole.progress(START)))


def test_only_alerts_that_opened_since_the_shadow_began_are_its_own() -> None:
    side = Side.of_rules("candidate.yaml", [rules(roi(confirm_hits=1, debounce_window_ms=0))])
    judging = PartitionJudging(candidate(START + 1000), side, nothing_yet())
    before = judged(judging, [event(0, seen()), event(20_000, seen()), event(40_000)], 0)
    assert [(each.opened_at - START, each.phase) for each in before] == [(20_000, "opened"), (20_000, "resolved")]


def test_counts_are_of_events_since_the_shadow_began() -> None:
    side = Side.of_rules("candidate.yaml", [rules(roi())])
    judging = PartitionJudging(candidate(START + 1000), side, nothing_yet())
    judged(judging, [event(0, seen()), event(1000, seen()), event(900), event(1200, seen("cat")), event(1400)], 0)
    judging.leave_out(5)
    progress = over_the_wire(judging.progress(START))
    assert (progress.position, progress.left_out) == (6, 1)
    (outcome,) = outcomes(candidate(), {0: progress})
    assert (outcome.judged, outcome.hits, outcome.unlisted) == (3, 1, 1)
    assert (outcome.first_at, outcome.last_at) == (START + 1000, START + 1400)


def test_what_the_record_cannot_tell_is_no_event_that_was_judged() -> None:
    side = Side("candidate.yaml", {CAMERA: Timeline.constant(rules(roi(min_confidence=0.05)))})
    judging = PartitionJudging(candidate(), side, nothing_yet())
    with pytest.raises(BelowFloor):
        judging.judge(0, event(0))
    assert judging.progress(START) == nothing_yet()


def test_a_record_says_what_it_is_and_one_that_takes_away_says_nothing() -> None:
    assert header_of(progress_record(nothing_yet())) == [("schema", b"shadow-progress/1")]
    assert header_of((b"1-a/0", None)) == []


def camera(camera_id: str, watermark: int, offset: int) -> CameraProgress:
    return CameraProgress(offset, watermark, (), CameraFacts(camera_id, 0, 0, 0, 0, 0, None, None))


def test_a_camera_is_compared_up_to_its_newest_event_that_both_have_judged() -> None:
    progress = {
        0: replace(nothing_yet(50), cameras=(camera("ahead", 900, 49), camera("quiet", 100, 7))),
        1: replace(nothing_yet(30), cameras=(camera("even", 800, 29),)),
    }
    assert cuts(progress, {0: 40, 1: 30}) == ({"quiet": 100, "even": 800}, {0: {"ahead"}})
    assert cuts(progress, {1: 99}) == ({"even": 800}, {0: {"ahead", "quiet"}})


def test_phases_that_the_other_side_may_not_have_come_to_are_not_compared() -> None:
    first = opened(1, camera="gate", at=START)
    both = (first, resolved(first, after_ms=5000))
    recorded = Recorded((*both, opened(2, camera="belt", at=START)), frozenset("1"))
    assert kept(recorded, {"gate": both[1].resolved_at or 0}).alerts == both
    assert kept(recorded, {"gate": (both[1].resolved_at or 0) - 1}).alerts == both[:1]
    assert kept(recorded, {}).alerts == ()


def test_a_candidate_is_promoted_as_it_was_tried_ahead_of_now_and_not_overruled_by_the_file() -> None:
    active = CameraRules("belt", (roi(),), ("pine",), ("object",))
    history = RevisionHistory([RoiRevision("belt", revision_of(active), 0, 0, "file", active)])
    plan = plan_promotion(candidate(), history, START)
    by_camera = {each.camera_id: each for each in plan.publish}
    zone = by_camera[CAMERA].document.rois[0]
    assert (zone.min_confidence, zone.debounce_window_ms) == (0.4, 10_000)
    assert by_camera[CAMERA].revision == candidate().side().of(CAMERA).revisions[0].revision
    assert by_camera["belt"].effective_from == START + 10_000
    assert {each.origin for each in plan.publish} == {"api"}
    assert "    the camera is gone from the document: nothing is judged" in list(promotion_in_words(plan, history))
