"""The sink `redis` with real servers: streams, channels, passwords, certificates, going away and coming back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

import pytest
import redis as client

from router.configuration import load_router
from router.retry import ACCEPTED, Answer
from router.sinks import open_sink
from runtime.settings import Settings, load_settings
from schemas.documents.services import AlertingSettings, Services
from schemas.messages import delivery_id
from schemas.problems import BadDocument
from tests.support.alerts import resolved
from tests.support.broker import settings
from tests.support.routing import alert_writer, router_thread, write_alerts
from tests.support.servers import Certificates, RedisServer, free_port
from tests.support.telling import Telling, attempt, both, fresh, in_company, notice

SECRET = "hunter2"


def redis_sink(url: str, **more):
    return open_sink({"name": "ours", "kind": "redis", "url": url, **more}, "sinks[0]", {})


@contextlib.contextmanager
def asking(server: RedisServer, **more):
    with client.Redis(port=server.port, decode_responses=True, **more) as asks:
        yield asks


def entries(server: RedisServer, stream: str = "backsight:alerts", **more) -> list[dict[str, str]]:
    with asking(server, **more) as asks:
        return [fields for _, fields in asks.xrange(stream)]


@pytest.fixture
def server(tmp_path):
    with RedisServer(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def url(server):
    return f"redis://127.0.0.1:{server.port}"


async def test_each_phase_is_an_entry_with_its_id_in_order(server, url):
    sink = redis_sink(url)
    told = [each for number in range(20) for each in both(number)]
    telling = Telling(sink)
    telling.offer(told)
    assert set(await telling.all_ended(40)) == {"delivered"}
    found = entries(server)
    assert sorted(each["id"] for each in found) == sorted(each.delivery_id for each in told)
    for opening, end in zip(told[::2], told[1::2], strict=True):
        ids = [each["id"] for each in found if each["id"].startswith(opening.alert.alert_id)]
        assert ids == [opening.delivery_id, end.delivery_id]
    await sink.close()


async def test_an_entry_says_where_and_what_and_holds_the_alert(server, url):
    sink = redis_sink(f"{url}/3", stream="plant:alerts")
    told = notice(fresh(camera="gate"), site="north")
    assert await attempt(sink, told) == ACCEPTED
    (found,) = entries(server, "plant:alerts", db=3)
    assert json.loads(found.pop("data")) == json.loads(told.value)
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "id": told.delivery_id,
        "type": "alert.opened",
        "site": "north",
        "camera_id": "gate",
        "roi": "loading_zone",
        "label": "object",
        "severity": "critical",
    }
    await sink.close()


async def test_a_company_is_an_entry_each_all_or_none(server, url):
    sink = redis_sink(url)
    company = in_company([fresh(0), fresh(1), resolved(fresh(2))])
    assert await attempt(sink, company) == ACCEPTED
    assert [each["id"] for each in entries(server)] == [each.delivery_id for each in company.members]
    await sink.close()


async def test_a_stream_is_trimmed(server, url):
    sink = redis_sink(url, maxlen=100)
    company = in_company([fresh(number) for number in range(1000)])
    await attempt(sink, company)
    found = [each["id"] for each in entries(server)]
    assert 100 <= len(found) <= 300  # Redis removes whole nodes
    assert found == [each.delivery_id for each in company.members[-len(found) :]]
    await sink.close()


async def test_a_server_that_is_down_is_waited_for_and_gets_the_same_ids_in_order(tmp_path):
    server = RedisServer(tmp_path / "redis")
    sink = redis_sink(f"redis://127.0.0.1:{server.port}")
    told, more = both(0), both(1)
    telling = Telling(sink)
    telling.offer(told)
    await telling.until(lambda so_far: len(so_far.answers) >= 2)
    assert set(telling.answers) == {Answer("later", "unreachable", "no connection")}
    with server:
        assert await telling.all_ended(2) == ["delivered", "delivered"]
        server.kill()
        telling.offer(more)
        before = len(telling.answers)
        await telling.until(lambda so_far: len(so_far.answers) > before + 1)
        server.start()
        await telling.all_ended(4)
        assert [each["id"] for each in entries(server)] == [each.delivery_id for each in (*told, *more)]
    await sink.close()


async def test_what_was_taken_just_before_the_answer_was_lost_is_told_again_with_the_same_id(server, url):
    sink = redis_sink(url, timeout_seconds=0.6)
    assert await attempt(sink, notice(fresh(9))) == ACCEPTED
    told = notice(fresh())
    server.pause()
    answer = await attempt(sink, told)
    assert (answer.verdict, answer.reason) == ("later", "timeout")
    server.go_on()
    assert await attempt(sink, told) == ACCEPTED
    ids = [each["id"] for each in entries(server)][1:]
    assert set(ids) == {told.delivery_id}
    assert 1 <= len(ids) <= 2
    await sink.close()


@pytest.mark.parametrize("login", [f":{SECRET}@", f"nobody:{SECRET}@", ""])
async def test_a_refused_login_is_waited_for_and_says_no_secret(tmp_path, login, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with RedisServer(tmp_path / "redis", password="right") as server:
        sink = redis_sink(f"redis://{login}127.0.0.1:{server.port}")
        assert await attempt(sink, notice(fresh())) == Answer("later", "unauthorized", "the login was refused")
        telling = Telling(sink)
        telling.offer(both())
        await telling.until(lambda so_far: len(so_far.answers) >= 3)
        assert telling.ended == []
        await telling.withdraw()
        await sink.close()
    assert SECRET not in caplog.text + "".join(capfd.readouterr()) + repr(telling.ended)


async def test_a_login_may_stand_beside_the_url(tmp_path):
    with RedisServer(tmp_path / "redis", password="p@ss/w:rd%") as server:
        sink = redis_sink(f"redis://127.0.0.1:{server.port}", password="p@ss/w:rd%")
        assert await attempt(sink, notice(fresh())) == ACCEPTED
        await sink.close()
        sink = redis_sink(f"redis://:p%40ss%2Fw%3Ard%25@127.0.0.1:{server.port}")
        assert await attempt(sink, notice(fresh())) == ACCEPTED
        await sink.close()


async def test_a_user_without_the_right_is_told_so(tmp_path):
    extra = f"user reader on >{SECRET} ~* +@read"
    with RedisServer(tmp_path / "redis", extra=extra) as server:
        sink = redis_sink(f"redis://reader:{SECRET}@127.0.0.1:{server.port}")
        assert await attempt(sink, notice(fresh())) == Answer("later", "unauthorized", "the user may not write there")
        await sink.close()


async def test_a_server_without_memory_is_waited_for(tmp_path):
    with RedisServer(tmp_path / "redis", extra="maxmemory 1\nmaxmemory-policy noeviction") as server:
        sink = redis_sink(f"redis://127.0.0.1:{server.port}")
        answer = await attempt(sink, notice(fresh()))
        assert (answer.verdict, answer.reason) == ("later", "server_error")
        answer = await attempt(sink, in_company([fresh(0), fresh(1)]))
        assert (answer.verdict, answer.reason) == ("later", "server_error")
        with asking(server) as asks:
            asks.config_set("maxmemory", 0)
        assert await attempt(sink, notice(fresh())) == ACCEPTED
        await sink.close()


async def test_a_key_that_is_no_stream_is_refused(server, url):
    with asking(server) as asks:
        asks.set("backsight:alerts", "text")
    sink = redis_sink(url)
    assert await attempt(sink, notice(fresh())) == Answer("never", "rejected", "WRONGTYPE")
    await sink.close()


async def test_tls_takes_our_own_authority_and_no_other(tmp_path):
    certificates = Certificates(tmp_path / "ours")
    with RedisServer(tmp_path / "redis", password=SECRET, certificates=certificates) as server:
        url = f"rediss://:{SECRET}@127.0.0.1:{server.port}"
        stranger = redis_sink(url)
        answer = await attempt(stranger, notice(fresh()))
        assert (answer.verdict, answer.reason) == ("later", "tls")
        assert "certificate refused" in answer.detail
        named = redis_sink(url.replace("127.0.0.1", "localhost"), ca_file=str(certificates.authority))
        assert (await attempt(named, notice(fresh()))).reason == "tls"
        sink = redis_sink(url, ca_file=str(certificates.authority))
        assert await attempt(sink, notice(fresh())) == ACCEPTED
        for each in (stranger, named, sink):
            await each.close()


async def test_a_channels_subscribers_hear_each_phase_and_nobody_is_waited_for(server, url):
    sink = redis_sink(url, channel="alerts")
    told = both()
    telling = Telling(sink)
    telling.offer(told)
    await telling.until(lambda so_far: bool(so_far.answers))
    assert telling.answers[0] == Answer("later", "not_found", "nobody is subscribed to the channel")
    with asking(server) as asks, asks.pubsub(ignore_subscribe_messages=True) as listens:
        listens.subscribe("alerts")
        listens.get_message(timeout=5)
        assert await telling.all_ended(2) == ["delivered", "delivered"]
        heard = [json.loads(listens.get_message(timeout=5)["data"]) for _ in told]
    assert [each["id"] for each in heard] == [each.delivery_id for each in told]
    assert [each["type"] for each in heard] == ["alert.opened", "alert.resolved"]
    await sink.close()


async def test_a_channel_that_need_not_be_heard_is_done(server, url):
    sink = redis_sink(url, channel="alerts", nobody_listens="done")
    assert await attempt(sink, notice(fresh())) == ACCEPTED
    await sink.close()


async def test_it_may_be_told_again_in_another_loop_after_it_was_closed(server, url):
    sink = redis_sink(url)

    async def once() -> Answer:
        try:
            return await attempt(sink, notice(fresh()))
        finally:
            await sink.close()

    assert [await asyncio.to_thread(asyncio.run, once()) for _ in range(2)] == [ACCEPTED, ACCEPTED]


def test_the_one_line_way_tells_redis_url(server, url, bootstrap, topics, prefix, tmp_path):
    environ = {"ALERTING_PROTOCOL": "redis", "REDIS_URL": url}
    told = load_settings(tmp_path, environ)
    opening = fresh()
    alerts = [opening, resolved(opening)]
    write_alerts(alert_writer(bootstrap), prefix, alerts)
    with (
        router_thread(Settings(services=told.services, kafka=settings(bootstrap), prefix=prefix)),
        asking(server) as asks,
    ):
        ids: list[str] = []
        last = "0"
        while len(ids) < 2:
            found = asks.xread({"backsight:alerts": last}, block=30_000)
            assert found, f"only {ids} came"
            ids += [fields["id"] for _, fields in found[0][1]]
            last = found[0][1][-1][0]
    assert ids == [delivery_id(alert) for alert in alerts]


def test_without_redis_url_the_one_line_way_says_so(tmp_path):
    told = Settings(configs=tmp_path, services=Services(alerting=AlertingSettings(protocol="redis")))
    with pytest.raises(BadDocument, match=r"redis_url \(REDIS_URL\): expected redis://"):
        load_router(told, {})


async def test_a_closed_port_names_no_url():
    sink = redis_sink(f"redis://user:{SECRET}@127.0.0.1:{free_port()}")
    assert await attempt(sink, notice(fresh())) == Answer("later", "unreachable", "no connection")
    await sink.close()
    sink = redis_sink(f"redis://user:{SECRET}@no-such-host.invalid")
    answer = await attempt(sink, notice(fresh()))
    assert (answer.verdict, answer.reason) == ("later", "dns")
    await sink.close()
