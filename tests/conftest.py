"""Fixtures that every test may ask for: the session's Kafka broker, and topics of the test's own on it.

    kafka_broker      the session's LocalBroker, started by the first test that asks
    bootstrap         its address, "127.0.0.1:PORT"
    prefix            begins every topic and group of this test; its topics are deleted afterwards
    topic_partitions  how many partitions topics by camera have (3; define it again in a module for another count)
    topics            the registry's topics under `prefix`: short name to full name

A test that kills the broker takes one of its own (`running_broker` of tests/support/broker.py).
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from runtime.broker import LocalBroker
from runtime.kafka import admin
from runtime.provision import apply_topics
from schemas.topics import TOPICS
from tests.support.broker import new_prefix, remove_prefixed, running_broker, settings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses the broker carries the marker `kafka`, so that `-m "not kafka"` is the fast half."""
    for item in items:
        if "kafka_broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(autouse=True)
def logs_as_they_were(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that is run in this process sets the whole process's logging up: not beyond its test.

    Loggers that were cached then would keep that set-up, so none is.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure = structlog.configure
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(
        structlog, "configure", lambda **told: configure(**{**told, "cache_logger_on_first_use": False})
    )
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[LocalBroker]:
    """The broker that all tests share. 150 MB; started once, stopped at the end."""
    with running_broker() as broker:
        yield broker


@pytest.fixture
def bootstrap(kafka_broker: LocalBroker) -> str:
    """The broker's address."""
    return kafka_broker.bootstrap


@pytest.fixture
def prefix(bootstrap: str) -> Iterator[str]:
    """A topic prefix of this test's own."""
    chosen = new_prefix()
    yield chosen
    remove_prefixed(bootstrap, chosen)


@pytest.fixture
def topic_partitions() -> int:
    """Partitions of the topics by camera: fewer than the registry's 12, for speed."""
    return 3


@pytest.fixture
def topics(bootstrap: str, prefix: str, topic_partitions: int) -> dict[str, str]:
    """Every topic of the registry, made under the test's prefix."""
    apply_topics(admin(settings(bootstrap)), prefix, partitions=topic_partitions)
    return {topic.name: topic.full_name(prefix) for topic in TOPICS}
