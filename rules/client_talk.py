"""Faust and aiokafka repeat themselves twenty times a second while a broker is away; here each thing is said once, and
then once a minute with a count."""

import logging
import time
from typing import Final

from runtime.logs import get_logger
from runtime.repeated import Repeated

TALKERS: Final = ("aiokafka", "faust", "mode")

log = get_logger(__name__)


class FoldedTalk(logging.Filter):
    """Takes the place of their records; one that carries a traceback goes through as it is."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, str], Repeated] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record goes on as it is."""
        if record.exc_info or record.name.partition(".")[0] not in TALKERS:
            return True
        # The text before its facts are filled in: one kind, whichever node or partition it is about.
        kind = self._kinds.setdefault((record.name, str(record.msg)[:60]), Repeated(log, "kafka_client_trouble"))
        kind.happened(round(time.monotonic() * 1000), by=record.name, said=record.getMessage()[:300])
        return False


def fold_client_talk() -> None:
    """Puts the filter before every handler of the process. Done again, changes nothing."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(each, FoldedTalk) for each in handler.filters):
            handler.addFilter(FoldedTalk())
