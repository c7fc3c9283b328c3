"""One subject's life, told as stories. Times in milliseconds after the histories' begin."""

import msgspec
import pytest

from rules.debounce import judge
from rules.engine import step
from rules.state import NEW_CAMERA, NOTHING, REMEMBERED_MS, Episode, Opening, SubjectState, recent, restored, row_of
from schemas.messages import Alert, Evidence
from tests.support.histories import MODEL, START, event, published, roi, rules, seen
from tests.support.reference import Published
from tests.support.rules_shell import Documents, judge_all

ONCE = {"confirm_hits": 1}


def told(*events, **changes):
    """What the alerts of a history say: phase, instant, hits, suppressed (opened) or reason (resolved)."""
    return [words(alert) for alert in judge_all([published(rules(roi(**changes)))], events)[0]]


def words(alert: Alert):
    if alert.phase == "opened":
        return ("opened", alert.opened_at - START, alert.first_hit_at - START, alert.hits, alert.suppressed)
    return ("resolved", alert.resolved_at - START, alert.last_hit_at - START, alert.hits, alert.reason)


def hits(*times):
    return [event(at, seen()) for at in times]


def test_three_hits_within_two_seconds_open_and_five_quiet_seconds_resolve():
    assert told(*hits(0, 200, 400, 600), event(1000), event(6000)) == [
        ("opened", 400, 0, 3, 0),
        ("resolved", 5600, 600, 4, "quiet"),
    ]


def test_hits_too_far_apart_confirm_nothing():
    assert told(*hits(0, 1000, 2001)) == []
    assert told(*hits(0, 1000, 2000)) == [("opened", 2000, 0, 3, 0)]


def test_an_event_counts_once_however_many_boxes_hit():
    assert told(event(0, seen(), seen(), seen()), event(200, seen(), seen())) == []


def test_it_resolves_at_the_instant_and_not_at_the_event_that_shows_it():
    assert told(*hits(0), event(100), event(90_000), **ONCE)[1] == ("resolved", 5000, 0, 1, "quiet")


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([event(200), event(9000)], "quiet"),
        ([event(5000)], "quiet"),  # the judged event is the very instant
        ([event(5001)], "blind"),
        ([event(200, skipped="stale"), event(9000)], "blind"),
        ([event(5000, skipped="offline")], "blind"),
        ([event(200, skipped="stale"), event(4000), event(5000, skipped="offline")], "quiet"),
    ],
)
def test_quiet_needs_a_judged_event_between_the_last_hit_and_the_end(events, reason):
    assert told(*hits(0), *events, **ONCE)[1] == ("resolved", 5000, 0, 1, reason)


def test_a_new_hit_makes_what_was_watched_before_it_forgotten():
    assert told(*hits(0), event(200), *hits(400), event(9000), **ONCE)[1] == ("resolved", 5400, 400, 2, "blind")


def test_ticks_of_a_blind_camera_resolve_too():
    ticks = [event(1000 * n, skipped="offline") for n in range(1, 7)]
    assert told(*hits(0), *ticks, **ONCE)[1] == ("resolved", 5000, 0, 1, "blind")


def test_an_episode_within_the_debounce_window_is_held_and_counted_by_the_next_alert():
    assert told(*hits(0), event(6000), *hits(10_000), event(16_000), *hits(30_000), **ONCE) == [
        ("opened", 0, 0, 1, 0),
        ("resolved", 5000, 0, 1, "blind"),
        ("opened", 30_000, 30_000, 1, 1),
    ]


def test_a_standing_intruder_opens_when_the_window_is_over_with_the_whole_stay():
    stay = hits(*range(10_000, 31_000, 1000))
    assert told(*hits(0), event(6000), *stay, **ONCE)[2:] == [("opened", 30_000, 10_000, 21, 0)]


def test_the_window_counts_from_the_opening():
    assert told(*hits(0), *hits(*range(1000, 40_000, 1000)), event(50_000), *hits(50_200), **ONCE) == [
        ("opened", 0, 0, 1, 0),
        ("resolved", 44_000, 39_000, 40, "blind"),
        ("opened", 50_200, 50_200, 1, 0),
    ]


def test_a_hit_at_the_very_end_is_forgotten_with_the_episode():
    assert told(*hits(0, 5000), **(ONCE | {"debounce_window_ms": 0})) == [
        ("opened", 0, 0, 1, 0),
        ("resolved", 5000, 0, 1, "quiet"),
    ]


def test_a_hit_after_the_end_may_resolve_and_open_at_one_event():
    assert told(*hits(0, 5001), **(ONCE | {"debounce_window_ms": 0})) == [
        ("opened", 0, 0, 1, 0),
        ("resolved", 5000, 0, 1, "blind"),
        ("opened", 5001, 5001, 1, 0),
    ]


