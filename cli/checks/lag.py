"""Whether what was written is being read: how long the oldest record has waited for each stage."""

import time

from cli.checks.finding import Finding, note, ok, warning
from runtime.kafka import OFFSET_BEGINNING, BrokerUnreachable, Consumer, TopicPartition
from runtime.pipeline.drain import committed, group_view, log_ends
from runtime.settings import Settings
from schemas.topics import DETECTIONS, FRAMES, Topic

LAG_SECONDS = 60.0
_STAGES = (("inference", FRAMES), ("rules", DETECTIONS))


def lag(settings: Settings) -> list[Finding]:
    """A line for each stage that reads a topic by camera; nothing where Kafka or the topic is away."""
    return [found for stage, topic in _STAGES if (found := _of(settings, stage, topic)) is not None]


def _of(settings: Settings, stage: str, topic: Topic) -> Finding | None:
    subject = f"lag of {stage}"
    name = topic.full_name(settings.prefix)
    view = group_view(settings.kafka, settings.prefix + stage)
    try:
        ends = log_ends(view, name)
        if not ends:
            return note(subject, f"{name} is empty: nothing was written yet, or all of it is past its retention")
        done = committed(view, name, sorted(ends))
        behind = {number: end - done.get(number, 0) for number, end in ends.items() if done.get(number, 0) < end}
        if not behind:
            return ok(subject, f"none: all of {name} is read")
        view.assign([TopicPartition(name, number, done.get(number, OFFSET_BEGINNING)) for number in behind])
        oldest = _oldest(view, len(behind))
    except BrokerUnreachable:
        return None  # the check of Kafka says so
    finally:
        view.close()
    said = f"{sum(behind.values())} records of {name}, the oldest has waited for {oldest:.0f} s"
    if oldest < LAG_SECONDS:
        return ok(subject, said)
    return warning(subject, said, f"does `backsight {stage}` run? if it does, it is too slow: docs/tuning.md")


def _oldest(view: Consumer, partitions: int) -> float:
    """Seconds since the oldest of the next records, one a partition, was written."""
    ages: dict[int, float] = {}
    deadline = time.monotonic() + 5
    while len(ages) < partitions and time.monotonic() < deadline:
        message = view.poll(0.5)
        if message is not None and message.error() is None:
            ages.setdefault(message.partition(), time.time() - message.timestamp()[1] / 1000)
    return max(ages.values(), default=0.0)
