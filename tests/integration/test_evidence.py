"""The evidence stage on a real broker: every opened alert gets its picture, once, whatever goes wrong."""

import io
import time
from pathlib import Path

import av
import pytest
import simplejpeg
from click.testing import CliRunner
from prometheus_client import REGISTRY

from cli.alerts import alerts
from evidence.clip import ClipGone, clips_of
from evidence.following import AlertList
from evidence.index import Asked
from evidence.process import run
from evidence.store import EvidenceStore
from runtime.kafka import TopicPartition, admin, log_spans, reader
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_OK, Stop
from runtime.marks import publish_mark
from runtime.metrics import EVIDENCE_TROUBLE, EVIDENCE_WAITING
from runtime.revisions import publish_revisions
from schemas.effective import CameraRules, RoiRevision
from schemas.messages import Delivery, FrameRef, Mark
from schemas.topics import ALERTS, DAY
from tests.support.alerts import opened, resolved
from tests.support.broker import committed_offsets, settings, write_all
from tests.support.evidence import Yard, evidence_settings, evidence_stage, until
from tests.unit.test_evidence_pictures import roi


@pytest.fixture
def yard(bootstrap: str, topics: dict[str, str]) -> Yard:
    return Yard(bootstrap, topics)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "evidence"


def committed(bootstrap: str, prefix: str) -> int:
    return sum(committed_offsets(bootstrap, f"{prefix}evidence", ALERTS.full_name(prefix)).values())


def test_the_frame_that_confirmed_the_alert_is_kept_clean_and_drawn(bootstrap, prefix, yard, folder):
    document = CameraRules("gate", (roi(),), (), ("object",))
    publish_revisions(settings(bootstrap), prefix, [RoiRevision("gate", "0123456789abcdef", 0, 0, "file", document)])
    refs = [yard.frame(number) for number in range(5)]
    alert = yard.alert(3, refs[3])
    store = EvidenceStore(str(folder), prefix)
    with evidence_stage(evidence_settings(bootstrap, prefix, folder)) as codes:
        account = until(lambda: store.account(alert.alert_id, alert.opened_at))
        yard.write(resolved(alert))
        until(lambda: committed(bootstrap, prefix) == 2)
    assert codes == [EXIT_OK]
    assert (account.alert, account.missing) == (alert, None)
    clean = store.find(alert.alert_id, alert.opened_at, "clean.jpg")
    drawn = store.find(alert.alert_id, alert.opened_at, "evidence.jpg")
    assert simplejpeg.decode_jpeg(clean).mean() == pytest.approx(26, abs=2), "frame 3 and no other"
    picture = simplejpeg.decode_jpeg(drawn)
    assert picture.shape[1] == 320
    assert picture.shape[0] > 180
    amber = (abs(picture[:180].astype(int) - (245, 158, 11)).max(axis=-1) < 60).sum()
    assert amber > 100, "the polygon of the revision"


def test_an_alert_whose_frame_is_gone_is_accounted_for_with_the_reason(bootstrap, prefix, yard, folder):
    frame = yard.frame(0)
    gone = yard.alert(1, FrameRef(frame.topic, frame.partition, 4711))
    foreign = yard.alert(3, FrameRef("another-installation", 0, 0))
    other = yard.alert(2, frame)  # another frame than the one it was opened by
    store = EvidenceStore(str(folder), prefix)
    with evidence_stage(evidence_settings(bootstrap, prefix, folder)):
        first = until(lambda: store.account(gone.alert_id, gone.opened_at))
        second = until(lambda: store.account(other.alert_id, other.opened_at))
        third = until(lambda: store.account(foreign.alert_id, foreign.opened_at))
    assert "offset 4711" in first.missing
    assert "lies on another-installation" in third.missing
    assert "another frame" in second.missing
    assert store.find(gone.alert_id, gone.opened_at, "evidence.jpg") is None


