"""Every stage of a running pipeline is killed once with `kill -9`: nothing is lost, nothing is doubled."""

import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest

from demos.yard import Yard
from demos.yard_demo import YardDemo
from rules.engine import compile_rules, step
from rules.state import CameraState
from runtime.revisions import RevisionLog
from runtime.settings import KafkaSettings
from schemas.codec import decode, encode
from schemas.messages import Alert, Delivery, DetectionEvent, delivery_id
from tests.support.pipeline import environment, records, running, until

SECONDS = 75


@pytest.mark.kafka
@pytest.mark.slow
def test_each_stage_killed_once_loses_and_doubles_nothing(
    tmp_path: Path, kafka_broker: object, bootstrap: str, prefix: str
) -> None:
    yards = {"yard_gate": Yard(seed=701, camera="yard_gate"), "yard_dock": Yard(seed=702, camera="yard_dock")}
    scene = YardDemo(tmp_path, yards, SECONDS)
    scene.prepare(lambda _: None, rtsp=False)
    data = tmp_path / "data"
    arguments = ["up", "--configs", str(scene.configs), "--data", str(data), "--prefix", prefix, "--no-api"]
    with running([*arguments, "--duration", str(SECONDS)], environment(bootstrap), tmp_path / "out") as up:
        until(lambda: "opened" in up.stdout, 60, f"a first alert\n{up.logs(data)}")
        killed = []
        for name in ("rules", "inference", "router", "ingest"):
            before = up.children()[name]
            before.send_signal(signal.SIGKILL)
            killed.append(before.pid)

            def again(name: str = name, before: int = before.pid) -> bool:
                now = up.children().get(name)
                return now is not None and now.pid != before

            until(again, 20, f"{name} started again\n{up.logs(data)}")
        assert up.wait(SECONDS + 120) == 0, up.logs(data)
        children = [pid for pid in killed if psutil.pid_exists(pid)]
        assert not children
    said = up.stderr
    for name in ("rules", "inference", "router", "ingest"):
        assert f"{name} was killed by SIGKILL; starting it again" in said

    # Inference: one event for every frame offset; a double has the same identity and the same judgement-relevant parts.
    frames = {(each.partition, each.offset) for each in records(bootstrap, f"{prefix}frames")}
    events = [
        (each.partition, decode(DetectionEvent, each.value)) for each in records(bootstrap, f"{prefix}detections")
    ]
    seen = Counter((event.frame.partition, event.frame.offset) for _, event in events)
    assert set(seen) == frames
    identity = {}
    for _, event in events:
        key = (event.frame.partition, event.frame.offset)
        facts = (event.camera_id, event.captured_at, event.seq)
        assert identity.setdefault(key, facts) == facts

    # Rules: the same alerts as an undisturbed judge of the same detections.
    log = RevisionLog(KafkaSettings(bootstrap_servers=bootstrap), prefix)
    log.refresh()
    log.close()
    expected: dict[tuple[str, int], bytes] = {}
    for name in yards:
        state = CameraState()
        for _, event in events:
            revision = log.at(name, event.captured_at)
            if event.camera_id != name or revision is None:
                continue
            judged = step(compile_rules(revision.document, revision.revision, revision.effective_from), state, event)
            state = judged.state
            expected |= {(alert.alert_id, alert.seq): encode(alert) for alert in judged.alerts}
    alerts = [decode(Alert, each.value) for each in records(bootstrap, f"{prefix}alerts")]
    assert {(alert.alert_id, alert.seq): encode(alert) for alert in alerts} == expected
    assert len(expected) >= 4

    # Router: every one of them was delivered, and printed.
    delivered = {
        delivery.delivery_id
        for each in records(bootstrap, f"{prefix}deliveries")
        if (delivery := decode(Delivery, each.value)).outcome == "delivered"
    }
    assert delivered == {delivery_id(alert) for alert in alerts}
    printed = Counter(up.stdout.splitlines())
    assert set(printed) == {encode(alert).decode() for alert in alerts}
    assert sum(printed.values()) <= len(printed) + 2  # at most what was in flight when the router was killed
