"""The sink `kafka` on real brokers: one that goes away and comes back, one that asks for a login."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.retry import ACCEPTED, Answer
from router.sinks import open_sink
from runtime.broker import LocalBroker
from runtime.kafka import TIMESTAMP_CREATE_TIME, Message, admin
from runtime.provision import apply_topics
from schemas.codec import decode
from schemas.messages import Alert
from schemas.problems import BadDocument
from tests.support.alerts import resolved
from tests.support.broker import SMALL, read_all, settings
from tests.support.servers import free_port
from tests.support.telling import Telling, attempt, both, fresh, in_company, notice

SECRET = "hunter2"


def kafka_sink(bootstrap: str, topic: str, **more):
    return open_sink(
        {"name": "ours", "kind": "kafka", "bootstrap_servers": bootstrap, "topic": topic, **more}, "sinks[0]", {}
    )


def headers(record: Message) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers()}


@pytest.fixture
def topic(topics) -> str:
    """A topic of ours with 3 partitions."""
    return topics["alerts"]


async def test_each_phase_is_a_record_with_its_id_in_order(bootstrap, topic):
    sink = kafka_sink(bootstrap, topic)
    told = [each for number in range(20) for each in both(number, camera=f"cam_{number % 4}")]
    telling = Telling(sink)
    telling.offer(told)
    assert set(await telling.all_ended(40)) == {"delivered"}
    records = await asyncio.to_thread(read_all, bootstrap, topic)
    ids = [headers(record)["delivery-id"] for record in records]
    assert sorted(ids) == sorted(each.delivery_id for each in told)
    for opening, end in zip(told[::2], told[1::2], strict=True):
        assert ids.index(opening.delivery_id) < ids.index(end.delivery_id)
    await sink.close()


async def test_a_record_reads_as_one_of_the_topic_alerts(bootstrap, topic):
    sink = kafka_sink(bootstrap, topic)
    told = notice(fresh(camera="gate"), site="north")
    assert await attempt(sink, told) == ACCEPTED
    (record,) = await asyncio.to_thread(read_all, bootstrap, topic)
    assert (record.key(), record.value()) == (b"gate", told.value)
    assert decode(Alert, record.value(), record.headers()) == told.alert
    assert record.timestamp() == (TIMESTAMP_CREATE_TIME, told.instant)
    assert headers(record) == {
        "schema": "alert/1",
        "delivery-id": told.delivery_id,
        "type": "alert.opened",
        "site": "north",
    }
    await sink.close()


async def test_cloudevents_are_headers_beside_the_same_value(bootstrap, topic):
    sink = kafka_sink(bootstrap, topic, cloudevents=True)
    told = notice(resolved(fresh(camera="gate", roi="Süd tor")), site="plant 1/a")
    assert await attempt(sink, told) == ACCEPTED
    (record,) = await asyncio.to_thread(read_all, bootstrap, topic)
    found = headers(record)
    assert record.value() == told.value
    assert found["content-type"] == "application/json"
    assert found.pop("ce_time").endswith("Z")
    assert {name: value for name, value in found.items() if name.startswith("ce_")} == {
        "ce_specversion": "1.0",
        "ce_id": told.delivery_id,
        "ce_type": "alert.resolved",
        "ce_source": "/backsight/plant%201%2Fa",
        "ce_subject": "gate/Süd tor",
    }
    await sink.close()


async def test_a_company_is_a_record_each(bootstrap, topic):
    sink = kafka_sink(bootstrap, topic)
    company = in_company([fresh(0), fresh(1), resolved(fresh(2))])
    assert await attempt(sink, company) == ACCEPTED
    records = await asyncio.to_thread(read_all, bootstrap, topic)
    assert sorted(headers(record)["delivery-id"] for record in records) == sorted(
        each.delivery_id for each in company.members
    )
    await sink.close()


async def test_a_topic_that_is_missing_is_waited_for(bootstrap, prefix):
    sink = kafka_sink(bootstrap, f"{prefix}alerts", timeout_seconds=5)
    telling = Telling(sink)
    telling.offer(both())
    await telling.until(lambda so_far: bool(so_far.answers))
    assert telling.answers[0] == Answer("later", "not_found", "there is no such topic")
    await asyncio.to_thread(apply_topics, admin(settings(bootstrap)), prefix, partitions=3)
    assert await telling.all_ended(2) == ["delivered", "delivered"]
    records = await asyncio.to_thread(read_all, bootstrap, f"{prefix}alerts")
    assert [headers(record)["type"] for record in records] == ["alert.opened", "alert.resolved"]
    await sink.close()


async def test_it_may_be_told_again_in_another_loop_after_it_was_closed(bootstrap, topic):
    sink = kafka_sink(bootstrap, topic)

    async def once() -> Answer:
        try:
            return await attempt(sink, notice(fresh()))
        finally:
            await sink.close()

    assert [await asyncio.to_thread(asyncio.run, once()) for _ in range(2)] == [ACCEPTED, ACCEPTED]


async def test_nobody_listening_and_unknown_hosts_are_waited_for():
    sink = kafka_sink(f"127.0.0.1:{free_port()}", "alerts", timeout_seconds=3)
    assert await attempt(sink, notice(fresh())) == Answer("later", "unreachable", "no connection")
    await sink.close()
    sink = kafka_sink("no-such-host.invalid:9092", "alerts", timeout_seconds=3)
    answer = await attempt(sink, notice(fresh()))
    assert (answer.verdict, answer.reason) == ("later", "dns")
    await sink.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalBroker, str]]:
    """A broker of our own and its second address, where it asks for a login."""
    port = free_port()
    login = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_writer="{SECRET}";'
    own, controller = free_port(), free_port()
    overrides = {
        **SMALL,
        "listeners": f"CLIENT://127.0.0.1:{own},GUARDED://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"CLIENT://127.0.0.1:{own},GUARDED://127.0.0.1:{port}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,GUARDED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.guarded.plain.sasl.jaas.config": login,
    }
    folder: Path = tmp_path_factory.mktemp("guarded")
    with LocalBroker(folder, port=own, controller_port=controller, overrides=overrides, bound=True) as broker:
        apply_topics(admin(settings(broker.bootstrap)), "", partitions=1)
        yield broker, f"127.0.0.1:{port}"


def login(secret: str) -> dict[str, str]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "writer",
        "sasl_password": secret,
    }


@pytest.mark.kafka
async def test_a_right_login_writes_and_a_wrong_one_is_waited_for_and_says_no_secret(guarded, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    broker, address = guarded
    sink = kafka_sink(address, "alerts", **login(SECRET))
    told = notice(fresh())
    assert await attempt(sink, told) == ACCEPTED
    await sink.close()
    wrong = kafka_sink(address, "alerts", **login("wr0ngX"))
    begun = asyncio.get_running_loop().time()
    assert await attempt(wrong, notice(fresh(1))) == Answer("later", "unauthorized", "the login was refused")
    assert asyncio.get_running_loop().time() - begun < 10, "it need not wait for the deadline"
    await wrong.close()
    records = await asyncio.to_thread(read_all, broker.bootstrap, "alerts")
    assert told.delivery_id in [headers(record)["delivery-id"] for record in records]
    said = caplog.text + "".join(capfd.readouterr())
    assert SECRET not in said
    assert "wr0ngX" not in said


@pytest.mark.kafka
async def test_a_broker_that_is_down_is_waited_for_and_gets_the_same_ids_in_order(guarded):
    broker, _ = guarded
    sink = kafka_sink(broker.bootstrap, "alerts", timeout_seconds=3)
    assert await attempt(sink, notice(fresh(7))) == ACCEPTED
    await asyncio.to_thread(broker.kill)
    told = both()
    telling = Telling(sink)
    telling.offer(told)
    await telling.until(lambda so_far: bool(so_far.answers))
    assert telling.answers[0].verdict == "later"
    assert telling.answers[0].reason in ("unreachable", "timeout")
    await asyncio.to_thread(broker.start)
    assert await telling.all_ended(2, 60) == ["delivered", "delivered"]
    records = await asyncio.to_thread(read_all, broker.bootstrap, "alerts")
    ids = [headers(record)["delivery-id"] for record in records]
    ours = [each for each in ids if each.startswith(told[0].alert.alert_id)]
    assert ours == [each.delivery_id for each in told]
    await sink.close()


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"security_protocol": "SASL_SSL"}, "sasl_mechanism: is needed for SASL_SSL"),
        (login("x") | {"sasl_username": None}, "sasl_username: is needed"),
        ({"sasl_password": SECRET}, "security_protocol: PLAINTEXT sends no login"),
        ({"security_protocol": "SSL", "ssl_ca_location": "/no/such.pem"}, "ssl_ca_location: there is no such file"),
        ({"topic": "a b"}, r"sinks\[0\].topic: expected text like"),
        ({"topic": ".."}, r"sinks\[0\].topic: expected text like"),
    ],
)
def test_what_is_not_whole_is_refused_with_its_place(keys, place):
    with pytest.raises(BadDocument, match=place) as refused:
        kafka_sink("127.0.0.1:1", **({"topic": "alerts"} | keys))
    assert SECRET not in json.dumps([str(problem) for problem in refused.value.problems])