def test_a_store_that_is_away_loses_nothing_and_what_follows_keeps_its_order(bootstrap, prefix, yard, folder):
    alerts = [yard.alert(number, yard.frame(number)) for number in range(5)]
    folder.write_text("a file where the folder would be")
    before = EVIDENCE_TROUBLE._value.get()
    store = EvidenceStore(str(folder), prefix)
    with evidence_stage(evidence_settings(bootstrap, prefix, folder)) as codes:
        until(lambda: EVIDENCE_TROUBLE._value.get() > before and EVIDENCE_WAITING._value.get() == 5)
        assert committed(bootstrap, prefix) == 0
        remove_records(bootstrap, alerts[0].evidence.frame.topic)  # retention goes on meanwhile
        folder.unlink()
        for alert in alerts:
            assert until(lambda alert=alert: store.account(alert.alert_id, alert.opened_at)).missing is None
        until(lambda: committed(bootstrap, prefix) == 5)
    assert codes == [EXIT_OK]


def remove_records(bootstrap: str, topic: str) -> None:
    spans = reader(settings(bootstrap), "test-spans")
    ends = [TopicPartition(topic, number, end) for number, (_, end) in log_spans(spans, topic).items()]
    spans.close()
    cluster = admin(settings(bootstrap))
    for removed in cluster.delete_records(ends).values():
        removed.result(20)


def test_evidence_of_days_that_are_over_is_removed(bootstrap, prefix, yard, folder):
    store = EvidenceStore(str(folder), prefix)
    now = round(time.time() * 1000)
    for days in (3, 1):
        store.put(opened(days).alert_id, now - days * DAY, "clean.jpg", b"")
    with evidence_stage(evidence_settings(bootstrap, prefix, folder, days=2)):
        until(lambda: store.find(opened(3).alert_id, now - 3 * DAY, "clean.jpg") is None)
    assert store.find(opened(1).alert_id, now - DAY, "clean.jpg") == b""


def test_a_restart_makes_no_picture_again(bootstrap, prefix, yard, folder):
    alert = yard.alert(0, yard.frame(0))
    store = EvidenceStore(str(folder), prefix)
    told = evidence_settings(bootstrap, prefix, folder)
    with evidence_stage(told):
        before = until(lambda: store.account(alert.alert_id, alert.opened_at))
    yard.write(alert)  # the rules crashed and judged again
    later = yard.alert(1, yard.frame(1))
    with evidence_stage(told):
        until(lambda: store.account(later.alert_id, later.opened_at))
    assert store.account(alert.alert_id, alert.opened_at) == before


def test_an_alert_that_does_not_decode_stops_nobody(bootstrap, prefix, topics, yard, folder):
    write_all(bootstrap, topics["alerts"], [b"{"], key=b"gate")
    alert = yard.alert(0, yard.frame(0))
    store = EvidenceStore(str(folder), prefix)
    with evidence_stage(evidence_settings(bootstrap, prefix, folder)):
        assert until(lambda: store.account(alert.alert_id, alert.opened_at)).missing is None


def test_a_store_without_its_driver_is_a_mistake_of_the_configuration(prefix):
    assert run(evidence_settings("127.0.0.1:1", prefix, "nowhere://evidence"), Stop()) == EXIT_CONFIG


def test_topics_that_are_missing_are_named(bootstrap, folder):
    assert run(evidence_settings(bootstrap, "never-made.", folder), Stop()) == EXIT_BROKER


# The list of alerts, and clips


@pytest.fixture
def alert_list(bootstrap, prefix, topics):
    made = AlertList(settings(bootstrap), prefix, 30, lambda: round(time.time() * 1000))
    made.start()
    yield made
    made.close()