def test_hits_before_the_end_do_not_confirm_the_next_episode():
    events = [*hits(0, 200, 400), event(5600), *hits(5700, 5900), event(6000)]
    assert len(told(*events, debounce_window_ms=0, confirm_within_ms=20_000)) == 2


def test_late_events_and_duplicates_are_not_judged():
    assert told(*hits(0, 200), *hits(100, 200, 200, 150)) == []


def test_evidence_is_the_most_confident_hit_the_first_listed_among_equals():
    frame = event(0, seen(confidence=0.5), seen(confidence=0.8, x=0.4), seen(confidence=0.8, x=0.6))
    (alert,) = judge_all([published(rules(roi(**ONCE)))], [frame])[0]
    assert alert.evidence == Evidence(frame.frame, frame.detections[1].box, 0.8, frame.captured_at)


# Revisions


def two(first, second, at, *events):
    """The alerts under ``first``, then from ``at`` under ``second``."""
    return [words(alert) for alert in judge_all([published(first), published(second, START + at)], events)[0]]


def test_an_episode_goes_on_under_a_revision_that_has_its_subject():
    before, after = rules(roi(**ONCE)), rules(roi(**ONCE, severity="critical"))
    alerts = judge_all([published(before), published(after, START + 1000)], [*hits(0, 2000), event(9000)])[0]
    assert [words(alert)[:2] for alert in alerts] == [("opened", 0), ("resolved", 7000)]
    assert [(alert.severity, alert.roi_revision) for alert in alerts] == [("warning", published(before).revision)] * 2


def test_a_gone_roi_resolves_at_its_own_end_or_when_the_revision_begins_whichever_is_earlier():
    gone = rules(roi("other"))
    assert two(rules(roi(**ONCE)), gone, 3000, *hits(0), event(4000))[1] == ("resolved", 3000, 0, 1, "revision")
    assert two(rules(roi(**ONCE)), gone, 8000, *hits(0), event(9000))[1] == ("resolved", 5000, 0, 1, "revision")


def test_a_camera_taken_away_ends_everything():
    assert two(rules(roi(**ONCE)), rules(labels=()), 3000, *hits(0), event(4000, skipped="offline"))[1] == (
        "resolved", 3000, 0, 1, "revision",
    )  # fmt: skip


@pytest.mark.parametrize(("gone_at", "resolved_at"), [(1200, 1200), (1700, 1500), (20_000, 1500)])
def test_the_resolve_after_that_a_gone_roi_ends_by_is_that_of_the_document_before(gone_at, resolved_at):
    timeline = [
        published(rules(roi(**ONCE))),
        published(rules(roi(**ONCE, resolve_after_ms=1500)), START + 1000),
        published(rules(), START + gone_at),
    ]
    alerts = judge_all(timeline, [*hits(0), event(500), event(1100), event(30_000)])[0]
    assert words(alerts[1]) == ("resolved", resolved_at, 0, 1, "revision")


@pytest.mark.parametrize(("watched", "reason"), [(800, "quiet"), (1000, "quiet"), (4000, "blind")])
def test_a_shorter_resolve_after_ends_in_the_past_and_asks_what_was_watched_until_then(watched, reason):
    timeline = [published(rules(roi(**ONCE))), published(rules(roi(**ONCE, resolve_after_ms=1000)), START + 4500)]
    alerts = judge_all(timeline, [*hits(0), event(watched), event(4200), event(4600)])[0]
    assert words(alerts[1]) == ("resolved", 1000, 0, 1, reason)


def test_a_subject_that_comes_back_starts_afresh():
    there, gone = rules(roi(confirm_hits=2, confirm_within_ms=60_000)), rules(roi("other"))
    timeline = [published(there), Published(START + 1000, "gone", gone), Published(START + 2000, "back", there)]
    assert judge_all(timeline, [*hits(0), event(1100), *hits(2100)])[0] == []
    (alert,) = judge_all(timeline, [*hits(0), event(1100), *hits(2100, 2300)])[0]
    assert words(alert) == ("opened", 2300, 2100, 2, 0)


def test_a_subject_that_comes_back_has_no_debounce_window():
    there, gone = rules(roi(**ONCE)), rules(roi("other"))
    timeline = [published(there), Published(START + 1000, "gone", gone), Published(START + 2000, "back", there)]
    alerts = judge_all(timeline, [*hits(0), event(1100), *hits(2100)])[0]
    assert [words(alert)[:2] for alert in alerts] == [("opened", 0), ("resolved", 1000), ("opened", 2100)]


