"""`POST /infer`: what is answered, and what a bad upload gets."""

import asyncio
import threading

import numpy as np
import pytest
import simplejpeg

from inference.detectors.contract import DeviceLost, OutOfMemory
from tests.support.api import Seeing, bomb, encoded, jpeg, make_app, serving, write_configs

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture
def seeing():
    return Seeing()


@pytest.fixture
def limits():
    return {}


@pytest.fixture
async def api(tmp_path, seeing, limits):
    app, looking = make_app(write_configs(tmp_path), lambda: seeing, **limits)
    await asyncio.wrap_future(looking.start())
    async with serving(app) as client:
        yield client
    looking.close()


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert {"type", "title", "detail", "errors"} <= set(body)
    return body


async def test_a_picture_gets_model_size_and_detections_in_fractions_and_pixels(api):
    answer = await api.post("/infer", content=jpeg(200, 100), headers=JPEG)
    body = answer.json()
    assert answer.status_code == 200
    assert body["model"] == {"name": "fake", "version": "3", "sha256": "ab" * 32}
    assert (body["width"], body["height"]) == (200, 100)
    assert body["inference_ms"] >= 0
    assert [(each["label"], each["confidence"]) for each in body["detections"]] == [
        ("object", 0.9), ("pine", 0.8), ("object", 0.5),
    ]  # fmt: skip
    assert body["detections"][0]["box"] == [0.6, 0.2, 0.8, 0.5]
    assert body["detections"][0]["box_pixels"] == [120.0, 20.0, 160.0, 50.0]
    assert "roi_hits" not in body


async def test_detections_under_the_default_confidence_are_shown_when_asked_for(api):
    answer = await api.post("/infer?min_confidence=0.1", content=jpeg(), headers=JPEG)
    assert len(answer.json()["detections"]) == 4
    answer = await api.post("/infer?min_confidence=0.85", content=jpeg(), headers=JPEG)
    assert len(answer.json()["detections"]) == 1


async def test_with_a_camera_it_says_which_detection_lies_in_which_roi_and_that_it_confirms_nothing(api):
    body = (await api.post("/infer?camera_id=cam_yard", content=jpeg(), headers=JPEG)).json()
    assert [(hit["roi"], hit["detection"], hit["hit"]) for hit in body["roi_hits"]] == [
        ("whole", 0, True), ("whole", 2, True), ("left", 2, False),
    ]  # fmt: skip
    assert body["roi_hits"][2]["confident"] is False
    assert len(body["roi_revision"]) == 16
    assert "cannot confirm an alert" in body["note"]


async def test_a_camera_without_rois_has_no_hits_and_an_unknown_one_is_not_found(api):
    body = (await api.post("/infer?camera_id=cam_bare", content=jpeg(), headers=JPEG)).json()
    assert body["roi_hits"] == []
    problem(await api.post("/infer?camera_id=cam_nowhere", content=jpeg(), headers=JPEG), 404)
    body = problem(await api.post("/infer?camera_id=../x", content=jpeg(), headers=JPEG), 422)
    assert body["errors"][0]["place"] == "query.camera_id"
    assert "../x" not in str(body)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (jpeg(100, 80), "image/jpeg"),
        (encoded(".png"), "image/png"),
        (encoded(".webp"), "image/webp"),
        (encoded(".png"), "application/octet-stream"),
        (jpeg(100, 80), "IMAGE/JPEG; charset=binary"),
        (jpeg(100, 80), None),
    ],
)
async def test_jpeg_png_and_webp_are_taken_raw_and_as_a_field(api, content, kind):
    headers = {} if kind is None else {"content-type": kind}
    raw = await api.post("/infer", content=content, headers=headers)
    field = await api.post("/infer", files={"file": ("picture", content, kind or "text/plain")})
    for answer in (raw, field):
        assert answer.status_code == 200, answer.text
        assert (answer.json()["width"], answer.json()["height"]) == (100, 80)


async def test_the_annotated_picture_has_the_size_of_the_picture(api):
    for query in ("", "?camera_id=cam_yard"):
        answer = await api.post(f"/infer{query}", content=jpeg(320, 200), headers={**JPEG, "accept": "image/jpeg"})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/jpeg"
        picture = simplejpeg.decode_jpeg(answer.content)
        assert picture.shape == (200, 320, 3)
        assert np.ptp(picture) > 100, "something is drawn on the even grey"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("image/*", "image/jpeg"),
        ("application/json, image/jpeg", "application/json"),
        ("application/json;q=0.5, image/jpeg", "image/jpeg"),
        ("image/jpeg;q=0.5, */*", "application/json"),
        ("text/html, image/jpeg;q=0", None),
        ("text/html", None),
        ("image/jpeg;q=nonsense", None),
    ],
)
async def test_the_kind_of_answer_is_negotiated(api, accept, kind):
    answer = await api.post("/infer", content=jpeg(), headers={**JPEG, "accept": accept})
    if kind is None:
        problem(answer, 406)
    else:
        assert answer.headers["content-type"] == kind


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/gif", "image/svg+xml"])
async def test_other_kinds_are_refused_with_what_was_expected(api, kind):
    body = problem(await api.post("/infer", content=b"GIF89a", headers={"content-type": kind}), 415)
    assert "image/jpeg, image/png or image/webp" in body["detail"]


