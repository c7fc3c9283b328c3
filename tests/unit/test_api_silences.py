"""Silences through the API."""

import time

import pytest

from api.kafka_watch import KafkaState
from api.tokens import TokenFile
from runtime.kafka import BrokerUnreachable
from schemas.messages import Silence
from tests.support.api import Seeing, Topics, guarding, make_app, serving, write_configs

WORKS = {"matchers": ["camera = gate_1"], "for": "2h", "comment": "works on the gate"}
HOUR = 3_600_000


@pytest.fixture
def topics():
    return Topics()


@pytest.fixture
def make(tmp_path, topics):
    configs = write_configs(tmp_path)

    def made(*roles, cameras=None, kafka=None):
        token = TokenFile(configs / "tokens.json").create("ana", roles, cameras, None, 0)
        app, _ = make_app(configs, Seeing, topics=topics, guard=guarding(configs), kafka=kafka)
        return serving(app, token=token)

    return made


async def test_a_silence_is_made_listed_and_ended_and_stays_on_record(make, topics):
    before = round(time.time() * 1000)
    async with make("admin") as api:
        made = await api.post("/silences", json=WORKS)
        assert made.status_code == 201, made.text
        silence = made.json()
        assert (silence["author"], silence["comment"]) == ("ana", "works on the gate")
        assert before + 2 * HOUR <= silence["ends_at"] == silence["starts_at"] + 2 * HOUR
        assert topics.silences[silence["silence_id"]].matchers == ("camera = gate_1",)
        assert (await api.get("/silences")).json()["silences"] == [silence]
        ended = await api.delete(f"/silences/{silence['silence_id']}")
        assert ended.status_code == 200
        assert before <= ended.json()["ends_at"] <= round(time.time() * 1000)
        assert (await api.get("/silences")).json()["silences"] == []
        assert (await api.get("/silences?all=true")).json()["silences"] == [ended.json()]
        assert (await api.delete(f"/silences/{silence['silence_id']}")).status_code == 404


async def test_it_may_begin_later_and_end_at_an_instant(make):
    now = round(time.time() * 1000)
    told = {**WORKS, "starts": str(now + HOUR), "until": str(now + 3 * HOUR)}
    del told["for"]
    async with make("admin") as api:
        made = (await api.post("/silences", json=told)).json()
    assert (made["starts_at"], made["ends_at"]) == (now + HOUR, now + 3 * HOUR)


@pytest.mark.parametrize(
    "changed",
    [
        {"for": None},
        {"until": "2030-01-01"},
        {"for": "8d"},
        {"for": "soon"},
        {"for": "0h"},
        {"starts": "whenever"},
        {"matchers": []},
        {"matchers": ["camera"]},
        {"matchers": ["colour = red"]},
        {"matchers": ["camera =~ ("]},
        {"comment": ""},
        {"comment": "  "},
        {"author": "somebody else"},
    ],
)
async def test_what_cannot_be_meant_is_refused_and_nothing_is_written(make, topics, changed):
    async with make("admin") as api:
        answer = await api.post("/silences", json={**WORKS, **changed})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["message"]
    assert topics.silences == {}


async def test_who_reads_may_list_and_not_write(make, topics):
    async with make("read") as api:
        assert (await api.get("/silences")).status_code == 200
        assert (await api.post("/silences", json=WORKS)).status_code == 403
        assert (await api.delete("/silences/00000000-0000-5000-8000-000000000000")).status_code == 403
    assert topics.silences == {}


async def test_a_token_for_a_camera_silences_that_camera_alone(make, topics):
    now = round(time.time() * 1000)
    others = Silence("00000000-0000-4000-8000-000000000000", ("severity = info",), now, now + HOUR, "ben", "x", now)
    topics.silences[others.silence_id] = others
    async with make("admin", cameras=["gate_1"]) as api:
        assert (await api.post("/silences", json=WORKS)).status_code == 201
        narrower = {**WORKS, "matchers": ["roi = dock", 'camera = "gate_1"']}
        assert (await api.post("/silences", json=narrower)).status_code == 201
        for matchers in (["camera = gate_2"], ["severity = info"], ["camera =~ gate_1"], ["camera != gate_1"]):
            assert (await api.post("/silences", json={**WORKS, "matchers": matchers})).status_code == 403, matchers
        assert len((await api.get("/silences")).json()["silences"]) == 2
        assert (await api.delete(f"/silences/{others.silence_id}")).status_code == 404
    assert topics.silences[others.silence_id] == others


async def test_without_kafka_nothing_is_silenced(make, topics):
    async with make("admin", kafka=KafkaState("unreachable", "no broker")) as api:
        for answer in (await api.get("/silences"), await api.post("/silences", json=WORKS)):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    topics.away = BrokerUnreachable("silences: nobody answers")
    assert topics.silences == {}
