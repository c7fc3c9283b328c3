"""A real Apache Kafka 4.4 for one machine: KRaft, one node, loopback only, no Docker.

The demo, `backsight up` and the tests use it; production sets KAFKA_BOOTSTRAP_SERVERS and never comes here.
"""

from runtime.broker.errors import BrokerError
from runtime.broker.jars import KAFKA_VERSION
from runtime.broker.local import DEFAULT_PORT, BrokerStatus, LocalBroker

__all__ = ["DEFAULT_PORT", "KAFKA_VERSION", "BrokerError", "BrokerStatus", "LocalBroker"]
