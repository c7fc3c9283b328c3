"""Real video and a real detector: people who walk through a room, one after another, alert in a ROI."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from schemas.codec import decode
from schemas.messages import Alert, DetectionEvent
from tests.support.pipeline import REPOSITORY, environment, records, running

REAL = REPOSITORY.parent / "shared" / "real"
FPS = 2.0


@pytest.mark.kafka
@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="no real video here (../shared/real)")
def test_people_in_a_roi_alert_one_after_another(
    tmp_path: Path, kafka_broker: object, bootstrap: str, prefix: str
) -> None:
    configs = tmp_path / "configs"
    configs.mkdir()
    camera = {
        "id": "room",
        "url": str(REAL / "one-by-one-person-detection.mp4"),
        "realtime": False,
        "start_at": (datetime.now(UTC) - timedelta(hours=3)).isoformat(),
        "fps_target": FPS,
    }
    roi = {
        "name": "room",
        "points": [[0.05, 0.1], [0.95, 0.1], [0.95, 1.0], [0.05, 1.0]],
        "units": "fractions",
        "min_confidence": 0.4,
        "confirm": {"hits": 3, "within_seconds": 4},
        "resolve_after_seconds": 2,
        "debounce_window_seconds": 0,
    }
    rois = {"camera_id": "room", "forbidden_rois": [roi], "alert_classes": ["person"]}
    (configs / "cameras.yaml").write_text(yaml.safe_dump({"cameras": [camera]}))
    (configs / "rois.yaml").write_text(yaml.safe_dump({"cameras": [rois]}))
    model = str(REAL / "yolov8n_int8_coco.onnx")
    (configs / "services.yaml").write_text(yaml.safe_dump({"inference": {"model_path": model}}))
    data = tmp_path / "data"
    arguments = ["up", "--configs", str(configs), "--data", str(data), "--prefix", prefix, "--no-api"]
    with running(arguments, environment(bootstrap), tmp_path / "out") as up:
        assert up.wait(280) == 0, up.logs(data)
    events = [decode(DetectionEvent, each.value) for each in records(bootstrap, f"{prefix}detections")]
    assert abs(len(events) - 139 * FPS) <= 3
    alerts = [decode(Alert, each.value) for each in records(bootstrap, f"{prefix}alerts")]
    opened = [alert for alert in alerts if alert.phase == "opened"]
    resolved = {alert.alert_id for alert in alerts if alert.phase == "resolved"}
    assert len(opened) >= 3
    assert {alert.label for alert in opened} == {"person"}
    # One after another: each episode but perhaps the last has ended.
    assert {alert.alert_id for alert in opened[:-1]} <= resolved
    assert all(alert.evidence.confidence >= 0.4 for alert in opened)
