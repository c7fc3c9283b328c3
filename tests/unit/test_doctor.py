"""Every fault that `backsight doctor` names of documents, model, GPU and machine, each brought about."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner

from cli.checks import AT_ONCE, Check, api, cameras, configs, device, kafka, machine, model, run_checks
from cli.checks.finding import Finding, fault, ok
from cli.checks.readings import Gpu, Readings, Space, space_at, take_readings
from cli.config import check_folder
from cli.main import main
from inference.detectors import onnx as onnx_detector
from ingest.probing import Probe
from ingest.sources.source import FaultReason
from runtime.broker.state import BrokerState, write_state
from runtime.broker.trouble import LOG_FILE
from runtime.provision import TopicView
from runtime.settings import CHECKOUT, Settings
from schemas.documents.cameras import Camera
from schemas.documents.services import ApiSettings, InferenceSettings, Services
from schemas.topics import ALERTS, DETECTIONS
from tests.support.servers import free_port

GB = 1024**3
WELL = Readings(
    memory_available=8 * GB,
    memory_total=16 * GB,
    space=lambda _folder: Space(100 * GB, 200 * GB, True),
    cuda=(),
    gpus=(),
    driver=None,
    gpu_nodes=False,
    synchronized=True,
    now=1_800_000_000.0,
)
H100 = Gpu("NVIDIA H100", 70 * GB, 80 * GB)


def says(finding: Finding, state: str, *words: str) -> None:
    """The line is of that kind, holds the words in this order, and tells what to do where something is wrong."""
    line = str(finding)
    assert finding.state == state, line
    places = [line.find(word) for word in words]
    assert -1 not in places, line
    assert places == sorted(places), line
    assert "\n" not in line
    assert finding.do or state in ("ok", "note"), line


# ---- the machine


@pytest.mark.parametrize(
    ("changed", "check", "state", "words"),
    [
        ({}, machine.memory, "ok", ("8.0 GB of 16.0 GB available",)),
        ({"memory_available": GB // 8}, machine.memory, "fault", ("memory: 128 MB", "lower inference.batch_size")),
        ({"memory_available": GB // 2}, machine.memory, "warning", ("memory: 512 MB", "give the machine")),
        ({}, machine.clock, "ok", ("2027-01-15 08:00:00 UTC", "follows a time server")),
        ({"now": 86_400.0}, machine.clock, "fault", ("clock: 1970-01-02", "never set", "chrony")),
        ({"synchronized": False}, machine.clock, "warning", ("follows no time server", "chrony")),
        ({"synchronized": None}, machine.clock, "ok", ("clock:",)),
    ],
)
def test_memory_and_clock(changed: dict[str, Any], check: Any, state: str, words: tuple[str, ...]) -> None:
    says(check(replace(WELL, **changed)), state, *words)


@pytest.mark.parametrize(
    ("space", "state", "words"),
    [
        (Space(100 * GB, 200 * GB, True), "ok", ("disk for data: /srv/x: 100.0 GB of 200.0 GB free",)),
        (Space(GB // 2, 200 * GB, True), "fault", ("512 MB of 200.0 GB free", "backsight plan")),
        (Space(5 * GB, 200 * GB, True), "warning", ("5.0 GB", "backsight plan --cameras")),
        (Space(100 * GB, 200 * GB, False), "fault", ("may not write there", f"chown it to user {os.getuid()}")),
    ],
)
def test_a_full_disk(space: Space, state: str, words: tuple[str, ...]) -> None:
    (found,) = machine.disks(replace(WELL, space=lambda _folder: space), {"data": Path("/srv/x")})
    says(found, state, *words)


def test_a_folder_that_is_not_there_yet_is_measured_where_it_would_be(tmp_path: Path) -> None:
    assert space_at(tmp_path / "a" / "b").total == space_at(tmp_path).total > 0
    assert space_at(tmp_path).writable


def test_a_port_that_another_program_has() -> None:
    port = free_port()
    settings = Settings(services=Services(api=ApiSettings(port=port)))
    says(machine.ports(settings)[0], "ok", f"port {port}: free")
    with socket.create_server(("127.0.0.1", port)) as server:
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        says(machine.ports(settings)[0], "fault", f"port {port}: taken by another program", "API_PORT")


def test_this_machine_can_be_read() -> None:
    seen = take_readings()
    assert 0 < seen.memory_available <= seen.memory_total
    says(machine.programs(), "note", "backsight ", "av ")
    says(machine.parts(), "note", "archive yes", "ultralytics", "GStreamer's RTSP server")


@pytest.mark.parametrize(
    ("told", "state", "words"),
    [
        ({}, "ok", ("api: 127.0.0.1:8000", "this machine only")),
        ({"host": "0.0.0.0", "auth": "off"}, "warning", ("may read and change everything", "API_AUTH=tokens")),
        ({"host": "0.0.0.0"}, "warning", ("travel in clear", "API_TLS_CERTIFICATE")),
        ({"host": "0.0.0.0", "tls_certificate": "a", "tls_key": "b"}, "ok", ("auth tokens, TLS on",)),
    ],
)
def test_an_api_that_is_open(told: dict[str, Any], state: str, words: tuple[str, ...]) -> None:
    says(api.access(ApiSettings(**told)), state, *words)


# ---- the GPU


@pytest.mark.parametrize(
    ("asked", "changed", "state", "words"),
    [
        ("auto", {}, "ok", ("gpu: none: the CPU it is",)),
        ("cpu", {"gpus": (H100,)}, "ok", ("runs on the CPU",)),
        ("cuda", {}, "fault", ("INFERENCE_DEVICE is cuda, but there is no CUDA device", "nvidia-smi", "Toolkit")),
        ("cuda:0", {"gpu_nodes": True}, "fault", ("no CUDA device", "driver does not answer")),
        ("cuda", {"gpus": (H100,)}, "fault", ("no CUDA device", "CUDA_VISIBLE_DEVICES")),
        ("auto", {"gpus": (H100,)}, "warning", ("the CPU it is", "CUDA_VISIBLE_DEVICES")),
        ("cuda:2", {"cuda": ("a", "b")}, "fault", ("there are 2 CUDA devices", "name one of those")),
    ],
)
def test_a_gpu_that_is_not_detected(asked: str, changed: dict[str, Any], state: str, words: tuple[str, ...]) -> None:
    says(device.device(InferenceSettings(device=asked), replace(WELL, **changed)), state, *words)


def test_a_gpu_that_the_detector_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    here = replace(WELL, cuda=("a",), gpus=(H100,), driver="580.1", gpu_nodes=True)
    monkeypatch.setattr(onnx_detector, "uses_cuda", lambda: False)
    says(device.device(InferenceSettings(device="auto"), here), "warning", "CPU only", "install onnxruntime-gpu")
    says(device.device(InferenceSettings(device="cuda"), here), "fault", "CPU only", "INFERENCE_DEVICE=cpu")
    monkeypatch.setattr(onnx_detector, "uses_cuda", lambda: True)
    says(
        device.device(InferenceSettings(device="cuda"), here), "ok", "driver 580.1", "NVIDIA H100, 70.0 of 80.0 GB free"
    )


# ---- the model


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A copy of the registry with the shipped model."""
    (tmp_path / "models").mkdir()
    shutil.copy(CHECKOUT / "models" / "registry.yaml", tmp_path / "models")
    shutil.copytree(CHECKOUT / "models" / "yard", tmp_path / "models" / "yard")
    return tmp_path / "models"