async def test_bytes_that_are_no_picture_or_another_than_said_are_refused(api):
    problem(await api.post("/infer", content=b"GIF89a....", headers=JPEG), 415)
    problem(await api.post("/infer", content=encoded(".png"), headers=JPEG), 415)
    problem(await api.post("/infer", content=b"", headers=JPEG), 422)
    problem(await api.post("/infer", content=jpeg()[:60], headers=JPEG), 422)
    problem(await api.post("/infer", content=b"\xff\xd8\xff", headers=JPEG), 422)


@pytest.mark.parametrize("limits", [{"max_bytes": 2000}])
async def test_a_picture_of_too_many_bytes_is_refused_before_it_is_read(api, seeing):
    large = jpeg() + b"\0" * 2000
    problem(await api.post("/infer", content=large, headers=JPEG), 413)
    problem(await api.post("/infer", files={"file": ("picture", large, "image/jpeg")}), 413)
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 500
            yield jpeg()[:500].ljust(500, b"\0")

    problem(await api.post("/infer", content=endless(), headers=JPEG), 413)
    assert sent < 4000
    assert seeing.sizes == []


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (20_000, 10), (1001, 1000)])
async def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(api, seeing, width, height):
    body = problem(await api.post("/infer", content=bomb(width, height), headers={"content-type": "image/png"}), 413)
    assert "pixels" in body["detail"]
    assert seeing.sizes == []


async def test_a_multipart_body_without_the_file_says_what_is_missing(api):
    body = problem(await api.post("/infer", files={"picture": ("a", jpeg(), "image/jpeg")}), 422)
    assert body["errors"] == [{"place": "body.file", "message": "is missing"}]
    body = problem(await api.post("/infer", files={"file": (None, b"text")}), 422)
    assert "expected a file" in body["errors"][0]["message"]
    kind = {"content-type": "multipart/form-data; boundary=x"}
    problem(await api.post("/infer", content=b"--x\r\nnonsense", headers=kind), 422)
    problem(await api.post("/infer", content=b"--x", headers={"content-type": "multipart/form-data"}), 422)
    two = [("file", ("a", jpeg(), "image/jpeg")), ("other", ("b", jpeg(), "image/jpeg"))]
    problem(await api.post("/infer", files=two), 422)


@pytest.mark.parametrize("limits", [{"waiting": 1}])
async def test_more_pictures_than_the_queue_takes_are_told_to_come_again_and_health_stays_quick(api, seeing):
    seeing.wait = threading.Event()
    asked = [asyncio.ensure_future(api.post("/infer", content=jpeg(), headers=JPEG)) for _ in range(3)]
    ended, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    (refused,) = [each.result() for each in ended]  # one is looked at, one waits
    assert problem(refused, 503)
    assert refused.headers["retry-after"] == "1"
    assert (await api.get("/health")).status_code == 200
    seeing.wait.set()
    answers = await asyncio.gather(*asked)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503]
    assert (await api.post("/infer", content=jpeg(), headers=JPEG)).status_code == 200


async def test_no_memory_now_may_be_tried_again_and_a_lost_device_needs_a_new_process(api, seeing):
    seeing.error = OutOfMemory("CUDA out of memory")
    problem(await api.post("/infer", content=jpeg(), headers=JPEG), 503)
    assert (await api.get("/health")).status_code == 200
    seeing.error = DeviceLost("cuda:0: an illegal memory access was encountered")
    problem(await api.post("/infer", content=jpeg(), headers=JPEG), 503)
    for path in ("/health", "/livez", "/readyz"):
        assert (await api.get(path)).status_code == 503


async def test_a_fault_of_ours_is_a_problem_without_its_insides(api, seeing):
    seeing.error = RuntimeError("rtsp://user:geheim@host went wrong")
    body = problem(await api.post("/infer", content=jpeg(), headers=JPEG), 500)
    assert "geheim" not in str(body)


async def test_the_detector_gets_a_picture_no_larger_than_it_needs(api, seeing):
    await api.post("/infer", content=jpeg(800, 800), headers=JPEG)
    (size,) = seeing.sizes
    assert 64 <= size[0] < 800
