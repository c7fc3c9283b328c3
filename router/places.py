"""Which partitions a sink's stage has, how far each is done, and what of that is committed.

The one partition of `alerts.system` goes by the number `OF_SYSTEM` here; those of `alerts` go by their own.
"""

from collections.abc import Iterable
from typing import Final

from router.progress import Progress
from runtime.kafka import Consumer, KafkaError, KafkaException, TopicPartition
from runtime.logs import get_logger
from runtime.metrics import LAST_COMMIT

OF_SYSTEM: Final = -1

log = get_logger(__name__)


class Places:
    """The partitions of both topics that are ours. ``stage`` is the label of the metrics.

    The consumer comes by `follow`, since it is made with `commit_ended`.
    """

    def __init__(self, stage: str, alerts: str, of_system: str) -> None:
        self.topics = (alerts, of_system)
        self._stage = stage
        self._consumer: Consumer
        self._progress: dict[int, Progress] = {}
        self._committed: dict[int, int] = {}

    def follow(self, consumer: Consumer) -> None:
        """From now on commits through this one."""
        self._consumer = consumer

    @property
    def ours(self) -> set[int]:
        """The numbers of the partitions that are ours."""
        return set(self._progress)

    def given(self, numbers: Iterable[int]) -> None:
        """They are ours now, with nothing done."""
        for number in numbers:
            self._progress[number] = Progress()

    def forget(self, numbers: Iterable[int]) -> None:
        """They are ours no more."""
        for number in numbers:
            self._progress.pop(number, None)
            self._committed.pop(number, None)

    def begin(self, number: int, offset: int) -> None:
        """A record was read."""
        self._progress.setdefault(number, Progress()).begin(offset)

    def done(self, number: int, offset: int) -> None:
        """All that is to be done with a record is done."""
        self._progress[number].done(offset)

    def commit(self, *, wait: bool, numbers: set[int] | None = None) -> None:
        """Commits what is done of these partitions; None: of all."""
        ready = {
            number: offset
            for number, progress in self._progress.items()
            if (numbers is None or number in numbers)
            and (offset := progress.committable) is not None
            and offset != self._committed.get(number)
        }
        if not ready:
            return
        offsets = [self.place(number, offset) for number, offset in ready.items()]
        self._committed.update(ready)
        try:
            self._consumer.commit(offsets=offsets, asynchronous=not wait)
        except KafkaException as error:
            self.commit_ended(error.args[0], offsets)

    def commit_ended(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """A commit that failed is made good by the next one, or by `deliveries` after a crash."""
        failed = [each for each in offsets if error is not None or each.error is not None]
        for each in failed:
            self._committed.pop(self.number(each.topic, each.partition), None)
        if len(failed) < len(offsets):
            LAST_COMMIT.labels(self._stage).set_to_current_time()
        if failed:
            log.warning("commit_failed", reason=(error or failed[0].error).str())

    def lag(self) -> int:
        """Records that are not done."""
        lag = 0
        for number, progress in self._progress.items():
            _, end = self._consumer.get_watermark_offsets(self.place(number), cached=True)
            at = progress.committable
            if end > 0 and at is not None:
                lag += max(0, end - at)
        return lag

    def committed(self) -> dict[str, dict[int, int]]:
        """The committed offsets of what is ours, by topic and partition, as the broker has them."""
        found = self._consumer.committed([self.place(number) for number in self._progress], timeout=30)
        return {topic: {at.partition: at.offset for at in found if at.topic == topic} for topic in self.topics}

    def number(self, topic: str | None, partition: int | None) -> int:
        """By which a partition goes here."""
        return OF_SYSTEM if topic == self.topics[1] else int(partition or 0)

    def place(self, number: int, offset: int = 0) -> TopicPartition:
        """The other way round."""
        topic, partition = (self.topics[1], 0) if number == OF_SYSTEM else (self.topics[0], number)
        return TopicPartition(topic, partition, offset)
