"""How long an alert takes from the topic to the router's stdout, and how many a webhook sink delivers in a second."""

import subprocess
import threading
import time

from runtime.kafka import admin
from runtime.provision import apply_topics
from schemas.topics import ALERTS
from tests.support.alerts import opened, record_of
from tests.support.broker import new_prefix, running_broker, settings
from tests.support.receiver import Receiver
from tests.support.routing import alert_writer, router_process, write_alerts

LATENCY_ALERTS = 200
PER_SECOND = 20
MANY = 3000


def latency(bootstrap: str, prefix: str) -> None:
    """One alert at a time, from `produce` in another process's place to the line in the pipe."""
    router = router_process(bootstrap, prefix, stdout=subprocess.PIPE)
    assert router.stdout is not None
    sent: list[float] = []
    took: list[float] = []

    def read() -> None:
        assert router.stdout is not None
        for number in range(LATENCY_ALERTS + 1):
            router.stdout.readline()
            if number:  # the first one waits for the start
                took.append(time.perf_counter() - sent[number])

    writer = alert_writer(bootstrap)
    reading = threading.Thread(target=read)
    reading.start()
    for number in range(LATENCY_ALERTS + 1):
        key, value, headers = record_of(opened(number, camera=f"cam_{number % 5}"))
        sent.append(time.perf_counter())
        writer.produce(ALERTS.full_name(prefix), key=key, value=value, headers=headers)
        writer.flush(10)
        if number == 0:
            time.sleep(8)
        time.sleep(1 / PER_SECOND)
    reading.join(60)
    router.terminate()
    router.wait(30)
    router.stdout.close()
    took.sort()
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    print(f"topic to stdout at {PER_SECOND}/s: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms ({len(took)} alerts)")


def throughput(bootstrap: str, prefix: str) -> None:
    """As many alerts as there are, to a receiver in this process that answers at once."""
    start = round(time.time() * 1000) - MANY * 1000
    write_alerts(
        alert_writer(bootstrap), prefix, [opened(each, camera=f"c{each % 9}", at=start) for each in range(MANY)]
    )
    with Receiver() as receiver:
        router = router_process(bootstrap, prefix, receiver.url)
        first = receiver.wait_for(1, 60)[0]
        last = receiver.wait_for(MANY, 300)[-1]
        router.terminate()
        router.wait(30)
    print(f"webhook: {MANY / (last.at - first.at):.0f} alerts a second, {receiver.most_at_once} at once at most")


def main() -> None:
    """Both, on a broker of their own."""
    with running_broker() as broker:
        for measure in (latency, throughput):
            prefix = new_prefix()
            apply_topics(admin(settings(broker.bootstrap)), prefix, partitions=3)
            measure(broker.bootstrap, prefix)


if __name__ == "__main__":
    main()