def told(shipped: Path, labels: tuple[str, ...] = ("object",), name: str = "yard/yard-2.onnx") -> Finding:
    return model.model(InferenceSettings(model_path=str(shipped / name)), labels, shipped / "registry.yaml")


def test_a_model_file_that_was_changed(shipped: Path) -> None:
    says(told(shipped), "ok", "model: yard 2, sha256", "labels object, pine, worker")
    says(told(shipped, ("objet",)), "fault", "does not know objet", "knows object", "can never alert")
    weights = shipped / "yard" / "yard-2.onnx"
    weights.write_bytes(weights.read_bytes() + b"\0")
    says(told(shipped), "fault", "says this is yard 2 with sha256", "restore the file")


def test_a_model_that_is_not_there_or_is_none(shipped: Path) -> None:
    says(told(shipped, name="gone.onnx"), "fault", "there is no such model file", "INFERENCE_MODEL_PATH")
    (shipped / "broken.onnx").write_bytes(b"no model at all")
    says(told(shipped, name="broken.onnx"), "fault", "broken.onnx", "backsight models verify")
    shutil.copy(CHECKOUT / "models" / "yard" / "yard-2.onnx", shipped / "mine.onnx")
    (shipped / "registry.yaml").write_text("models: []")
    says(told(shipped, name="mine.onnx"), "warning", "mine unregistered", "backsight models register")
    (shipped / "registry.yaml").write_text("models: [{name: a}]")
    says(told(shipped), "fault", "registry.yaml: models[0].version", "mend")


