"""The whole pipeline over real RTSP on the synthetic yard: alerts equal those computed from the scene's truth."""

import os
from pathlib import Path

import pytest

from demos.rtsp_server import RtspServer
from demos.yard import Yard
from demos.yard_demo import YardDemo
from runtime.settings import KafkaSettings
from tests.support.pipeline import environment, records, running

# Training used seeds 1001 and 2002 and cameras called train-N (models/yard/train.py); these are none of them. They are
# the first in a blind order (random.Random("2026-11-23"), numbers of five digits; the hall by night) on which the
# detector by itself sees every incident of the minute in time; two of five were passed over. This is a test of the
# pipeline: how often the detector misses is measured in models/yard/README.md.
SEEDS = {"yard_dock": 20005, "yard_ramp": 73152, "yard_hall": 29213}
SECONDS = 60


@pytest.mark.kafka
@pytest.mark.rtsp
@pytest.mark.slow
def test_alerts_over_rtsp_equal_the_truth_on_three_unseen_seeds(
    tmp_path: Path, kafka_broker: object, bootstrap: str, prefix: str
) -> None:
    if not RtspServer.available():
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs GStreamer's RTSP server: see .ci/run")
        pytest.skip("no GStreamer RTSP server on this machine")
    yards = {name: Yard(seed=seed, camera=name) for name, seed in SEEDS.items()}
    scene = YardDemo(tmp_path, yards, SECONDS)
    scene.prepare(lambda _: None, rtsp=True)
    data = tmp_path / "data"
    try:
        arguments = ["up", "--configs", str(scene.configs), "--data", str(data), "--prefix", prefix]
        with running(
            [*arguments, "--duration", str(SECONDS), "--no-api"], environment(bootstrap), tmp_path / "out"
        ) as up:
            assert up.wait(SECONDS + 120) == 0, up.logs(data)
            printed = up.stdout.splitlines()
    finally:
        scene.close()
    scene.look_back(KafkaSettings(bootstrap_servers=bootstrap), prefix)
    assert scene.frames > 4.0 * SECONDS * len(SEEDS), f"{scene.frames} frames\n{up.logs(data)}"
    wrong = [row for row in scene.rows if row.verdict != "as expected"]
    assert not wrong, f"{wrong}\n{up.logs(data)}"
    for name in SEEDS:
        assert sum(row.camera_id == name for row in scene.rows) >= 2, scene.rows
    # What was printed is what is on the topic, once each.
    on_topic = sorted(record.value.decode() for record in records(bootstrap, f"{prefix}alerts"))
    assert sorted(printed) == on_topic
    for log in (data / "logs").glob("*.log"):
        assert "viewer:yard" not in log.read_text()
