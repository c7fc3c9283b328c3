"""`kill -9` of the router in mid-run: nothing lost, doubles only of what was under way, under the same id."""

import random
import time
from collections import Counter

import pytest

from router.lanes import CONCURRENCY
from schemas.messages import delivery_id
from tests.support.alerts import opened, resolved
from tests.support.receiver import Receiver, Slow
from tests.support.routing import alert_writer, deliveries, router_process, write_alerts

ALERTS = 300
KILLS = 4


@pytest.mark.slow
def test_kill_9_loses_nothing_and_doubles_only_what_was_under_way(bootstrap, prefix, topics):
    dice = random.Random(20261123)
    start = round(time.time() * 1000) - 3_600_000
    alerts = []
    for number in range(ALERTS // 2):
        first = opened(number, camera=f"cam_{number % 7}", at=start)
        alerts += [first, resolved(first, after_ms=400)]
    write_alerts(alert_writer(bootstrap), prefix, alerts)
    expected = {delivery_id(alert) for alert in alerts}
    with Receiver([Slow(0.03)]) as receiver:
        router = router_process(bootstrap, prefix, receiver.url)
        try:
            for kill in range(KILLS):
                # Somewhere in the next stretch, while deliveries are under way.
                receiver.wait_for(len(receiver.got) + dice.randint(20, ALERTS // (KILLS + 2)), 90)
                router.kill()
                router.wait()
                router = router_process(bootstrap, prefix, receiver.url)
                assert kill < KILLS
            receiver.wait_until(lambda: set(receiver.ids) >= expected, 120)
        finally:
            router.terminate()
            assert router.wait(60) == 0
        assert receiver.most_at_once <= 2 * CONCURRENCY
    counts = Counter(receiver.ids)
    assert set(counts) == expected, "nothing lost, nothing invented"
    doubled = sum(counts.values()) - len(expected)
    # Under way at a kill: sent without an answer, or answered and the outcome not yet on the topic.
    assert doubled <= KILLS * 2 * CONCURRENCY
    print(f"{len(expected)} alerts, {KILLS} kills, {doubled} doubled")
    for alert in alerts:
        if alert.seq == 0:
            assert receiver.ids.index(f"{alert.alert_id}_0") < receiver.ids.index(f"{alert.alert_id}_1")
    assert {each.delivery_id for each in deliveries(bootstrap, prefix) if each.outcome == "delivered"} == expected
