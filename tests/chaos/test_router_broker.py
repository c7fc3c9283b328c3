"""A broker that goes away and returns: the router waits, tells everything once, and needs no restart."""

import time

import pytest

from runtime.kafka import admin
from runtime.lifecycle import EXIT_BROKER, EXIT_OK
from runtime.provision import apply_topics
from schemas.messages import delivery_id
from tests.support.alerts import opened
from tests.support.broker import running_broker, settings
from tests.support.receiver import Receiver, Slow, Status
from tests.support.routing import RouterThread, alert_writer, deliveries, router_settings, write_alerts


@pytest.mark.slow
@pytest.mark.kafka
def test_alerts_read_before_and_written_after_an_outage_are_told_once():
    start = round(time.time() * 1000) - 600_000
    alerts = [opened(number, camera=f"cam_{number % 3}", at=start) for number in range(20)]
    with running_broker() as broker, Receiver([Slow(3.0)]) as receiver:
        apply_topics(admin(settings(broker.bootstrap)), "", partitions=3)
        write_alerts(alert_writer(broker.bootstrap), "", alerts[:10])
        router = RouterThread(router_settings(broker.bootstrap, "", protocol="webhook", webhook_url=receiver.url))
        router.start()
        try:
            receiver.wait_for(10)
            # Attempts are under way; they end, and their outcomes are published, while the broker is away.
            broker.kill()
            receiver.habits = [Status()]
            broker.start()
            write_alerts(alert_writer(broker.bootstrap), "", alerts[10:])
            receiver.wait_for(20, 90)
        finally:
            code = router.drain()
        assert code == EXIT_OK
        assert sorted(receiver.ids) == sorted(map(delivery_id, alerts))
        assert {each.delivery_id for each in deliveries(broker.bootstrap, "")} == set(map(delivery_id, alerts))


@pytest.mark.slow
@pytest.mark.kafka
def test_a_router_that_is_stopped_while_the_broker_is_away_ends_and_says_so():
    start = round(time.time() * 1000) - 600_000
    with running_broker() as broker, Receiver([Slow(2.0)]) as receiver:
        apply_topics(admin(settings(broker.bootstrap)), "", partitions=3)
        write_alerts(alert_writer(broker.bootstrap), "", [opened(at=start)])
        router = RouterThread(router_settings(broker.bootstrap, "", protocol="webhook", webhook_url=receiver.url))
        router.start()
        receiver.wait_for(1)
        broker.kill()
        started = time.monotonic()
        assert router.drain() == EXIT_BROKER
        assert time.monotonic() - started < 40
