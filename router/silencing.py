"""Which silences hold for an alert now. The first half is pure; the second follows the topic in a thread."""

import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from router.matchers import BadMatcher, Matcher, matcher
from runtime.kafka import BrokerUnreachable
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from runtime.silences import SilenceLog
from schemas.documents.routes import LABELS
from schemas.messages import Silence

LONGEST_MS: Final = 7 * 86_400_000
"""Nobody remembers a silence for longer."""
REFRESH_SECONDS: Final = 2.0

log = get_logger(__name__)


class BadSilence(ValueError):
    """The silence cannot be meant; says what was expected."""


class Silenced(Struct, frozen=True):
    """A silence made ready."""

    silence: Silence
    matchers: tuple[Matcher, ...]

    def holds(self, labels: Mapping[str, str], now: int) -> bool:
        """Whether it holds for an alert with these labels."""
        within = self.silence.starts_at <= now < self.silence.ends_at
        return within and all(each.holds(labels) for each in self.matchers)


def new_silence(
    matchers: Sequence[str], *, starts_at: int, ends_at: int, author: str, comment: str, now: int
) -> Silence:
    """A silence as somebody asks for it. Raises `BadSilence`."""
    if not matchers:
        raise BadSilence("a silence needs a matcher: without one it would keep everything from everybody")
    for text in matchers:
        try:
            label = matcher(text).label
        except BadMatcher as bad:
            raise BadSilence(str(bad)) from None
        if label not in LABELS:
            raise BadSilence(f"{text!r}: there is no label {label!r}; known: {', '.join(LABELS)}")
    if ends_at <= max(starts_at, now):
        raise BadSilence("a silence ends after it starts, and in the future")
    if ends_at - starts_at > LONGEST_MS:
        raise BadSilence(f"a silence lasts at most {LONGEST_MS // 86_400_000} days")
    if not author.strip() or not comment.strip():
        raise BadSilence("a silence needs an author and a comment: who said so, and why")
    return Silence(str(uuid.uuid4()), tuple(matchers), starts_at, ends_at, author.strip(), comment.strip(), now)


def made_ready(silences: Iterable[Silence], now: int) -> tuple[Silenced, ...]:
    """Those that have not ended. One whose matchers do not read silences nothing, and is logged."""
    ready = []
    for silence in silences:
        if silence.ends_at <= now:
            continue
        try:
            ready.append(Silenced(silence, tuple(map(matcher, silence.matchers))))
        except BadMatcher as bad:
            log.error("silence_unreadable", silence=silence.silence_id, reason=str(bad))
    return tuple(ready)


class SilenceFollower:
    """Keeps the silences fresh in a thread of its own.

    A broker that is away changes nothing: what was known holds until it ends by its own time.
    """

    def __init__(self, kafka: KafkaSettings, prefix: str) -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="silences", daemon=True)
        self._ready: tuple[Silenced, ...] = ()

    def start(self) -> None:
        """Reads what there is, then goes on in a thread. Raises `BrokerUnreachable`."""
        silences = SilenceLog(self._kafka, self._prefix, "backsight-router-silences")
        silences.refresh()
        self._ready = made_ready(silences.every(), round(time.time() * 1000))
        self._silences = silences
        self._thread.start()

    def holds(self, labels: Mapping[str, str], now: int) -> bool:
        """Whether any silence holds for an alert with these labels; from any thread."""
        return any(each.holds(labels, now) for each in self._ready)

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(REFRESH_SECONDS)

    def _follow(self) -> None:
        while not self._stopped.wait(REFRESH_SECONDS):
            try:
                changed = self._silences.refresh()
            except BrokerUnreachable as error:
                log.warning("silences_unreachable", reason=str(error))
                continue
            if changed:
                self._ready = made_ready(self._silences.every(), round(time.time() * 1000))
                log.info("silences_changed", in_force=len(self._ready))
        self._silences.close()
