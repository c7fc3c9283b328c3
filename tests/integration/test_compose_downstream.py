"""docker-compose.downstream.yml: a real broker under its settings, as a program outside and the stages see it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from runtime.broker import BrokerError, LocalBroker
from runtime.broker.ports import pick_free
from runtime.kafka import (
    BrokerUnreachable,
    admin,
    deliver,
    log_spans,
    producer,
    reader,
    wait_for_broker,
)
from runtime.provision import apply_topics
from runtime.settings import KafkaSettings
from tests.support.broker import settings
from tests.support.certificates import self_signed
from tests.support.compose import COMPOSE, broker_properties, read

pytestmark = pytest.mark.kafka


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[tuple[str, KafkaSettings]]:
    """The stages' address, and a login at the published listener of somebody who is not known there."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    self_signed(certificate, key)
    (tmp_path / "kafka.pem").write_text(key.read_text() + certificate.read_text())
    own = pick_free()
    controller = pick_free(frozenset({own}))
    published = pick_free(frozenset({own, controller}))
    environ = {"DOWNSTREAM_HOST": "127.0.0.1", "DOWNSTREAM_PORT": str(published)}
    service = read((COMPOSE, "docker-compose.downstream.yml"), environ)["services"]["kafka"]
    assert service["ports"] == [f"0.0.0.0:{published}:9094"]
    here = {
        "CLIENT://:9092": f"CLIENT://127.0.0.1:{own}",
        "CLIENT://kafka:9092": f"CLIENT://127.0.0.1:{own}",
        "CONTROLLER://:9093": f"CONTROLLER://127.0.0.1:{controller}",
        "1@kafka:9093": f"1@127.0.0.1:{controller}",
        "DOWNSTREAM://:9094": f"DOWNSTREAM://127.0.0.1:{published}",
        "/etc/kafka/secrets": str(tmp_path),
        "/var/lib/kafka/data": "log",
    }
    told = broker_properties(service)
    for inside, local in here.items():
        told = {name: value.replace(inside, local) for name, value in told.items()}
    broker = LocalBroker(tmp_path / "kafka", port=own, controller_port=controller, overrides=told, bound=True)
    try:
        broker.start()
    except BrokerError as error:
        pytest.fail(f"no local Kafka in CI: {error}") if os.environ.get("CI") else pytest.skip(f"no Kafka: {error}")
    apply_topics(admin(settings(broker.bootstrap)), "", partitions=1)
    login = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "ssl_ca_location": str(certificate)}
    yield broker.bootstrap, KafkaSettings(bootstrap_servers=f"127.0.0.1:{published}", **login)
    broker.stop()


def test_a_reader_gets_in_and_reads_and_nobody_else_does(outside: tuple[str, KafkaSettings]) -> None:
    stages, published = outside
    deliver(producer(settings(stages), "test"), "alerts", key="gate", value=b"{}", seconds=20)
    made = CliRunner().invoke(main, ["topics", "reader", "add", "bi"], env={"KAFKA_BOOTSTRAP_SERVERS": stages})
    assert made.exit_code == 0, made.output
    login = {"sasl_username": "bi", "sasl_password": made.stdout.strip()}
    bi = KafkaSettings.model_validate({**published.model_dump(), **login})
    wait_for_broker(bi, 20)
    reading = reader(bi, "test")
    try:
        assert log_spans(reading, "alerts") == {0: (0, 1)}
        with pytest.raises(BrokerUnreachable, match=r"(?i)authorization failed"):
            log_spans(reading, "frames")
    finally:
        reading.close()
    wrong = KafkaSettings.model_validate({**published.model_dump(), **login, "sasl_password": "wrong"})
    with pytest.raises(BrokerUnreachable):
        wait_for_broker(wrong, 3)
    with pytest.raises(BrokerUnreachable):
        wait_for_broker(settings(published.bootstrap_servers), 3)
