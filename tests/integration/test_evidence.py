"""The evidence stage on a real broker: every opened alert gets its picture, once, whatever goes wrong."""

from pathlib import Path

import pytest
import simplejpeg

from evidence.stage import run
from evidence.store import EvidenceStore
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_OK, Stop
from runtime.metrics import EVIDENCE_TROUBLE
from runtime.revisions import publish_revisions
from schemas.effective import CameraRules, RoiRevision
from schemas.messages import FrameRef
from schemas.topics import ALERTS
from tests.support.alerts import resolved
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
    other = yard.alert(2, frame)  # another frame than the one it was opened by
    store = EvidenceStore(str(folder), prefix)
    with evidence_stage(evidence_settings(bootstrap, prefix, folder)):
        first = until(lambda: store.account(gone.alert_id, gone.opened_at))
        second = until(lambda: store.account(other.alert_id, other.opened_at))
    assert "offset 4711" in first.missing
    assert "another frame" in second.missing
    assert store.find(gone.alert_id, gone.opened_at, "evidence.jpg") is None


def test_a_store_that_is_away_loses_nothing_and_what_follows_keeps_its_order(bootstrap, prefix, yard, folder):
    alerts = [yard.alert(number, yard.frame(number)) for number in range(5)]
    folder.write_text("a file where the folder would be")
    before = EVIDENCE_TROUBLE._value.get()
    store = EvidenceStore(str(folder), prefix)
    with evidence_stage(evidence_settings(bootstrap, prefix, folder)) as codes:
        until(lambda: EVIDENCE_TROUBLE._value.get() > before)
        assert committed(bootstrap, prefix) == 0
        folder.unlink()
        for alert in alerts:
            assert until(lambda alert=alert: store.account(alert.alert_id, alert.opened_at)).missing is None
        until(lambda: committed(bootstrap, prefix) == 5)
    assert codes == [EXIT_OK]


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
