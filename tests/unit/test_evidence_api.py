"""Alerts and their evidence through the API."""

import time

import pytest

from evidence.clip import ClipBusy, ClipGone, ClipNotYet
from evidence.store import Account, EvidenceStore
from runtime.kafka import BrokerUnreachable
from runtime.signing import sign
from runtime.store import StoreTrouble
from schemas.messages import Delivery, Mark
from tests.support.alerts import OPENED_AT, opened, resolved
from tests.support.api import Seeing, Topics, guarding, jpeg, make_app, serving, write_configs

ALERTS = [opened(number, camera="gate" if number % 2 else "dock") for number in range(5)]
ALERT = ALERTS[4]
PATH = f"/alerts/{ALERT.alert_id}"
SECRET = "correct horse battery"
REMOTE = {"peer": "192.0.2.7", "url": "http://plant.example"}


@pytest.fixture
def topics():
    made = Topics()
    for alert in ALERTS:
        made.index.take(alert)
    made.index.take(resolved(ALERTS[3]))
    return made


@pytest.fixture
def store(tmp_path):
    return EvidenceStore(str(tmp_path / "evidence"))


@pytest.fixture
def showing(topics, store):
    return topics.showing(store)


@pytest.fixture
def make(tmp_path, topics):
    def made(showing, secret=None):
        configs = write_configs(tmp_path)
        guard = guarding(configs, secret)
        return make_app(configs, Seeing, topics=topics, showing=showing, guard=guard)[0]

    return made


async def test_alerts_come_newest_first_page_by_page(make, showing):
    seen, query = [], {"limit": "2"}
    async with serving(make(showing)) as api:
        while True:
            page = (await api.get("/alerts", params=query)).json()
            seen += [each["alert_id"] for each in page["alerts"]]
            assert page["complete"] is True
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
    assert seen == [alert.alert_id for alert in reversed(ALERTS)]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"camera": "gate"}, [3, 1]),
        ({"open": "true"}, [4, 2, 1, 0]),
        ({"open": "false"}, [3]),
        ({"since": str(OPENED_AT + 3000)}, [4, 3]),
        ({"until": "2023-11-14T22:13:21Z"}, [1, 0]),
        ({"camera": "dock", "severity": "critical", "label": "object", "roi": "loading_zone"}, [4, 2, 0]),
        ({"severity": "info"}, []),
    ],
)
async def test_filters_narrow_the_list(make, showing, query, numbers):
    async with serving(make(showing)) as api:
        page = (await api.get("/alerts", params=query)).json()
    assert [each["alert_id"] for each in page["alerts"]] == [ALERTS[number].alert_id for number in numbers]


