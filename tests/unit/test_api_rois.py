"""The ROIs through the API: read, read as they were, replaced, and who may."""

import json
import time

import pytest

from api.kafka_watch import KafkaState
from runtime.kafka import BrokerUnreachable
from runtime.roi_apply import AHEAD_MS
from schemas.documents.rois import Rois
from tests.support.api import Seeing, Topics, make_app, serving, write_configs

GATE = {
    "camera_id": "cam_yard",
    "forbidden_rois": [{"name": "dock", "points": [[10, 10], [90, 10], [90, 90]]}],
    "alert_classes": ["object"],
}
ROIS = {"cameras": [GATE]}
CRITICAL = {"cameras": [{**GATE, "forbidden_rois": [{**GATE["forbidden_rois"][0], "severity": "critical"}]}]}


@pytest.fixture
def topics():
    return Topics()


@pytest.fixture
def app(tmp_path, topics):
    return make_app(write_configs(tmp_path), Seeing, topics=topics)[0]


async def put(api, document, if_match="*", **headers):
    return await api.put("/config/rois", json=document, headers={"If-Match": if_match, **headers})


async def test_before_anything_was_applied_the_file_is_shown(app):
    async with serving(app) as api:
        answer = await api.get("/config/rois")
    assert answer.json()["source"] == "file"
    assert answer.json()["cameras"][0]["camera_id"] == "cam_yard"
    assert answer.headers["etag"], "so that the first document is put as every other"


async def test_what_was_put_is_answered_in_the_shape_it_was_written_in(app, topics):
    async with serving(app) as api:
        done = await put(api, ROIS)
        assert done.status_code == 200, done.text
        (camera,) = done.json()["revisions"]
        assert (camera["camera_id"], camera["effective_from"], camera["unchanged"]) == ("cam_yard", 0, False)
        answer = await api.get("/config/rois")
    assert answer.json()["source"] == "kafka"
    assert answer.json()["cameras"] == [GATE]
    assert answer.headers["etag"] == done.headers["etag"]
    (held,) = answer.json()["revisions"]
    assert held["revision"] == camera["revision"] == topics.history.newest("cam_yard").revision
    assert held["origin"] == "api"


async def test_a_change_takes_effect_ahead_and_the_instants_before_keep_theirs(app):
    async with serving(app) as api:
        first = (await put(api, ROIS)).json()["revisions"][0]
        before = round(time.time() * 1000)
        (change,) = (await put(api, CRITICAL)).json()["revisions"]
        assert change["effective_from"] >= before + AHEAD_MS
        (again,) = (await put(api, CRITICAL)).json()["revisions"]
        assert again == {**change, "unchanged": True}
        for at, revision in ((change["effective_from"] - 1, first), (change["effective_from"], change)):
            (held,) = (await api.get("/config/rois", params={"at": str(at)})).json()["revisions"]
            assert held["revision"] == revision["revision"]
        now = await api.get("/config/rois?at=now")
        assert now.json()["cameras"] == [GATE]
        assert "etag" not in now.headers, "what held then is not what would be replaced"


async def test_a_camera_that_the_document_leaves_out_has_no_rois_any_more(app):
    async with serving(app) as api:
        await put(api, ROIS)
        gone = await put(api, {"cameras": []})
        assert gone.json()["revisions"][0]["unchanged"] is False
        answer = (await api.get("/config/rois")).json()
    assert answer["cameras"] == []
    assert [each["camera_id"] for each in answer["revisions"]] == ["cam_yard"]


async def test_of_two_people_who_saw_the_same_rois_the_second_is_told(app, topics):
    async with serving(app) as api:
        await put(api, ROIS)
        seen = (await api.get("/config/rois")).headers["etag"]
        assert (await put(api, CRITICAL, seen)).status_code == 200
        refused = await put(api, ROIS, seen)
        assert refused.status_code == 412
        assert "cam_yard" in refused.json()["detail"]
        assert (await put(api, ROIS, f'"other", {(await api.get("/config/rois")).headers["etag"]}')).status_code == 200
        blind = await api.put("/config/rois", json=ROIS)
        assert blind.status_code == 428
        assert "If-Match" in blind.json()["detail"]
    assert len(topics.history.of("cam_yard")) == 3


