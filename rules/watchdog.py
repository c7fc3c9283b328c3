"""Ends a worker that has stalled, and says how far it is behind. A thread, since the event loop may be what hangs."""

import os
import threading
import time
from typing import Any, Final

from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError

from rules.preflight import TopicsUnfit
from runtime.kafka import BrokerUnreachable
from runtime.lifecycle import EXIT_BROKER, EXIT_FAULT
from runtime.logs import get_logger
from runtime.moving import STALL_SECONDS, Moving

LOOK_SECONDS: Final = 2.0

log = get_logger(__name__)


def exit_code(error: BaseException) -> int:
    """The process's exit code for what ended it."""
    of_the_broker = isinstance(error, BrokerUnreachable | TopicsUnfit | KafkaError | ProducerSendError)
    return EXIT_BROKER if of_the_broker else EXIT_FAULT


class Watchdog:
    """Looks every two seconds."""

    def __init__(self, app: Any, source: str) -> None:
        self._app = app
        self._source = source
        self.moving = Moving("rules")
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begins looking."""
        threading.Thread(target=self._look, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Ends looking."""
        self._stopped.set()

    def lag(self) -> int:
        """Records of the assigned partitions between the log's end, as last fetched, and the committed offset."""
        consumer = self._app.consumer
        client = consumer._thread._consumer
        if client is None:
            return 0
        behind = 0
        for tp in client.assignment():
            if tp.topic == self._source:
                behind += max(0, (client.highwater(tp) or 0) - (consumer._committed_offset.get(tp) or 0))
        return behind

    def _look(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                lag = self.lag()
            except Exception as error:
                # The assignment changes under our eyes, in another thread; the next look sees the new one.
                log.debug("lag_unknown", error=error)
                continue
            judge, holding = self._app.judge, time.time() * 1000 < self._app.revisions.holding_until
            if self.moving.look(lag, judge.finished, judge.reached_at, holding=holding):
                log.critical("stalled", lag=lag, seconds=STALL_SECONDS)
                os._exit(EXIT_FAULT)