@pytest.mark.parametrize(
    "query", [{"since": "yesterday"}, {"limit": "0"}, {"limit": "201"}, {"cursor": "2"}, {"severity": "grave"}]
)
async def test_a_filter_that_does_not_check_is_refused_with_its_place(make, showing, query):
    async with serving(make(showing)) as api:
        answer = await api.get("/alerts", params=query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["place"] == f"query.{next(iter(query))}"


async def test_an_alert_is_shown_with_its_deliveries_and_its_mark(make, showing, topics):
    topics.index.take_delivery(Delivery(f"{ALERT.alert_id}_0", "webhook", "gave_up", 3, 1, 2, "timeout"))
    topics.index.take_mark(Mark(ALERT.alert_id, False, 7, "ana", "a cat"))
    async with serving(make(showing)) as api:
        shown = (await api.get(PATH)).json()
    assert (shown["phase"], shown["camera_id"], shown["confidence"]) == ("opened", "dock", 0.87)
    assert (shown["deliveries"][0]["outcome"], shown["deliveries"][0]["reason"]) == ("gave_up", "timeout")
    assert shown["mark"] == {"true": False, "by": "ana", "marked_at": 7, "comment": "a cat"}
    assert shown["evidence"] == f"{PATH}/evidence.jpg"


async def test_an_alert_that_nobody_knows_is_not_found_or_not_read_yet(make, showing, topics):
    unknown = "/alerts/00000000-0000-5000-8000-000000000000"
    async with serving(make(showing)) as api:
        for path in ("", "/evidence.jpg", "/clean.jpg", "/clip.mp4"):
            assert (await api.get(unknown + path)).status_code == 404, path
        topics.complete = False
        answer = await api.get(unknown)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert (await api.get("/alerts")).json()["complete"] is False


async def test_the_pictures_are_served_as_they_are_kept(make, showing, store):
    store.put(ALERT.alert_id, ALERT.opened_at, "evidence.jpg", jpeg(10, 10))
    store.put(ALERT.alert_id, ALERT.opened_at, "clean.jpg", jpeg(20, 20))
    async with serving(make(showing)) as api:
        for file, content in (("evidence.jpg", jpeg(10, 10)), ("clean.jpg", jpeg(20, 20))):
            answer = await api.get(f"{PATH}/{file}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
            assert answer.content == content


async def test_where_there_is_no_picture_the_answer_says_why(make, showing, store):
    async with serving(make(showing)) as api:
        assert "backsight evidence" in (await api.get(f"{PATH}/evidence.jpg")).json()["detail"]
        store.write_account(Account(ALERT, OPENED_AT, "the frame is no longer on frames"))
        answer = await api.get(f"{PATH}/evidence.jpg")
    assert answer.status_code == 404
    assert "no longer on frames" in answer.json()["detail"]


async def test_a_store_that_is_away_is_no_fault_and_not_named(make, topics, tmp_path):
    blocked = tmp_path / "s3cret-place"
    blocked.write_text("a file where the folder would be")
    async with serving(make(topics.showing(EvidenceStore(str(blocked))))) as api:
        answer = await api.get(f"{PATH}/evidence.jpg")
    assert answer.status_code == 503
    assert "s3cret" not in answer.text


# Links


@pytest.fixture
def signed(make, topics, store):
    for file in ("evidence.jpg", "clean.jpg"):
        store.put(ALERT.alert_id, ALERT.opened_at, file, jpeg())
    return make(topics.showing(store), SECRET)


def query(alert_id: str = ALERT.alert_id, seconds: int = 60) -> dict[str, str]:
    expires = round(time.time()) + seconds
    return {"expires": str(expires), "signature": sign(SECRET, alert_id, expires)}


async def test_with_a_secret_pictures_need_a_link_that_was_made_here(signed):
    async with serving(signed, **REMOTE) as api:
        for file in ("evidence.jpg", "clean.jpg"):
            assert (await api.get(f"{PATH}/{file}")).status_code == 401
            assert (await api.get(f"{PATH}/{file}", params=query())).status_code == 200
        assert (await api.get(f"{PATH}/clip.mp4")).status_code == 401
        assert (await api.get(f"{PATH}/evidence.jpg", params=query(ALERTS[0].alert_id))).status_code == 403
        late = await api.get(f"{PATH}/evidence.jpg", params=query(seconds=-5))
        assert late.status_code == 403
        assert "time is over" in late.json()["detail"]


async def test_a_refused_link_does_not_tell_whether_there_is_such_an_alert(signed):
    unknown = "/alerts/00000000-0000-5000-8000-000000000000/evidence.jpg"
    async with serving(signed, **REMOTE) as api:
        assert (await api.get(unknown)).json() == (await api.get(f"{PATH}/evidence.jpg")).json()


async def test_this_machine_needs_no_link_but_a_wrong_one_is_wrong_here_too(signed):
    async with serving(signed) as api:
        assert (await api.get(f"{PATH}/evidence.jpg")).status_code == 200
        wrong = {**query(), "signature": "0" * 64}
        assert (await api.get(f"{PATH}/evidence.jpg", params=wrong)).status_code == 403


# Clips


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [
        (ClipNotYet(7), 503, "7"),
        (ClipBusy(), 503, "2"),
        (ClipGone("the frames are gone"), 404, None),
        (BrokerUnreachable("frames: nobody answers"), 503, "5"),
        (StoreTrouble("away"), 503, "10"),
    ],
)
async def test_a_clip_that_cannot_be_had_is_said_with_when_to_ask_again(make, showing, error, status, after):
    def clip(_alert):
        raise error

    async with serving(make(showing._replace(clip=clip))) as api:
        answer = await api.get(f"{PATH}/clip.mp4")
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == after


async def test_a_clip_is_served_as_a_video(make, showing):
    async with serving(make(showing._replace(clip=lambda alert: alert.alert_id.encode()))) as api:
        answer = await api.get(f"{PATH}/clip.mp4")
    assert (answer.headers["content-type"], answer.content) == ("video/mp4", ALERT.alert_id.encode())