def test_a_detector_whose_extra_is_not_installed(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    (shipped / "mine.engine").write_bytes(b"weights")
    says(told(shipped, name="mine.engine"), "fault", "model:", "ultralytics")


# ---- the documents


def written(folder: Path, **files: str) -> list[Finding]:
    (folder / "cameras.yaml").write_text("cameras: [{id: gate, url: 'rtsp://192.0.2.1/1'}]")
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return configs.configs(check_folder(folder, {}), {})


ROI = "cameras: [{camera_id: gate, alert_classes: [object, pine, worker], forbidden_rois: [{name: a, points: %s}]}]"


@pytest.mark.parametrize(
    ("files", "state", "words"),
    [
        ({"rois": ROI % "[[1, 1], [90, 1], [90, 90]]"}, "ok", ("1 camera(s), 1 ROI(s); alerts go to stdout",)),
        ({}, "warning", ("gate has no ROIs: it can never alert", "config check")),
        ({"rois": ROI % "[[1, 1]]"}, "fault", ("rois.yaml: cameras[0].forbidden_rois[0].points", "three points")),
        ({"cameras": "cameras: [{id: gate, url: 'rtsp://u:${NO_SUCH}@h/1'}]"}, "fault", ("NO_SUCH", "not set")),
        ({"cameras": "cameras: ["}, "fault", ("cameras.yaml:1",)),
        ({"services": "inference: {device: gpu}"}, "fault", ("services.yaml: inference.device",)),
        ({"services": "alerting: {protocol: webhook}"}, "fault", ("ALERTING_WEBHOOK_URL", "is needed")),
        ({"routes": "route: {sinks: [desk]}"}, "fault", ("there is no sink 'desk'", "routes check")),
        ({"cameras": "cameras: []"}, "warning", ("no camera is enabled",)),
    ],
)
def test_documents_that_do_not_check(tmp_path: Path, files: dict[str, str], state: str, words: tuple[str, ...]) -> None:
    found = written(tmp_path, **files)
    (line,) = [each for each in found if words[0] in str(each)]
    says(line, state, *words)


def test_a_redis_url_left_over_is_answered(tmp_path: Path) -> None:
    written(tmp_path)
    environ = {"REDIS_URL": "redis://:hunter2@redis:6379/0"}
    found = configs.configs(check_folder(tmp_path, environ), environ)
    says(found[-1], "note", "Kafka takes the place of Redis", "docs/from-redis.md")
    assert "hunter2" not in str(found)


def test_a_variable_that_nothing_reads_is_named(tmp_path: Path) -> None:
    written(tmp_path)
    environ = {"INFERENCE_IMGSZ": "640", "INFERENCE_DEVICE": "cpu", "INFERENCE_MEMORY": "4g", "API_TOKENS_FILE": "x"}
    found = configs.configs(check_folder(tmp_path, environ), environ)
    (line,) = [each for each in found if "reads" in each.said]
    says(line, "note", "INFERENCE_IMGSZ is set, and nothing reads it", "docs/configuration.md")


# ---- cameras and topics, as they are judged

GATE = Camera.model_validate({"id": "gate", "url": "rtsp://h/1", "fps_target": 5})
SEEN = Probe("h264", 1280, 720, 25.0, 400.0, True, 120.0)


def test_what_is_doubtful_about_a_camera_that_answers() -> None:
    says(
        cameras.judged(GATE, SEEN)[0], "ok", "h264 1280 x 720, 25.0 fps, first picture after 0.4 s, clock 0.1 s behind"
    )
    assert len(cameras.judged(GATE, SEEN)) == 1
    says(cameras.judged(GATE, SEEN._replace(fps=3.0))[1], "warning", "sends 3.0 fps, less than fps_target 5", "to 3")
    ahead = cameras.judged(GATE, SEEN._replace(clock_behind_ms=-7_200_000.0))[1]
    says(ahead, "warning", "its clock is 7200.0 s ahead of ours", "time server")
    says(cameras.judged(GATE, SEEN._replace(width=3840))[1], "warning", "3840 pixels", "sub-stream")
    says(cameras.judged(GATE, SEEN._replace(stamped=False, fps=None))[0], "ok", "unknown fps", "without timestamps")


def test_every_fault_of_a_source_says_what_to_do() -> None:
    assert set(cameras._DO) == set(get_args(FaultReason))


def test_topics_with_one_copy_on_a_cluster_of_three() -> None:
    views = [TopicView(topic, topic.name, 12, 12, 1, {}, ()) for topic in (ALERTS, DETECTIONS)]
    assert [each.state for each in kafka.judged(views, 1)] == ["ok"]
    (found,) = kafka.judged(views, 3)
    says(found, "warning", "one copy only of alerts, detections", "kafka-reassign-partitions")


def test_a_local_kafka_that_ended_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "kafka"
    folder.mkdir()
    write_state(folder, BrokerState(2**22, "never", 9092, 9093, 0, "java"))
    (folder / LOG_FILE).write_text("java.io.IOException: No space left on device\n")
    says(kafka.local_kafka(tmp_path)[0], "fault", "the local one ended:", "is full", "backsight kafka up")


# ---- the run of the checks


def test_a_check_that_hangs_or_breaks_is_a_fault_and_the_others_go_on() -> None:
    never = threading.Event()

    def hangs() -> list[Finding]:
        never.wait()
        return []

    def breaks() -> list[Finding]:
        raise ValueError("rtsp://admin:hunter2@h/1 is odd")

    checks = [Check("slow", hangs), Check("broken", breaks), Check("fine", lambda: [ok("fine", "yes")])]
    (slow,), (broken,), (fine,) = run_checks(checks, 0.2)
    never.set()
    says(slow, "fault", "slow: no answer within 0.2 s")
    says(broken, "fault", "could not be looked at (ValueError")
    assert "hunter2" not in str(broken)
    says(fine, "ok", "yes")


def test_many_that_hang_hold_up_nobody() -> None:
    never = threading.Event()

    def hangs() -> list[Finding]:
        never.wait()
        return []

    hanging = [Check(f"camera {number}", hangs) for number in range(AT_ONCE + 3)]
    found = list(run_checks([*hanging, Check("last", lambda: [ok("last", "yes")])], 0.2))
    never.set()
    assert [each[0].state for each in found] == ["fault"] * (AT_ONCE + 3) + ["ok"]


def test_a_finding_holds_no_credentials_and_is_one_line() -> None:
    found = fault("x", "rtsp://admin:s3cret@cam/1 said\nno", "open http://u:s3cret@h/")
    assert "s3cret" not in str(found)
    assert str(found) == "fault   x: rtsp://***@cam/1 said no → open http://***@h/"


def test_the_command_answers_with_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "cameras.yaml").write_text("cameras: []")
    environ = {"API_PORT": str(free_port()), "KAFKA_BOOTSTRAP_SERVERS": ""}
    well = CliRunner(env=environ).invoke(main, ["doctor", "--json"])
    answer = json.loads(well.stdout)
    assert (well.exit_code, answer["well"]) == (0, True), well.output
    assert {"model", "kafka", "gpu", "memory"} <= {each["subject"] for each in answer["findings"]}
    (tmp_path / "configs" / "services.yaml").write_text("api: {port: 70000}")
    ill = CliRunner().invoke(main, ["doctor"])
    assert ill.exit_code == 1
    assert "fault   configs: services.yaml: api.port" in ill.output
    assert "not looked at" in ill.output
