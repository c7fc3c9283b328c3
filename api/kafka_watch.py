"""Whether Kafka answers, asked now and then by a thread of its own so that `/health` never waits for it."""

import threading
from typing import Final, NamedTuple

from api.problems import kafka_away
from runtime.kafka import KafkaException, admin
from runtime.settings import KafkaSettings
from schemas.topics import TOPICS

EVERY_SECONDS: Final = 10.0
WAIT_SECONDS: Final = 5.0


class KafkaState(NamedTuple):
    """``status`` is `ok`, `unreachable`, `topics_missing`, or `unknown` before the first answer."""

    status: str
    detail: str | None = None


def reached(state: KafkaState) -> None:
    """Raises `ApiProblem` 503 where Kafka is known to be away, so that nobody waits to learn it again."""
    if state.status in ("unreachable", "topics_missing"):
        raise kafka_away(state.detail or state.status)


class KafkaWatch:
    """Asks the cluster for its topics every ten seconds."""

    def __init__(self, kafka: KafkaSettings, prefix: str = "") -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._closing = threading.Event()
        self.state = KafkaState("unknown")

    def start(self) -> None:
        """Begins to ask."""
        threading.Thread(target=self._run, name="kafka-watch", daemon=True).start()

    def close(self) -> None:
        """Asks no more."""
        self._closing.set()

    def _run(self) -> None:
        client = admin(self._kafka, "backsight-api")
        while not self._closing.is_set():
            try:
                found = client.list_topics(timeout=WAIT_SECONDS).topics
            except KafkaException as error:
                self.state = KafkaState("unreachable", error.args[0].str())
            else:
                missing = [name for topic in TOPICS if (name := topic.full_name(self._prefix)) not in found]
                detail = f"there is no topic {', '.join(missing)}; `backsight topics apply` creates them"
                self.state = KafkaState("topics_missing", detail) if missing else KafkaState("ok")
            self._closing.wait(EVERY_SECONDS)
