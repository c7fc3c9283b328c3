"""Health, the documents, and the one shape of errors."""

import asyncio

import pytest
import structlog

from api.documents import shown_url
from api.kafka_watch import KafkaState
from tests.support.api import ROIS, Seeing, make_app, serving, write_configs

SECRET = "geheim"


@pytest.fixture
def configs(tmp_path):
    return write_configs(tmp_path)


async def test_health_is_well_once_the_model_is_loaded(configs):
    seeing = Seeing()
    app, looking = make_app(configs, lambda: seeing)
    async with serving(app) as api:
        before = await api.get("/health")
        assert before.status_code == 503
        assert before.json()["status"] == "loading"
        assert (await api.get("/livez")).status_code == 200
        assert (await api.get("/readyz")).status_code == 503
        await asyncio.wrap_future(looking.start())
        after = await api.get("/health")
        assert after.status_code == 200
        body = after.json()
        assert body["status"] == "ok"
        assert body["uptime_seconds"] >= 0
        assert body["version"]
        assert body["model"] == {
            "status": "ready", "name": "fake", "version": "3", "sha256": "ab" * 32, "device": "cpu",
        }  # fmt: skip
        assert body["kafka"] == {"status": "ok"}
        assert (await api.get("/readyz")).status_code == 200
        assert b"backsight_" in (await api.get("/metrics")).content
    looking.close()


async def test_a_model_that_cannot_be_loaded_is_said_and_the_rest_goes_on(configs):
    def broken():
        raise FileNotFoundError("models/none.onnx: no such file")

    app, looking = make_app(configs, broken)
    await asyncio.wrap_future(looking.start())
    async with serving(app) as api:
        answer = await api.get("/health")
        assert answer.status_code == 503
        assert answer.json()["model"]["detail"] == "models/none.onnx: no such file"
        assert (await api.get("/config/rois")).status_code == 200
        refused = await api.post("/infer", content=b"\xff\xd8\xff", headers={"content-type": "image/jpeg"})
        assert refused.status_code in (422, 503)
    looking.close()


async def test_kafka_away_does_not_make_the_api_ill(configs):
    app, looking = make_app(configs, Seeing, kafka=KafkaState("unreachable", "Local: Broker transport failure"))
    await asyncio.wrap_future(looking.start())
    async with serving(app) as api:
        answer = await api.get("/health")
        assert answer.status_code == 200
        assert answer.json()["kafka"] == {"status": "unreachable", "detail": "Local: Broker transport failure"}
    looking.close()


async def test_the_documents_come_in_their_yaml_shape_without_credentials(configs):
    app, _ = make_app(configs, Seeing)
    async with serving(app) as api:
        cameras = (await api.get("/config/cameras")).json()["cameras"]
        rois = (await api.get("/config/rois")).json()["cameras"]
    assert cameras == [
        {
            "id": "cam_yard",
            "name": "Yard, door 2",
            "rtsp_url": "rtsp://***@192.168.1.10:554/Streaming/Channels/101?pwd=***&profile=1",
        },
        {"id": "cam_bare", "url": "rtsp://***@[2001:db8::7]/live", "enabled": False},
    ]
    assert rois[0]["forbidden_rois"][0]["confirm"] == {"hits": 2, "within_seconds": 2}
    assert "reference_size" not in rois[0]["forbidden_rois"][0], "what nobody wrote is not shown"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://cam.admin:geheim@host/live", "rtsp://***@host/live"),
        ("rtsp://user%40x:geheim@host/live", "rtsp://***@host/live"),
        ("rtsp://user:ge@geheim@host/live", "rtsp://***@host/live"),
        ("rtsp://user:geheim/geheim?#@host/live", "rtsp://***@host/live"),
        ("rtsp://:geheim@host/live", "rtsp://***@host/live"),
        ("rtsp://geheim@[2001:db8::1]:554/live", "rtsp://***@[2001:db8::1]:554/live"),
        ("rtsp://host/live?usr=geheim&pwd=geheim&channel=1", "rtsp://host/live?usr=***&pwd=***&channel=1"),
        ("rtsp://host/live?channel=1", "rtsp://host/live?channel=1"),
        ("admin:geheim@host/live", "***@host/live"),
        ("clips/yard.mp4", "clips/yard.mp4"),
        ("/dev/video0", "/dev/video0"),
    ],
)
async def test_no_credential_of_a_camera_is_shown(tmp_path, url, shown):
    assert shown_url(url) == shown
    cameras = f"cameras:\n  - id: cam\n    name: 'the one at {url}'\n    url: '{url}'\n"
    app, _ = make_app(write_configs(tmp_path, cameras), Seeing)
    async with serving(app) as api:
        answer = await api.get("/config/cameras")
        assert answer.status_code == 200
        assert answer.json()["cameras"][0]["url"] == shown
        if "://" in url:  # a name is a text: only what looks like a URL in it can be known for one
            assert SECRET not in answer.text


