"""`backsight api` and `uvicorn api.main:app` as processes: the real server, and the model that ships."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import simplejpeg

from demos.yard import Yard
from runtime.lifecycle import EXIT_CONFIG, EXIT_FAULT, EXIT_OK
from tests.support.api import write_configs
from tests.support.certificates import self_signed

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "yard" / "yard-2.onnx"
JPEG = {"content-type": "image/jpeg"}
needs_model = pytest.mark.skipif(not MODEL.exists(), reason="models/yard/yard-2.onnx is not there")


def environ(configs: Path, **more: str) -> dict[str, str]:
    # Nobody listens at port 1: /infer must do without Kafka.
    told = {
        "BACKSIGHT_CONFIGS": str(configs),
        "INFERENCE_DEVICE": "cpu",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "API_TOKENS_FILE": str(configs / "tokens.json"),
        "EVIDENCE_URL": str(configs / "evidence"),
    }
    return {**os.environ, **told, **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(command: list[str], env: dict[str, str], port: int, log: Path, ca: Path | None = None):
    """A running server; it must end well within ten seconds of SIGTERM. With ``ca`` it speaks TLS."""
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        url = f"http://127.0.0.1:{port}" if ca is None else f"https://localhost:{port}"
        trusted = True if ca is None else ssl.create_default_context(cafile=ca)
        with httpx.Client(base_url=url, trust_env=False, timeout=20, verify=trusted) as client:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                try:
                    if client.get("/health").json()["status"] != "loading":
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)  # another process's start has no event to wait for
            yield client, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            finally:
                process.kill()
                process.wait()


def yard_pictures(count: int = 8) -> list[bytes]:
    """Pictures of the yard in which an object and a log are plainly to be seen."""
    yard = Yard(seed=7, camera="cam_a", width=1280, height=720, night=False)
    found: list[bytes] = []
    for t_ms in range(0, 600_000, 1000):
        picture, truths = yard.at(t_ms)
        if {"object", "pine"} <= {truth.label for truth in truths if truth.visible > 0.9}:
            found.append(simplejpeg.encode_jpeg(np.ascontiguousarray(picture[:, :, ::-1]), quality=90))
        if len(found) == count:
            break
    return found


@needs_model
def test_the_shipped_model_sees_the_yard_without_kafka_and_the_server_ends_well(tmp_path):
    pictures = yard_pictures()
    rois = (
        "cameras:\n  - camera_id: cam_yard\n    alert_classes: [object]\n    allowed_classes: [pine, worker]\n"
        "    forbidden_rois:\n      - name: all\n        units: fractions\n        points: [[0,0],[1,0],[1,1],[0,1]]\n"
    )
    port = free_port()
    log = tmp_path / "log"
    command = ["cli.main", "api", "--port", str(port)]
    with server(command, environ(write_configs(tmp_path, rois=rois)), port, log) as (client, process):
        health = client.get("/health")
        assert health.status_code == 200
        assert health.json()["model"]["name"] == "yard"
        assert health.json()["kafka"]["status"] in ("unknown", "unreachable")
        answers = [
            client.post("/infer", params={"camera_id": "cam_yard"}, content=each, headers=JPEG).json()
            for each in pictures
        ]
        assert {(answer["width"], answer["height"]) for answer in answers} == {(1280, 720)}
        seen = [{each["label"] for each in answer["detections"]} for answer in answers]
        # How well it sees is told by the model's card; here it is enough that it is this model that looks.
        assert sum("pine" in labels for labels in seen) >= len(pictures) / 2
        assert sum("object" in labels for labels in seen) >= len(pictures) / 2
        assert {"object"} == {hit["label"] for answer in answers for hit in answer["roi_hits"] if hit["hit"]}
        drawn = client.post("/infer", files={"file": ("a.jpg", pictures[0])}, headers={"accept": "image/jpeg"})
        assert simplejpeg.decode_jpeg_header(drawn.content)[:2] == (720, 1280)
        assert "geheim" not in client.get("/config/cameras").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == EXIT_OK
    lines = log.read_text().splitlines()
    assert "geheim" not in "".join(lines)
    for line in lines:
        # librdkafka says once itself that nobody is there.
        assert line.startswith("%") or json.loads(line)["stage"] == "api", line
    paths = [json.loads(line)["path"] for line in lines if '"request"' in line]
    assert paths == ["/infer"] * (len(pictures) + 1) + ["/config/cameras"], "probes are quiet"


@needs_model
def test_uvicorn_starts_the_application_by_its_name(tmp_path):
    port = free_port()
    command = ["uvicorn", "api.main:app", "--port", str(port)]
    with server(command, environ(write_configs(tmp_path)), port, tmp_path / "log") as (client, _):
        assert client.get("/health").status_code == 200
        assert client.get("/openapi.json").json()["info"]["title"] == "Backsight"


def test_a_model_that_is_not_there_leaves_an_api_that_says_so(tmp_path):
    port = free_port()
    command = ["cli.main", "api", "--port", str(port)]
    env = environ(write_configs(tmp_path), INFERENCE_MODEL_PATH="models/none.onnx")
    with server(command, env, port, tmp_path / "log") as (client, _):
        answer = client.get("/health")
        assert answer.status_code == 503
        assert "none.onnx" in answer.json()["model"]["detail"]
        assert client.get("/config/rois").status_code == 200


def test_a_taken_port_and_a_setting_that_does_not_check_end_at_once(tmp_path):
    command = [sys.executable, "-m", "cli.main", "api"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        env = environ(write_configs(tmp_path), API_PORT=str(taken.getsockname()[1]))
        ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=60)
    assert ended.returncode == EXIT_FAULT
    assert b"cannot_listen" in ended.stderr
    assert b"in use" in ended.stderr
    env = environ(tmp_path, API_PORT="many", INFERENCE_DEVICE="tpu")
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=60)
    assert ended.returncode == EXIT_CONFIG
    assert b"API_PORT" in ended.stderr
    assert b"INFERENCE_DEVICE" in ended.stderr


def test_a_head_that_never_ends_and_a_body_that_never_comes_hold_up_nobody(tmp_path):
    port = free_port()
    command = ["cli.main", "api", "--port", str(port)]
    env = environ(write_configs(tmp_path), INFERENCE_MODEL_PATH="models/none.onnx")
    with server(command, env, port, tmp_path / "log") as (client, _):
        head = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\n"
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
        try:
            for number, each in enumerate(slow):
                each.sendall(head if number % 2 else head[:20])
            started = time.monotonic()
            assert client.get("/livez").status_code == 200
            assert time.monotonic() - started < 2
        finally:
            for each in slow:
                each.close()


def test_beyond_this_machine_a_first_token_is_made_and_shown_once(tmp_path):
    port = free_port()
    command = ["cli.main", "api", "--host", "0.0.0.0", "--port", str(port)]
    env = environ(write_configs(tmp_path), INFERENCE_MODEL_PATH="models/none.onnx")
    log = tmp_path / "log"
    with server(command, env, port, log) as (client, _):
        assert client.get("/health").json() == {"status": "failed"}
        assert client.get("/alerts").status_code == 401
        (line,) = (line for line in log.read_text().splitlines() if "first_token_made" in line)
        said = json.loads(line)
        assert "Authorization: Bearer TOKEN" in said["use"], "how to use it is not hidden either"
        admin = {"Authorization": f"Bearer {said['token']}"}
        assert client.get("/alerts", headers=admin).status_code == 200
        assert "none.onnx" in client.get("/health", headers=admin).json()["model"]["detail"]
        made = subprocess.run(
            [sys.executable, "-m", "cli.main", "tokens", "create", "wall", "--role", "read"],
            cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        wall = {"Authorization": f"Bearer {made.stdout.strip()}"}
        assert client.get("/alerts", headers=wall).status_code == 200, "taken up without a restart"
        assert client.get("/config/cameras", headers=wall).status_code == 200
        assert client.put("/config/rois", headers=wall, json={}).status_code == 403
    assert log.read_text().count(said["token"]) == 1
    assert made.stdout.strip() not in log.read_text()
    with server(command, env, port, tmp_path / "second") as (client, _):
        assert client.get("/alerts", headers=admin).status_code == 200
    assert "first_token_made" not in (tmp_path / "second").read_text()
    for file in tmp_path.rglob("*"):
        if file.is_file() and file != log:
            assert said["token"].encode() not in file.read_bytes(), file


def test_off_must_be_said_and_is_warned_of(tmp_path):
    port = free_port()
    command = ["cli.main", "api", "--host", "0.0.0.0", "--port", str(port)]
    env = environ(write_configs(tmp_path), INFERENCE_MODEL_PATH="models/none.onnx", API_AUTH="off")
    with server(command, env, port, tmp_path / "log") as (client, _):
        assert client.get("/alerts").status_code == 200
    assert "api_auth_off" in (tmp_path / "log").read_text()
    assert not (tmp_path / "tokens.json").exists()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "cert.pem", folder / "key.pem"
    self_signed(made, key)
    return made, key


def test_the_api_speaks_tls_with_a_certificate_and_its_key(tmp_path, certificate):
    port = free_port()
    made, key = certificate
    command = ["cli.main", "api", "--port", str(port)]
    env = environ(
        write_configs(tmp_path),
        INFERENCE_MODEL_PATH="models/none.onnx",
        API_TLS_CERTIFICATE=str(made),
        API_TLS_KEY=str(key),
    )
    with server(command, env, port, tmp_path / "log", made) as (client, _):
        assert client.get("/health").json()["status"] == "failed"
        with socket.create_connection(("127.0.0.1", port)) as plain:
            wrapped = ssl.create_default_context(cafile=made).wrap_socket(plain, server_hostname="localhost")
            assert wrapped.version() in ("TLSv1.2", "TLSv1.3")
            wrapped.close()
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
        with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            httpx.get(f"https://localhost:{port}/health", trust_env=False)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(OSError):
            old.wrap_socket(plain)


@pytest.mark.parametrize(
    "told",
    [
        {"API_TLS_CERTIFICATE": "{cert}"},
        {"API_TLS_CERTIFICATE": "{cert}", "API_TLS_KEY": "{cert}"},
        {"API_TLS_CERTIFICATE": "/no/such", "API_TLS_KEY": "{key}"},
        {"API_TOKENS_FILE": "{cert}"},
        {"API_AUTH": "maybe"},
    ],
)
def test_what_does_not_check_of_tls_and_tokens_ends_at_once_with_its_name(tmp_path, certificate, told):
    made, key = certificate
    env = environ(write_configs(tmp_path), **{name: v.format(cert=made, key=key) for name, v in told.items()})
    command = [sys.executable, "-m", "cli.main", "api", "--port", "0"]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=60)
    assert ended.returncode == EXIT_CONFIG, ended.stderr
    assert next(iter(told)) in ended.stderr.decode()


@needs_model
def test_another_model_in_services_yaml_takes_over_while_it_serves(tmp_path):
    configs = write_configs(tmp_path)
    services, path = configs / "services.yaml", tmp_path / "next.onnx"
    port = free_port()
    command = ["cli.main", "api", "--port", str(port)]
    with server(command, environ(configs), port, tmp_path / "log") as (client, process):

        def model_once(**expected: str) -> dict[str, str]:
            deadline = time.monotonic() + 30
            while True:
                model = client.get("/health").json()["model"]
                if expected.items() <= model.items():
                    return model
                assert time.monotonic() < deadline, model
                time.sleep(0.1)  # the file is looked at every two seconds

        before = model_once(status="ready", name="yard")
        services.write_text(f"inference: {{model_path: {path}}}\n")
        deadline = time.monotonic() + 30
        while "there is no such model file" not in client.get("/health").json()["model"].get("detail", ""):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert client.get("/health").status_code == 200, "the model before goes on"
        # The same network under another hash: a field that no reader knows is added to the file.
        path.write_bytes(MODEL.read_bytes() + b"\x82\x7d\x01x")
        after = model_once(status="ready", name="next", version="unregistered")
        assert "detail" not in after
        picture = simplejpeg.encode_jpeg(np.full((48, 64, 3), 90, np.uint8))
        answer = client.post("/infer", content=picture, headers=JPEG).json()
        assert answer["model"]["sha256"] == after["sha256"] != before["sha256"]
        series = [line for line in client.get("/metrics").text.splitlines() if line.startswith("backsight_model_info{")]
        assert len(series) == 1
        assert after["sha256"] in series[0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == EXIT_OK
