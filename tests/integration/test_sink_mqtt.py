"""The sink `mqtt` with real Mosquittos: events, states, sensors; with passwords and certificates, going and coming."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from router.mqtt.discovery import Sensor, config_topic
from router.mqtt.topics import Place, Topics
from router.retry import ACCEPTED, Answer
from router.sinks import open_sink
from schemas.problems import BadDocument
from tests.support.alerts import resolved
from tests.support.servers import Certificates, MosquittoServer, free_port
from tests.support.telling import Telling, attempt, both, fresh, in_company, notice

SECRET = "hunter2"
TOPICS = Topics("backsight")


def mqtt_sink(url: str, **more):
    return open_sink({"name": "ours", "kind": "mqtt", "url": url, **more}, "sinks[0]", {})


class Seen(NamedTuple):
    """A message as a subscriber gets it."""

    topic: str
    payload: bytes
    retained: bool

    @property
    def json(self):
        return json.loads(self.payload)


class Watcher:
    """Subscribes to everything, and keeps it in its order."""

    def __init__(self, port: int, login: tuple[str, str] | None = None) -> None:
        self.seen: list[Seen] = []
        self._changed = threading.Condition()
        self._client = Client(CallbackAPIVersion.VERSION2)
        if login is not None:
            self._client.username_pw_set(*login)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._take(None)
        self._client.on_message = lambda _client, _data, message: self._take(
            Seen(message.topic, message.payload, message.retain)
        )
        self._ready = False
        self._port = port

    def _take(self, seen: Seen | None) -> None:
        with self._changed:
            self._ready = True
            if seen is not None:
                self.seen.append(seen)
            self._changed.notify_all()

    def until(self, holds: Callable[[], bool], seconds: float = 20) -> None:
        with self._changed:
            assert self._changed.wait_for(holds, seconds), f"only saw {self.seen}"

    async def sees(self, holds: Callable[[], bool]) -> None:
        await asyncio.to_thread(self.until, holds)

    def on(self, topic: str) -> list[Seen]:
        return [each for each in self.seen if each.topic == topic]

    def payloads(self, topic: str) -> list[bytes]:
        return [each.payload for each in self.on(topic)]

    def __enter__(self) -> Watcher:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        self.until(lambda: self._ready)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def state_of(alert) -> str:
    return TOPICS.state(Place(alert.camera_id, alert.roi))


@pytest.fixture
def server(tmp_path):
    with MosquittoServer(tmp_path / "mosquitto") as running:
        yield running


@pytest.fixture
def url(server):
    return f"mqtt://127.0.0.1:{server.port}"


@pytest.mark.parametrize("version", ["v5", "v3.1.1"])
async def test_each_phase_is_an_event_with_its_id_in_order(server, url, version):
    sink = mqtt_sink(url, version=version)
    told = [each for number in range(20) for each in both(number)]
    with Watcher(server.port) as watcher:
        telling = Telling(sink)
        telling.offer(told)
        assert set(await telling.all_ended(40)) == {"delivered"}
        await watcher.sees(lambda: len(watcher.on("backsight/events")) >= 40)
        await sink.close()
    events = [each.json for each in watcher.on("backsight/events")]
    assert sorted(each["id"] for each in events) == sorted(each.delivery_id for each in told)
    ids = [each["id"] for each in events]
    for opening, end in zip(told[::2], told[1::2], strict=True):
        assert ids.index(opening.delivery_id) < ids.index(end.delivery_id)
    assert not any(each.retained for each in watcher.on("backsight/events"))
    assert watcher.on(state_of(told[0].alert))[-1].json["state"] == "OFF"


async def test_a_state_is_there_for_whoever_comes_later(server, url):
    sink = mqtt_sink(url)
    alert = fresh(camera="gate", roi="dock + #1")
    assert await attempt(sink, notice(alert)) == ACCEPTED
    topic = "backsight/gate/dock %2B %231/state"
    with Watcher(server.port) as watcher:
        await watcher.sees(lambda: bool(watcher.on(topic)))
        (seen,) = watcher.on(topic)
        assert seen.retained
        assert (seen.json["state"], seen.json["labels"], seen.json["severity"]) == ("ON", ["object"], "critical")
        assert [each["alert_id"] for each in seen.json["alerts"]] == [alert.alert_id]
        assert await attempt(sink, notice(resolved(alert))) == ACCEPTED
        await watcher.sees(lambda: len(watcher.on(topic)) == 2)
        assert watcher.on(topic)[-1].json["state"] == "OFF"
        await sink.close()


async def test_a_company_is_an_event_each_and_a_state_for_each_place(server, url):
    sink = mqtt_sink(url)
    company = in_company([fresh(0), fresh(1, camera="gate"), resolved(fresh(2))])
    with Watcher(server.port) as watcher:
        assert await attempt(sink, company) == ACCEPTED
        await watcher.sees(lambda: len(watcher.seen) >= 6)
        await sink.close()
    assert [each.json["id"] for each in watcher.on("backsight/events")] == [
        each.delivery_id for each in company.members
    ]
    assert [each.topic for each in watcher.seen if each.topic.endswith("/state")] == [
        "backsight/cam_nave3_hornos/loading_zone/state",
        "backsight/gate/loading_zone/state",
    ]


async def test_we_are_online_from_the_start_and_offline_at_the_end(server, url):
    sink = mqtt_sink(url)
    with Watcher(server.port) as watcher:
        await sink.begin()
        await watcher.sees(lambda: watcher.payloads("backsight/status") == [b"online"])
        await sink.close()
        await watcher.sees(lambda: watcher.payloads("backsight/status") == [b"online", b"offline"])
    with Watcher(server.port) as later:
        await later.sees(lambda: [each[1:] for each in later.on("backsight/status")] == [(b"offline", True)])


ROUTER = """
import asyncio, sys
from router.sinks import open_sink
from tests.support.telling import attempt, fresh, notice
async def main(url):
    sink = open_sink({"name": "ours", "kind": "mqtt", "url": url}, "sinks[0]", {})
    await attempt(sink, notice(fresh()))
    print("told", flush=True)
    await asyncio.sleep(600)
