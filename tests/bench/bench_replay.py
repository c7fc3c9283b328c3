"""How many events per second and core a replay from Kafka judges, beside a bare loop that consumes and decodes the same
records with the same client and codec: twenty cameras with ten ROIs each, twelve partitions, 20 % hits.

CPU time of the process, its client's threads included and the broker not; both by turns, the medians. Every alert is
compared with the engine's. Then the memory of a process that judges a history, and of one that judges four times as
much.
"""

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import psutil
from msgspec.structs import replace

from replay.judging import Timeline
from replay.kafka_source import KafkaSource, Records
from replay.run import Judgement, Side, judge
from replay.spans import Span
from runtime.broker import LocalBroker
from runtime.kafka import admin
from runtime.provision import apply_topics
from schemas.codec import decode, encode
from schemas.messages import Detection, DetectionEvent
from tests.support.broker import settings
from tests.support.rules import BEGAN, DAY_MS, events, judged_in_memory, publish_events, revision

CAMERAS, ROIS, PARTITIONS = 20, 10, 12
EVENTS = 8_000
"""Of each camera in the shorter history: half an hour at five a second."""
SHARE = 0.28
"""Of the time in which an object is there; it is seen, in one of the ROIs, in 72 % of that."""
TURNS = 5
LEAST = 0.5
GROWTH_ALLOWED = 1.15
"""Of memory from one length to four times as much."""

RULES = {f"cam{number}": revision(f"cam{number}", rois=ROIS) for number in range(CAMERAS)}
SPAN = Span(BEGAN, BEGAN + 20 * DAY_MS)


def history(camera: str, count: int) -> Iterator[DetectionEvent]:
    """A camera's events as a detector records them from a yard: five boxes, and at times the object."""
    dice = random.Random(camera)
    for event in events(camera, count, 1, SHARE):
        more = tuple(some_box(dice, label) for label in ("pine", "pine", "worker"))
        yield event if event.skipped else replace(event, detections=more + event.detections)


def some_box(dice: random.Random, label: str) -> Detection:
    """A box anywhere."""
    left, top = round(dice.random() * 0.8, 4), round(dice.random() * 0.8, 4)
    return Detection(label, round(0.1 + 0.8 * dice.random(), 4), (left, top, round(left + 0.1, 4), round(top + 0.2, 4)))


def write(bootstrap: str, prefix: str, count: int) -> int:
    """Makes the topics and writes the history, so many events of each camera; answers how many in all."""
    apply_topics(admin(settings(bootstrap)), prefix, partitions=PARTITIONS)
    turns = zip(*(history(each, count) for each in RULES), strict=True)
    return publish_events(bootstrap, prefix, chain.from_iterable(turns))


def replayed(bootstrap: str, prefix: str) -> Judgement:
    """The product's way: the ten polygons as a candidate."""
    source = KafkaSource(settings(bootstrap), prefix)
    try:
        side = Side("candidate", {camera: Timeline.constant(rules.document) for camera, rules in RULES.items()})
        (judgement,) = judge(source, SPAN, [side])
        return judgement
    finally:
        source.close()


def bare(bootstrap: str, prefix: str) -> int:
    """The same client and codec, from each partition's beginning to the end that it had at the start."""
    records = Records(settings(bootstrap), f"{prefix}detections")
    try:
        count = 0
        for some in records.read({number: first for number, (first, _) in records.spans.items()}):
            for record in some:
                decode(DetectionEvent, record.value(), record.headers())
            count += len(some)
        return count
    finally:
        records.close()


def compare_speed(bootstrap: str, count: int) -> float:
    """Prints what both ways take and answers the ratio of their events per second and core."""
    total = count * CAMERAS
    expected = {
        camera: list(map(encode, judged_in_memory(history(camera, count), rules))) for camera, rules in RULES.items()
    }
    taken: dict[str, list[tuple[float, float]]] = {"bare loop": [], "replay": []}
    judgement = replayed(bootstrap, "one.")
    for _ in range(TURNS):
        began, clock = process_time(), perf_counter()
        assert bare(bootstrap, "one.") == total
        between, clock_between = process_time(), perf_counter()
        judgement = replayed(bootstrap, "one.")
        ended, clock_ended = process_time(), perf_counter()
        taken["bare loop"].append((between - began, clock_between - clock))
        taken["replay"].append((ended - between, clock_ended - clock_between))
    found = {camera: list(map(encode, outcome.alerts)) for camera, outcome in judgement.outcomes.items()}
    if found != expected:
        raise RuntimeError("the replay's alerts are not the engine's")
    hits = sum(outcome.hits for outcome in judgement.outcomes.values())
    print(f"{total} events, {hits / total:.0%} with a hit, {sum(map(len, found.values()))} equal alerts")
    print(f"{'':<12}{'µs CPU/event':>14}{'events/s and core':>20}{'events/s':>12}{'load':>7}")
    load = psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
    for name, turns in taken.items():
        cpu, wall = median(each[0] for each in turns), median(each[1] for each in turns)
        print(f"{name:<12}{cpu / total * 1e6:>14.1f}{total / cpu:>20,.0f}{total / wall:>12,.0f}{load:>7.1f}")
    return median(one[0] / other[0] for one, other in zip(taken["bare loop"], taken["replay"], strict=True))


def memory_of(bootstrap: str, prefix: str) -> float:
    """The most memory in MB that a process took which judged the history."""
    child = [sys.executable, "-m", "tests.bench.bench_replay", "--judge", bootstrap, prefix]
    return float(subprocess.run(child, check=True, capture_output=True, text=True).stdout)


def judge_and_tell(bootstrap: str, prefix: str) -> None:
    """What the child does."""
    replayed(bootstrap, prefix)
    # Not ru_maxrss, which begins with what the parent had.
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) / 1024)


def main() -> int:
    """Prints both; fails where a figure is not reached."""
    if sys.argv[1:2] == ["--judge"]:
        judge_and_tell(*sys.argv[2:])
        return 0
    print(f"{CAMERAS} cameras, {ROIS} polygons each, {PARTITIONS} partitions; at least {LEAST:.0%} of the bare loop")
    with tempfile.TemporaryDirectory() as folder:
        broker = LocalBroker(Path(folder) / "kafka", port=0, bound=True)
        broker.start()
        try:
            once = write(broker.bootstrap, "one.", EVENTS)
            ratio = compare_speed(broker.bootstrap, EVENTS)
            print(f"a replay judges {ratio:.0%} of what the bare loop reads", flush=True)
            four_times = write(broker.bootstrap, "four.", 4 * EVENTS)
            short, long = (memory_of(broker.bootstrap, prefix) for prefix in ("one.", "four."))
            print(f"memory at most: {short:.0f} MB for {once} events, {long:.0f} MB for {four_times}")
        finally:
            broker.stop()
    return 0 if ratio >= LEAST and long <= short * GROWTH_ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
