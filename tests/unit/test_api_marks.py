"""Saying of an alert that it was right, through the API."""

import time

import pytest

from runtime.kafka import BrokerUnreachable
from runtime.marks import SEARCHED_MS
from schemas.messages import Mark
from tests.support.alerts import opened
from tests.support.api import Seeing, Topics, make_app, serving, write_configs

ALERT = opened()
PATH = f"/alerts/{ALERT.alert_id}/mark"


@pytest.fixture
def topics():
    made = Topics()
    made.alerts = [ALERT]
    return made


@pytest.fixture
def app(tmp_path, topics):
    return make_app(write_configs(tmp_path), Seeing, topics=topics)[0]


async def test_an_alert_is_marked_with_who_and_why(app, topics):
    before = round(time.time() * 1000)
    async with serving(app) as api:
        answer = await api.post(PATH, json={"true": False, "by": "ana", "comment": "a cat"})
        assert answer.status_code == 200, answer.text
        await api.post(PATH, json={"true": True})
    first, second = topics.marks
    assert first == Mark(ALERT.alert_id, False, first.marked_at, "ana", "a cat")
    assert answer.json()["marked_at"] == first.marked_at >= before
    assert (second.true, second.by, second.comment) == (True, "this machine", None)
    assert topics.searched_since >= before - SEARCHED_MS


async def test_an_alert_that_nobody_knows_is_not_marked(app, topics):
    async with serving(app) as api:
        unknown = await api.post("/alerts/00000000-0000-5000-8000-000000000000/mark", json={"true": True})
        assert unknown.status_code == 404
        assert (await api.post("/alerts/7/mark", json={"true": True})).status_code == 422
    assert topics.marks == []


@pytest.mark.parametrize("body", [{}, {"true": "yes"}, {"true": True, "colour": 1}, {"true": True, "by": ""}, [], 1])
async def test_a_mark_that_does_not_check_is_refused(app, topics, body):
    async with serving(app) as api:
        answer = await api.post(PATH, json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]
    assert topics.marks == []


async def test_without_kafka_nothing_is_marked(app, topics):
    topics.away = BrokerUnreachable("alerts: nobody answers")
    async with serving(app) as api:
        assert (await api.post(PATH, json={"true": True})).status_code == 503
    assert topics.marks == []
