"""What must be there before the rules can run. Faust waits for a missing topic without a word."""

from typing import Final

from runtime.kafka import BrokerUnreachable, KafkaException, admin, wait_for_broker
from runtime.settings import Settings
from schemas.topics import ALERTS, DEAD_LETTERS, DETECTIONS, ROI_REVISIONS, RULES_EPISODES, RULES_HITS

BROKER_SECONDS: Final = 30.0

TOPICS: Final = (DETECTIONS, ALERTS, RULES_HITS, RULES_EPISODES, ROI_REVISIONS, DEAD_LETTERS)


class TopicsUnfit(RuntimeError):
    """A topic is missing, or the topics by camera differ in their number of partitions."""


def check_topics(settings: Settings) -> None:
    """Raises `BrokerUnreachable` or `TopicsUnfit`, naming what is missing and what to do."""
    wait_for_broker(settings.kafka, BROKER_SECONDS)
    try:
        cluster = admin(settings.kafka, "backsight-rules-check").list_topics(timeout=BROKER_SECONDS)
    except KafkaException as error:
        raise BrokerUnreachable(f"the topics cannot be listed: {error.args[0].str()}") from None
    counts = {
        topic.name: len(found.partitions)
        for topic in TOPICS
        if (found := cluster.topics.get(topic.full_name(settings.prefix))) is not None and found.error is None
    }
    missing = [topic.full_name(settings.prefix) for topic in TOPICS if topic.name not in counts]
    if missing:
        raise TopicsUnfit(f"missing: {', '.join(missing)}; `backsight topics apply` creates them")
    by_camera = {topic.full_name(settings.prefix): counts[topic.name] for topic in TOPICS if topic.by_camera}
    if len(set(by_camera.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in by_camera.items())
        raise TopicsUnfit(f"topics by camera must have the same number of partitions, but {told}")