def test_a_revision_with_a_longer_within_finds_hits_from_before_it():
    timeline = [
        published(rules(roi(confirm_hits=3, confirm_within_ms=400))),
        published(rules(roi(confirm_hits=3, confirm_within_ms=300_000)), START + 200_000),
    ]
    (alert,) = judge_all(timeline, hits(0, 100_000, 250_000))[0]
    assert words(alert) == ("opened", 250_000, 0, 3, 0)


def test_a_revision_that_asks_for_fewer_hits_waits_for_a_frame_with_evidence():
    timeline = [published(rules(roi(confirm_hits=3))), published(rules(roi(confirm_hits=2)), START + 300)]
    assert judge_all(timeline, [*hits(0, 200), event(400)])[0] == []
    (alert,) = judge_all(timeline, [*hits(0, 200), event(400), *hits(600)])[0]
    assert words(alert) == ("opened", 600, 0, 3, 0)


def test_without_a_document_only_the_clock_moves():
    alerts, state = judge_all([published(rules(roi(**ONCE)), START + 1000)], hits(0, 200, 400))
    assert (alerts, state.watermark, state.subjects) == ([], START + 400, {})


# What is kept


def opening(suppressed):
    return Opening("id", 7, "rev", "info", MODEL, Evidence(event(0).frame, (0, 0, 1, 1), 0.5, 7), suppressed)


def test_an_event_at_or_before_applied_at_changes_nothing():
    kept = SubjectState(episode=Episode(1, 5, 2, 1000, opening(0), None), last_opened_at=3, applied_at=5000)
    for at in (4999, 5000):
        verdict = judge(kept, roi(), at, True, opening)
        assert verdict.subject is kept
        assert verdict[1:] == (False, False, None, None)


def test_where_an_episode_ends_and_the_hit_is_remembered_the_row_is_silent_about_the_event():
    """Also for a held episode, which ends without an alert."""
    for begun in (opening(0), None):
        kept = SubjectState(episode=Episode(0, 100, 3, 1000, begun, None), last_opened_at=0, applied_at=100)
        verdict = judge(kept, roi(resolve_after_ms=1000), 1500, True, opening)
        assert (verdict.changed, verdict.remembered) == (True, True)
        assert (verdict.subject.applied_at, verdict.subject.hits) == (1499, (1500,))
        # The bucket was lost: the event, judged again on the row, finds its hit and says nothing a second time.
        again = judge(row_of(verdict.subject), roi(resolve_after_ms=1000), 1500, True, opening)
        assert (again.subject, again.changed, again.remembered, again.ended) == (verdict.subject, False, True, None)


def test_a_hit_that_is_known_is_not_remembered_twice():
    first = judge(NOTHING, roi(), 200, True, opening)
    again = judge(first.subject, roi(), 200, True, opening)
    assert (again.subject, again.changed, again.remembered) == (first.subject, False, False)


def test_hits_later_than_the_event_are_not_looked_at():
    ahead = SubjectState(hits=(100, 300, 400))
    verdict = judge(ahead, roi(), 200, True, opening)
    assert (verdict.subject.hits, verdict.opened) == ((100, 200, 300, 400), None)


def test_remembered_hits_end_five_minutes_before_the_newest():
    assert recent((0, 1, REMEMBERED_MS, REMEMBERED_MS + 1)) == (1, REMEMBERED_MS, REMEMBERED_MS + 1)
    assert recent(()) == ()


def test_a_row_and_its_buckets_make_the_subject_again():
    row = SubjectState(suppressed=2, forget_before=100, applied_at=150)
    assert restored(row, [300, 100, 200, 99, 200]) == SubjectState((200, 300), None, None, 2, 100, 150)
    assert restored(None, []) == NOTHING
    assert restored(row_of(SubjectState(hits=(200,), applied_at=3)), [200]) == SubjectState(hits=(200,), applied_at=3)


def test_a_row_is_small():
    kept = SubjectState(hits=(1, 2), forget_before=5, applied_at=7)
    assert msgspec.json.encode(row_of(kept)) == b'{"forget_before":5,"applied_at":7}'


def test_rows_and_hits_that_an_event_names_are_those_that_it_changed():
    document = Documents([published(rules(roi()))]).at(START)
    state, named = NEW_CAMERA, []
    for each in [*hits(0, 200, 400, 600), event(800), event(1000), event(9000), *hits(20_000)]:
        judged = step(document, state, each)
        named.append((len(judged.changed), len(judged.remembered)))
        state = judged.state
    # Two remembered; begun; prolonged; watched; nothing; ended; remembered.
    assert named == [(0, 1), (0, 1), (1, 0), (1, 0), (1, 0), (0, 0), (1, 0), (0, 1)]
