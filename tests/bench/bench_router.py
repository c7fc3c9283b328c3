"""How long an alert takes from the topic to the router's stdout, how many a webhook sink delivers in a second, and what
memory the router holds while a hundred thousand wait.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from runtime.kafka import admin
from runtime.provision import apply_topics
from schemas.messages import Alert
from schemas.topics import ALERTS
from tests.support.alerts import opened, record_of
from tests.support.broker import new_prefix, running_broker, settings
from tests.support.receiver import Receiver, Slow
from tests.support.routing import alert_writer, router_process, write_alerts

LATENCY_ALERTS = 200
PER_SECOND = 20
MANY = 6000
WARM = 500
"""The first of them are not counted: the process warms up."""
WAITING = 100_000
SETTLE_SECONDS = 5


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
        first, before = receiver.wait_for(WARM, 60)[WARM - 1], _cpu_seconds(router.pid)
        last, after = receiver.wait_for(MANY, 300)[MANY - 1], _cpu_seconds(router.pid)
        router.terminate()
        router.wait(30)
    count = MANY - WARM
    print(
        f"webhook: {count / (last.at - first.at):.0f} alerts a second, {receiver.most_at_once} at once at most, "
        f"{(after - before) / count * 1000:.2f} ms of CPU each in the router"
    )


def memory(bootstrap: str, prefix: str) -> None:
    """A receiver that never answers, and ever more alerts that wait for it."""
    writer = alert_writer(bootstrap)
    start = round(time.time() * 1000) - WAITING * 100
    write_alerts(writer, prefix, [_waiting(number, start) for number in range(1000)])
    with Receiver([Slow(3600)]) as receiver:
        router = router_process(bootstrap, prefix, receiver.url, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        receiver.wait_for(1, 60)
        time.sleep(SETTLE_SECONDS)
        held = [_resident_mb(router.pid)]
        for step in range(4):
            numbers = range(1000 + step * WAITING // 4, 1000 + (step + 1) * WAITING // 4)
            write_alerts(writer, prefix, [_waiting(number, start) for number in numbers])
            time.sleep(SETTLE_SECONDS)
            held.append(_resident_mb(router.pid))
        router.kill()
        router.wait()
    print(
        f"memory: {held[0]:.0f} MB with 1,000 alerts waiting, then {', '.join(f'{each:.0f}' for each in held[1:])} MB"
    )


def _waiting(number: int, start: int) -> Alert:
    """Ten alerts a second, so that the oldest is not too old."""
    return opened(0, camera=f"c{number % 97}", at=start + number * 100)


def _cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """All, or those named, on a broker of their own."""
    chosen = {"latency": latency, "throughput": throughput, "memory": memory}
    with running_broker() as broker:
        for measure in [chosen[name] for name in sys.argv[1:]] or chosen.values():
            prefix = new_prefix()
            apply_topics(admin(settings(broker.bootstrap)), prefix, partitions=3)
            measure(broker.bootstrap, prefix)


if __name__ == "__main__":
    main()
