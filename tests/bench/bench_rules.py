"""How many detection events a second one rules process judges: a real worker on a real broker, twenty cameras with ten
ROIs each, twelve partitions, a backlog of events of 430 bytes.

Measured from commit to commit, so without the process's start. Beside it the CPU time of the process per event (its
own threads, without the broker), which a busy machine disturbs less, and the engine alone. Every alert is compared with
the engine's: a worker that loses events has no figure.
"""

import sys
import tempfile
import time
from pathlib import Path

import psutil

from runtime.broker import LocalBroker
from runtime.kafka import admin
from runtime.provision import apply_topics
from schemas.codec import encode
from tests.support.broker import settings
from tests.support.rules import (
    alerts_of,
    committed,
    distinct,
    events,
    judged_in_memory,
    publish_events,
    publish_revisions,
    revision,
    running_worker,
    stop,
)

CAMERAS, ROIS, PARTITIONS = 20, 10, 12
TARGET = 3_000
CASES = {"few hits": (60_000, 0.01), "20 % hits": (20_000, 0.25)}
"""Events, and the share of time in which an object is there; it is seen, in one of the ROIs, in 72 % of that."""


def measure(bootstrap: str, prefix: str, log: Path, count: int, share: float) -> tuple[float, float, float, float]:
    """Events per second of the worker, its CPU µs per event, the engine's µs per event, and the share of hits."""
    apply_topics(admin(settings(bootstrap)), prefix, partitions=PARTITIONS)
    rules = {f"cam{number}": revision(f"cam{number}", rois=ROIS) for number in range(CAMERAS)}
    made = {camera: events(camera, count // CAMERAS, 1, share) for camera in rules}
    publish_revisions(bootstrap, prefix, rules.values())
    total = publish_events(bootstrap, prefix, (event for turn in zip(*made.values(), strict=True) for event in turn))
    began = time.process_time()
    expected = [encode(alert) for camera in rules for alert in judged_in_memory(made[camera], rules[camera])]
    engine = (time.process_time() - began) / total
    with running_worker(bootstrap, prefix, log) as worker:
        process = psutil.Process(worker.pid)
        marks = []
        while not marks or marks[-1][1] < total:
            if worker.poll() is not None:
                raise RuntimeError(f"the worker ended: {log.read_text()[-2000:]}")
            done, used = committed(bootstrap, prefix), process.cpu_times()
            if done and (not marks or done > marks[-1][1]):
                marks.append((time.monotonic(), done, used.user + used.system))
            time.sleep(0.1)
        if stop(worker) != 0:
            raise RuntimeError("the worker did not end well")
    if distinct(alerts_of(bootstrap, prefix)) != distinct(expected):
        raise RuntimeError("the worker's alerts are not the engine's")
    (began, first, used), (ended, last, used_up) = marks[0], marks[-1]
    judged = last - first
    hit = sum(any(map(is_object, event.detections)) for each in made.values() for event in each) / total
    return judged / (ended - began), (used_up - used) / judged * 1e6, engine * 1e6, hit


def is_object(detection: object) -> bool:
    """Whether a detection is of the label that alerts."""
    return getattr(detection, "label", "") == "object"


def main() -> int:
    """Prints a line per case; fails when the worker's alerts are wrong."""
    print(f"{CAMERAS} cameras, {ROIS} ROIs each, {PARTITIONS} partitions, one process; the aim is {TARGET} events/s")
    print(f"{'case':<12}{'events/s':>10}{'CPU µs/event':>14}{'engine µs':>11}{'with object':>13}{'load':>7}")
    with tempfile.TemporaryDirectory() as folder:
        broker = LocalBroker(Path(folder) / "kafka", port=0, bound=True)
        broker.start()
        try:
            for number, (name, (count, share)) in enumerate(CASES.items()):
                log = Path(folder) / "rules.log"
                rate, cpu, engine, hit = measure(broker.bootstrap, f"bench{number}.", log, count, share)
                load = psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
                print(f"{name:<12}{rate:>10,.0f}{cpu:>14.0f}{engine:>11.1f}{hit:>13.0%}{load:>7.1f}", flush=True)
        finally:
            broker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
