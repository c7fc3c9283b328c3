"""A real broker as a site would secure it: SASL_SSL with SCRAM-SHA-512, and an authorizer that denies by default."""

import os
import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime.acls import allow, put_user
from runtime.broker import BrokerError, LocalBroker
from runtime.kafka import admin
from runtime.provision import apply_topics
from runtime.settings import KafkaSettings
from schemas.grants import SERVICES, grants
from tests.support.broker import SMALL, settings
from tests.support.certificates import self_signed
from tests.support.servers import free_port


class Secured(NamedTuple):
    """``bootstrap``: the listener that asks for a login. ``plain``: the one for whoever administers it, on loopback."""

    plain: str
    bootstrap: str
    ca: Path
    passwords: dict[str, str]

    def login(self, service: str) -> KafkaSettings:
        """The settings of the service's principal."""
        return self.as_user(f"backsight-{service}", self.passwords[service])

    def as_user(self, name: str, password: str) -> KafkaSettings:
        """The settings of a user."""
        return KafkaSettings(
            bootstrap_servers=self.bootstrap,
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username=name,
            sasl_password=password,
            ssl_ca_location=str(self.ca),
        )

    def environ(self, service: str, folder: Path) -> dict[str, str]:
        """The environment of the service's process, the password in a file."""
        file = folder / f"{service}.password"
        file.write_text(self.passwords[service] + "\n")
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": f"backsight-{service}",
            "KAFKA_SASL_PASSWORD_FILE": str(file),
            "KAFKA_SSL_CA_LOCATION": str(self.ca),
        }


@contextmanager
def secured_broker(folder: Path) -> Iterator[Secured]:
    """The broker with the registry's topics, the table's ACLs, and a user for every service."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    self_signed(certificate, key)
    store = folder / "store.pem"
    store.write_text(key.read_text() + certificate.read_text())
    own, controller, guarded = free_port(), free_port(), free_port()
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    overrides = {
        **SMALL,
        "listeners": f"CLIENT://127.0.0.1:{own},GUARDED://127.0.0.1:{guarded},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"CLIENT://127.0.0.1:{own},GUARDED://127.0.0.1:{guarded}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,GUARDED:SASL_SSL,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.guarded.scram-sha-512.sasl.jaas.config": login,
        "listener.name.guarded.ssl.keystore.type": "PEM",
        "listener.name.guarded.ssl.keystore.location": str(store),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # Whoever comes by the plain listener administers; a site has a login for that too.
        "super.users": "User:ANONYMOUS",
    }
    broker = LocalBroker(folder / "kafka", port=own, controller_port=controller, overrides=overrides, bound=True)
    try:
        broker.start()
    except BrokerError as error:
        if os.environ.get("CI"):
            pytest.fail(f"no local Kafka in CI: {error}", pytrace=False)
        pytest.skip(f"no local Kafka here: {error}")
    try:
        cluster = admin(settings(broker.bootstrap))
        apply_topics(cluster, "", partitions=2)
        passwords = {service.name: secrets.token_urlsafe(16) for service in SERVICES}
        for name, password in passwords.items():
            put_user(cluster, f"backsight-{name}", password)
        allow(
            cluster,
            {(f"User:backsight-{service.name}", each) for service in SERVICES for each in grants(service)},
        )
        yield Secured(broker.bootstrap, f"127.0.0.1:{guarded}", certificate, passwords)
    finally:
        broker.stop()


def untrusted(folder: Path) -> Path:
    """Another authority than the broker's."""
    made = folder / "other.pem"
    self_signed(made, folder / "other.key")
    ssl.create_default_context(cafile=made)
    return made