async def test_every_mistake_is_told_with_its_place_and_nothing_changes(app, topics):
    wrong = {
        "cameras": [
            {**GATE, "forbidden_rois": [{"name": "a", "points": [[1, 1], [2, 2]]}]},
            {**GATE, "allowed_classes": ["object"]},
        ]
    }
    async with serving(app) as api:
        refused = await put(api, wrong)
        assert refused.status_code == 422
        assert refused.headers["content-type"] == "application/problem+json"
        assert {each["place"] for each in refused.json()["errors"]} == {
            "cameras[0].forbidden_rois[0].points",
            "cameras[1].camera_id",
            "cameras[1].alert_classes",
        }
        shapeless = await put(api, {"cameras": [{**GATE, "colour": 1, "alert_classes": "object"}]})
        places = {each["place"] for each in shapeless.json()["errors"]}
        assert places == {"cameras[0].colour", "cameras[0].alert_classes"}
        hasty = {**GATE["forbidden_rois"][0], "confirm": {"hits": 100, "within_seconds": 1}}
        never = await put(api, {"cameras": [{**GATE, "forbidden_rois": [hasty]}]})
        assert [each["place"] for each in never.json()["errors"]] == ["cameras[0].forbidden_rois[0].confirm"]
    assert topics.history.cameras() == ()


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 422),
        (b"{", "application/json", 422),
        (b'{"cameras": [], "cameras": []}', "application/json", 422),
        (b'{"cameras": [{"camera_id": "a", "camera_id": "b"}]}', "application/json", 422),
        (b'{"cameras": [{"camera_id": "\xff"}]}', "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b'{"cameras": {}}', "application/json", 422),
        (json.dumps(ROIS).encode(), "text/plain", 415),
        (b" " * 1_100_000, "application/json", 413),
    ],
)
async def test_a_body_that_is_no_document_is_refused(app, topics, body, kind, status):
    async with serving(app) as api:
        answer = await api.put("/config/rois", content=body, headers={"content-type": kind, "If-Match": "*"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert topics.history.cameras() == ()


async def test_doubts_come_back_as_warnings(app):
    async with serving(app) as api:
        done = await put(api, {"cameras": [{**GATE, "camera_id": "nobody"}]})
    assert {"cameras[0].camera_id", "cameras.yaml"} <= {each["place"] for each in done.json()["warnings"]}


async def test_without_kafka_the_file_is_shown_and_nothing_else_is_done(tmp_path, topics):
    topics.away = BrokerUnreachable("roi-revisions: nobody answers")
    configs = write_configs(tmp_path)
    known, _ = make_app(configs, Seeing, topics=topics, kafka=KafkaState("unreachable", "no broker"))
    asked, _ = make_app(configs, Seeing, topics=topics, kafka=KafkaState("unknown"))
    for app in (known, asked):
        async with serving(app) as api:
            shown = await api.get("/config/rois")
            assert (shown.status_code, shown.json()["source"], "etag" in shown.headers) == (200, "file", False)
            for answer in (await put(api, ROIS), await api.get("/config/rois?at=-1h")):
                assert answer.status_code == 503
                assert answer.headers["retry-after"]


@pytest.mark.parametrize("at", ["yesterday", "", "-7y", "0001-01-01", "-99999999d", "1e3"])
async def test_an_instant_that_is_none_is_refused_with_what_was_expected(app, at):
    async with serving(app) as api:
        answer = await api.get("/config/rois", params={"at": at})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["place"] == "query.at"


def test_the_document_put_is_the_document_of_the_file():
    assert Rois.model_validate_json(json.dumps(CRITICAL), strict=True) == Rois.model_validate(CRITICAL)