asyncio.run(main(sys.argv[1]))
"""


async def test_after_a_kill_the_broker_says_offline_and_the_next_router_knows_what_is_open(server, url):
    with Watcher(server.port) as watcher:
        router = await asyncio.create_subprocess_exec(sys.executable, "-c", ROUTER, url, stdout=subprocess.PIPE)
        assert await router.stdout.readline() == b"told\n"
        router.kill()
        await router.wait()
        await watcher.sees(lambda: bool(watcher.seen) and watcher.seen[-1][:2] == ("backsight/status", b"offline"))
        left = next(each.json for each in watcher.on("backsight/events"))["data"]["alert_id"]
        sink = mqtt_sink(url)
        alert = fresh(7)
        topic = state_of(alert)
        assert await attempt(sink, notice(alert)) == ACCEPTED
        await watcher.sees(lambda: len(watcher.on(topic)) >= 2)
        assert {each["alert_id"] for each in watcher.on(topic)[-1].json["alerts"]} == {left, alert.alert_id}
        await sink.close()


async def test_a_will_that_comes_late_does_not_leave_us_offline(server, url):
    """The broker notices only after a while that a connection of ours is dead; by then we are back."""
    sink = mqtt_sink(url)
    assert await attempt(sink, notice(fresh())) == ACCEPTED
    with Watcher(server.port) as watcher:
        late = Client(CallbackAPIVersion.VERSION2)
        late.connect("127.0.0.1", server.port)
        late.loop_start()
        late.publish("backsight/status", b"offline", qos=1, retain=True).wait_for_publish(10)
        late.disconnect()
        late.loop_stop()
        await watcher.sees(lambda: watcher.payloads("backsight/status")[-2:] == [b"offline", b"online"])
        await sink.close()


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_broker_that_goes_away_gets_the_same_ids_in_order_and_every_state_again(tmp_path, keeps):
    server = MosquittoServer(tmp_path / "mosquitto", keeps=keeps)
    sink = mqtt_sink(f"mqtt://127.0.0.1:{server.port}", discovery="homeassistant")
    told, more = both(0), both(1, camera="gate")
    telling = Telling(sink)
    telling.offer(told[:1])
    await telling.until(lambda so_far: len(so_far.answers) >= 2)
    assert set(telling.answers) == {Answer("later", "unreachable", "no connection")}
    with server:
        assert await telling.all_ended(1) == ["delivered"]
        server.kill()
        telling.offer(more)
        before = len(telling.answers)
        await telling.until(lambda so_far: len(so_far.answers) > before + 1)
        server.start()
        with Watcher(server.port) as watcher:
            await telling.all_ended(3)
            telling.offer(told[1:])
            assert await telling.all_ended(4) == ["delivered"] * 4
            await watcher.sees(lambda: len(watcher.on("backsight/events")) >= 3)
            state = state_of(told[0].alert)
            await watcher.sees(lambda: watcher.on(state)[-1:] and watcher.on(state)[-1].json["state"] == "OFF")
            sensor = Sensor(Place(told[0].alert.camera_id, told[0].alert.roi), "object")
            assert watcher.on(config_topic("homeassistant", TOPICS, sensor))
            await sink.close()
    ids = [each.json["id"] for each in watcher.on("backsight/events")]
    assert list(dict.fromkeys(each for each in ids if each.startswith(more[0].alert.alert_id))) == [
        each.delivery_id for each in more
    ]
    assert set(ids) <= {each.delivery_id for each in (*told, *more)}


async def test_a_broker_that_hangs_is_given_up_in_time_and_told_again(server, url):
    sink = mqtt_sink(url, timeout_seconds=1)
    assert await attempt(sink, notice(fresh(9))) == ACCEPTED
    told = notice(fresh())
    with Watcher(server.port) as watcher:
        server.pause()
        answer = await attempt(sink, told)
        assert (answer.verdict, answer.reason) == ("later", "timeout")
        server.go_on()
        telling = Telling(sink)
        telling.offer([told])
        assert await telling.all_ended(1) == ["delivered"]
        await watcher.sees(lambda: bool(watcher.on("backsight/events")))
        await sink.close()
    assert {each.json["id"] for each in watcher.on("backsight/events")} == {told.delivery_id}


@pytest.mark.parametrize("version", ["v5", "v3.1.1"])
async def test_a_refused_login_is_waited_for_is_not_tried_on_and_on_and_says_no_secret(
    tmp_path, version, caplog, capfd
):
    caplog.set_level(logging.DEBUG)
    with MosquittoServer(tmp_path / "mosquitto", users={"writer": "right"}) as server:
        for login in (f"writer:{SECRET}@", ""):
            sink = mqtt_sink(f"mqtt://{login}127.0.0.1:{server.port}", version=version)
            answer = await attempt(sink, notice(fresh()))
            assert (answer.verdict, answer.reason) == ("later", "unauthorized")
            telling = Telling(sink)
            telling.offer([notice(fresh(number)) for number in range(5)])
            await telling.until(lambda so_far: len(so_far.answers) >= 20)
            assert telling.ended == []
            await telling.withdraw()
            await sink.close()
        refusals = (server.folder / "log").read_text().count("not authorised")
    assert refusals == 2
    assert SECRET not in caplog.text + "".join(capfd.readouterr()) + repr(telling.ended)


async def test_a_right_login_and_our_own_authority_are_taken(tmp_path):
    certificates = Certificates(tmp_path / "ours")
    users = {"writer": "p@ss/w:rd%"}
    with MosquittoServer(tmp_path / "mosquitto", users=users, certificates=certificates) as server:
        url = f"mqtts://127.0.0.1:{server.port}"
        login = {"username": "writer", "password": "p@ss/w:rd%"}
        stranger = mqtt_sink(url, **login)
        answer = await attempt(stranger, notice(fresh()))
        assert (answer.verdict, answer.reason) == ("later", "tls")
        assert "certificate refused" in answer.detail
        sink = mqtt_sink(url, **login, ca_file=str(certificates.authority))
        assert await attempt(sink, notice(fresh())) == ACCEPTED
        in_url = mqtt_sink(url.replace("//", "//writer:p%40ss%2Fw%3Ard%25@"), ca_file=str(certificates.authority))
        assert await attempt(in_url, notice(fresh(1))) == ACCEPTED
        for each in (stranger, sink, in_url):
            await each.close()


async def test_a_topic_that_we_may_not_write_is_said(tmp_path):
    access = "user writer\ntopic readwrite backsight/status\ntopic write backsight/+/+/state\n"
    with MosquittoServer(tmp_path / "mosquitto", users={"writer": SECRET}, access=access) as server:
        sink = mqtt_sink(f"mqtt://writer:{SECRET}@127.0.0.1:{server.port}")
        assert await attempt(sink, notice(fresh())) == Answer("later", "unauthorized", "Not authorized")
        await sink.close()


async def test_home_assistant_finds_a_sensor_before_its_first_state(server, url):
    sink = mqtt_sink(url, discovery="homeassistant")
    alert = fresh()
    sensor = Sensor(Place(alert.camera_id, alert.roi), alert.label)
    described = config_topic("homeassistant", TOPICS, sensor)
    with Watcher(server.port) as watcher:
        for each in (alert, resolved(alert)):
            assert await attempt(sink, notice(each)) == ACCEPTED
        await watcher.sees(lambda: len(watcher.on(state_of(alert))) == 2)
        await sink.close()
    assert len(watcher.on(described)) == 1, "it is described once"
    order = [each.topic for each in watcher.seen]
    assert order.index(described) < order.index(state_of(alert))
    assert watcher.on(described)[0].json["state_topic"] == state_of(alert)


async def test_two_routers_share_a_broker(server, url):
    one, two = mqtt_sink(url), mqtt_sink(url)
    alert = fresh()
    with Watcher(server.port) as watcher:
        await one.begin()
        await two.begin()
        await watcher.sees(lambda: len(watcher.on("backsight/status")) >= 2)
        assert await attempt(one, notice(alert)) == ACCEPTED
        await watcher.sees(lambda: bool(watcher.on(state_of(alert))))
        await one.close()
        await watcher.sees(lambda: watcher.payloads("backsight/status")[-2:] == [b"offline", b"online"])
        # Its cameras are the other's now.
        assert await attempt(two, notice(resolved(alert))) == ACCEPTED
        await watcher.sees(lambda: watcher.on(state_of(alert))[-1].json["state"] == "OFF")
        await two.close()


async def test_it_may_be_told_again_in_another_loop_after_it_was_closed(server, url):
    sink = mqtt_sink(url)

    async def once() -> Answer:
        try:
            return await attempt(sink, notice(fresh()))
        finally:
            await sink.close()

    assert [await asyncio.to_thread(asyncio.run, once()) for _ in range(2)] == [ACCEPTED, ACCEPTED]


async def test_an_unknown_host_names_no_url():
    sink = mqtt_sink(f"mqtt://user:{SECRET}@no-such-host.invalid:{free_port()}")
    answer = await attempt(sink, notice(fresh()))
    assert (answer.verdict, answer.reason) == ("later", "dns")
    await sink.close()


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({"url": f"http://user:{SECRET}@host"}, "url: expected mqtt://"),
        ({"url": f"mqtt://user:{SECRET}@host/topic"}, "url: expected nothing after the port"),
        ({"url": f"mqtt://user:{SECRET}@host:port"}, "url: is no URL"),
        ({"url": f"mqtt://user:{SECRET}@host", "username": "x"}, "username, password: the url has a login already"),
        ({"password": SECRET}, "username: is missing"),
        ({"ca_file": "/no/such.pem"}, "ca_file: only mqtts:// has certificates"),
        ({"url": "mqtts://host", "ca_file": "/no/such.pem"}, "ca_file: cannot be read"),
        ({"prefix": "a/#"}, "prefix: expected levels without"),
        ({"discovery": ""}, "discovery: expected levels without"),
    ],
)
def test_what_does_not_check_is_refused_with_its_place_and_no_secret(keys, wrong):
    with pytest.raises(BadDocument, match=wrong) as refused:
        mqtt_sink(**({"url": "mqtt://host"} | keys))
    assert SECRET not in str(refused.value)
