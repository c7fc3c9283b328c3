"""Keeps the list of alerts fresh from `alerts`, `deliveries` and `marks`, in a thread of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import msgspec

from evidence.index import AlertIndex, Asked, Entry, Key, Page
from runtime import metrics
from runtime.kafka import BrokerUnreachable
from runtime.logs import get_logger
from runtime.repeated import Repeated
from runtime.settings import KafkaSettings
from runtime.topic_reader import TopicReader
from schemas.codec import decode
from schemas.messages import Alert, Delivery, Mark
from schemas.problems import Undecodable
from schemas.topics import ALERTS, DAY, DELIVERIES, MARKS, Topic

REFRESH_SECONDS: Final = 2.0
CLOSE_SECONDS: Final = 5.0

Read = TypeVar("Read", bound=msgspec.Struct)

log = get_logger(__name__)


class AlertList:
    """Alerts of the last ``days``. A broker that is away changes nothing: what is known stays.

    ``clock`` answers milliseconds UTC. Marks are counted here, since they are written by commands too, which nobody
    scrapes.
    """

    def __init__(self, kafka: KafkaSettings, prefix: str, days: int, clock: Callable[[], int]) -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._days = days
        self._clock = clock
        self._index = AlertIndex()
        self._turn = threading.Lock()
        self._closing = threading.Event()
        self._trouble = Repeated(log, "alert_list_not_fresh")
        # Read and not taken yet; what a broker that went away cut short is taken with the next round.
        self._deliveries: list[Delivery] = []
        self._marks: list[Mark] = []
        self._thread = threading.Thread(target=self._follow, name="alert-list", daemon=True)
        self.complete = False
        """Whether everything that is on the topics was read once."""

    def start(self) -> None:
        """Begins to read."""
        for true in (True, False):
            metrics.MARKS.labels(_verdict(true))  # at 0, so that the first mark is an increase
        self._thread.start()

    def close(self) -> None:
        """Reads no more."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def get(self, alert_id: str) -> Entry | None:
        """The alert, or None where it is not known (yet)."""
        with self._turn:
            return self._index.get(alert_id)

    def page(self, asked: Asked, limit: int, below: Key | None) -> Page:
        """See `AlertIndex.page`."""
        with self._turn:
            return self._index.page(asked, limit, below)

    def _follow(self) -> None:
        since = self._clock() - self._days * DAY
        topics = {topic.name: self._reader(topic, since) for topic in (ALERTS, DELIVERIES)}
        topics[MARKS.name] = self._reader(MARKS, None)
        try:
            while not self._closing.is_set():
                try:
                    self._refresh(topics)
                    self.complete = True
                except BrokerUnreachable as error:
                    self._trouble.happened(round(time.monotonic() * 1000), reason=str(error))
                self._closing.wait(REFRESH_SECONDS)
        finally:
            for reader in topics.values():
                reader.close()

    def _refresh(self, topics: dict[str, TopicReader]) -> None:
        # Alerts last: so whatever is told of one that was there by then finds it.
        self._deliveries.extend(_read(topics[DELIVERIES.name], Delivery))
        self._marks.extend(_read(topics[MARKS.name], Mark))
        for alert in _read(topics[ALERTS.name], Alert):
            with self._turn:
                self._index.take(alert)
        if self.complete:  # what was said before this process began was counted by another
            for mark in self._marks:
                metrics.MARKS.labels(_verdict(mark.true)).inc()
        with self._turn:
            for delivery in self._deliveries:
                self._index.take_delivery(delivery)
            for mark in self._marks:
                self._index.take_mark(mark)
            self._deliveries, self._marks = [], []
            self._index.forget(self._clock() - self._days * DAY)

    def _reader(self, topic: Topic, since: int | None) -> TopicReader:
        return TopicReader(self._kafka, topic.full_name(self._prefix), "backsight-alert-list", since=since)


def _verdict(true: bool) -> str:
    return "true" if true else "false"


def _read(topic: TopicReader, kind: type[Read]) -> Iterator[Read]:
    for record in topic.new():
        try:
            yield decode(kind, record.value(), record.headers())
        except Undecodable as error:
            if record.value() is not None:
                log.warning("record_undecodable", topic=topic.topic, offset=record.offset(), reason=error.reason)