def test_the_list_is_rebuilt_from_the_topics_and_follows_them(bootstrap, prefix, yard, alert_list):
    first = yard.alert(0, yard.frame(0))
    until(lambda: alert_list.complete and alert_list.get(first.alert_id))
    second = yard.alert(1, yard.frame(1))
    yard.write(resolved(first, after_ms=1000))
    told = Delivery(f"{first.alert_id}_0", "webhook", "delivered", 1, 1, 2)
    yard.write_to("deliveries", f"webhook/{told.delivery_id}", told)
    publish_mark(settings(bootstrap), prefix, Mark(first.alert_id, True, 5, "ana"))
    until(lambda: alert_list.get(first.alert_id).alert.phase == "resolved" and alert_list.get(first.alert_id).mark)
    anew = AlertList(settings(bootstrap), prefix, 30, lambda: round(time.time() * 1000))
    anew.start()
    try:
        until(lambda: anew.complete)
        entries = anew.page(Asked(), 10, None).entries
    finally:
        anew.close()
    assert [entry.alert.alert_id for entry in entries] == [second.alert_id, first.alert_id]
    assert entries == alert_list.page(Asked(), 10, None).entries
    assert entries[1].deliveries == (told,)


COUNTED = "backsight_alert_marks_total"


def marks_counted():
    return {verdict: REGISTRY.get_sample_value(COUNTED, {"verdict": verdict}) or 0.0 for verdict in ("true", "false")}


def test_marks_of_commands_are_counted_and_those_from_before_are_not(bootstrap, prefix, yard):
    old, new = yard.alert(0, yard.frame(0)), yard.alert(1, yard.frame(1))
    publish_mark(settings(bootstrap), prefix, Mark(old.alert_id, True, 5, "ana"))
    counted = marks_counted()
    alert_list = AlertList(settings(bootstrap), prefix, 30, lambda: round(time.time() * 1000))
    alert_list.start()
    try:
        until(lambda: alert_list.complete)
        environ = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "BACKSIGHT_PREFIX": prefix}
        assert CliRunner(env=environ).invoke(alerts, ["mark", new.alert_id, "false"]).exit_code == 0
        until(lambda: alert_list.get(new.alert_id).mark)
    finally:
        alert_list.close()
    assert marks_counted() == {"true": counted["true"], "false": counted["false"] + 1}


def test_without_kafka_the_list_is_empty_and_says_that_it_is_not_complete():
    made = AlertList(settings("127.0.0.1:1"), "", 30, lambda: 0)
    made.start()
    made.close()
    assert made.page(Asked(), 10, None).entries == []
    assert not made.complete


def test_a_clip_holds_the_frames_of_the_camera_around_the_opening(bootstrap, prefix, yard, folder):
    refs = []
    for number in range(60):
        refs.append(yard.frame(number))
        yard.frame(number, "dock")
        yard.frame(number, "ramp")
    alert = yard.alert(30, refs[30])
    told = evidence_settings(bootstrap, prefix, folder, clip_before_seconds=2, clip_after_seconds=3)
    store = EvidenceStore(str(folder), prefix)
    clip = clips_of(told, store, lambda: round(time.time() * 1000)).clip(alert)
    assert store.find(alert.alert_id, alert.opened_at, "clip.mp4") == clip
    with av.open(io.BytesIO(clip)) as video:
        pictures = list(video.decode(0))[:-1]
    assert [round(each.time * 1000) for each in pictures] == [200 * number for number in range(26)]
    greys = [each.to_ndarray(format="rgb24").mean() for each in pictures]
    assert greys == pytest.approx([20 + 2 * (20 + number) for number in range(26)], abs=4)


def test_where_the_frame_is_gone_there_is_no_clip(bootstrap, prefix, yard, folder):
    frame = yard.frame(0)
    alert = yard.alert(0, FrameRef(frame.topic, frame.partition, 4711))
    told = evidence_settings(bootstrap, prefix, folder)
    with pytest.raises(ClipGone):
        clips_of(told, EvidenceStore(str(folder), prefix), lambda: round(time.time() * 1000)).clip(alert)