async def test_a_document_that_does_not_check_is_a_problem_with_places_and_no_values(tmp_path):
    cameras = "cameras:\n  - id: cam\n    url: 'rtsp://user:geheim@host/'\n    fps_target: geheim\n    colour: geheim\n"
    app, _ = make_app(write_configs(tmp_path, cameras, ROIS.replace("[1, 1]", "[1]")), Seeing)
    async with serving(app) as api:
        answer = await api.get("/config/cameras")
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert {each["place"] for each in answer.json()["errors"]} == {
            "cameras.yaml: cameras[0].fps_target",
            "cameras.yaml: cameras[0].colour",
        }
        assert SECRET not in answer.text
        answer = await api.get("/config/rois")
        assert answer.status_code == 500
        assert "forbidden_rois[0].points" in answer.text


async def test_a_folder_without_documents_has_none(tmp_path):
    app, _ = make_app(tmp_path, Seeing)
    async with serving(app) as api:
        assert (await api.get("/config/cameras")).json() == {"cameras": []}
        assert (await api.get("/config/rois")).json() == {"cameras": [], "source": "file", "revisions": []}


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nope", 404), ("GET", "/infer", 405), ("PUT", "/health", 405)]
)
async def test_every_error_has_the_one_shape(configs, method, path, status):
    app, _ = make_app(configs, Seeing)
    async with serving(app) as api:
        answer = await api.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    if status == 405:
        assert answer.headers["allow"]


async def test_a_method_that_a_path_does_not_know_is_answered_with_all_that_it_knows(configs):
    app, _ = make_app(configs, Seeing)
    async with serving(app) as api:
        answer = await api.delete("/config/rois")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PUT")


async def test_the_access_log_names_no_query_and_is_quiet_for_probes(configs):
    app, _ = make_app(configs, Seeing)
    with structlog.testing.capture_logs() as lines:
        async with serving(app) as api:
            await api.get("/config/rois?token=geheim")
            await api.get("/health")
    (line,) = lines
    assert (line["event"], line["method"], line["path"], line["status"]) == ("request", "GET", "/config/rois", 200)
    assert SECRET not in str(line)


async def test_the_openapi_document_names_every_route_and_the_problem(configs):
    app, _ = make_app(configs, Seeing)
    async with serving(app) as api:
        document = (await api.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/health", "/livez", "/readyz", "/metrics", "/infer", "/config/rois", "/config/cameras",
        "/alerts", "/alerts/{alert_id}", "/alerts/{alert_id}/evidence.jpg", "/alerts/{alert_id}/clean.jpg",
        "/alerts/{alert_id}/clip.mp4", "/alerts/{alert_id}/mark", "/silences", "/silences/{silence_id}",
    }  # fmt: skip
    body = document["paths"]["/infer"]["post"]["requestBody"]["content"]
    assert set(body) == {"image/jpeg", "image/png", "image/webp", "multipart/form-data"}
    assert "ProblemDetails" in document["components"]["schemas"]
    assert "HTTPValidationError" not in str(document), "errors have one shape"
