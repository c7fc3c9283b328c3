"""Alerts of a span told to a sink again, under the delivery ids that they always had.

How a delivery ends is written to `deliveries` only where it succeeded and the record does not say so already; why is in
docs/decisions/replay-deliveries.md.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from replay.kafka_source import Records
from replay.spans import Span
from router.delivery_log import SKEW_MS
from router.lanes import Ended, Lanes
from router.outcomes import Outcomes, delivery_of
from router.retry import RetryPolicy
from router.sinks import Notice, Sink, SinkGone
from runtime.kafka import BrokerUnreachable, producer
from runtime.lifecycle import Stop
from runtime.settings import KafkaSettings, Settings
from schemas.codec import decode
from schemas.messages import Alert, Delivery, Outcome, Severity
from schemas.problems import Undecodable
from schemas.topics import ALERTS, DELIVERIES

MOST_UNDER_WAY: Final = 256
MOST_FAILED_IN_A_ROW: Final = 20
"""So many alerts one after the other that were not delivered: then it is the receiver, and the rest is not tried."""
LOOK_SECONDS: Final = 0.2
ASK_AT_MOST_MS: Final = 60_000
"""How long a receiver may put us off; somebody is waiting in front of a terminal."""


class Wanted(Struct, frozen=True):
    """Which alert phases are meant: those whose instant lies in the span. An empty set, or None, takes all."""

    span: Span
    cameras: frozenset[str] | None = None
    rois: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    severities: frozenset[Severity] = frozenset()

    def takes(self, notice: Notice) -> bool:
        """Whether it is meant."""
        alert = notice.alert
        return (
            self.span.holds(notice.instant)
            and (self.cameras is None or alert.camera_id in self.cameras)
            and (not self.rois or alert.roi in self.rois)
            and (not self.labels or alert.label in self.labels)
            and (not self.severities or alert.severity in self.severities)
        )


class Found(Struct, frozen=True):
    """What would be told, in the order of time, and what the record says of it.

    ``recorded``: the newest outcome of each delivery id with this sink; none where the router told nothing yet.
    ``bad``: records of the topic that cannot be decoded.
    """

    notices: tuple[Notice, ...]
    recorded: dict[str, Outcome]
    bad: int

    def undelivered(self) -> tuple[Notice, ...]:
        """Those that should have been told and were not: the record says neither `delivered` nor `silenced`."""
        settled = ("delivered", "silenced")
        return tuple(each for each in self.notices if self.recorded.get(each.delivery_id) not in settled)


def find(settings: Settings, sink: str, wanted: Wanted) -> Found:
    """Looks the alerts up, each phase once however often it was sent. Raises `BrokerUnreachable`."""
    notices: dict[str, Notice] = {}
    bad = 0
    records = Records(settings.kafka, ALERTS.full_name(settings.prefix), client_id="backsight-redeliver")
    try:
        for some in records.read(records.since(wanted.span.begin)):
            for record in some:
                value = record.value() or b""
                try:
                    notice = Notice(decode(Alert, value, record.headers() or []), value)
                except Undecodable:
                    bad += 1
                    continue
                if wanted.takes(notice):
                    notices.setdefault(notice.delivery_id, notice)
    finally:
        records.close()
    ordered = sorted(notices.values(), key=lambda each: (each.instant, each.alert.seq))
    known = outcomes_recorded(settings.kafka, settings.prefix, sink, wanted.span.begin - SKEW_MS)
    return Found(tuple(ordered), known, bad)


def outcomes_recorded(kafka: KafkaSettings, prefix: str, sink: str, since: int) -> dict[str, Outcome]:
    """The newest outcome of every delivery to the sink that ended at ``since`` or later. Raises `BrokerUnreachable`."""
    found: dict[str, Outcome] = {}
    records = Records(kafka, DELIVERIES.full_name(prefix), client_id="backsight-redeliver-log")
    try:
        for some in records.read(records.since(since)):
            for record in some:
                if not (record.key() or b"").startswith(f"{sink}/".encode()):
                    continue
                try:
                    delivery = decode(Delivery, record.value(), record.headers() or [])
                except Undecodable:
                    continue  # nothing is known of it then, so it counts as not delivered
                found[delivery.delivery_id] = delivery.outcome
    finally:
        records.close()
    return found


@dataclass
class Tally:
    """How it went. ``failed`` holds those that were not delivered, ``untried`` counts what was left when it ended.

    ``told`` are the ids of the delivered. ``stopped`` says why it ended before its time.
    """

    total: int
    told: set[str] = field(default_factory=set)
    failed: list[Ended] = field(default_factory=list)
    stopped: str | None = None

    @property
    def delivered(self) -> int:
        """How many were delivered."""
        return len(self.told)

    @property
    def ended(self) -> int:
        """How many came to an end."""
        return self.delivered + len(self.failed)

    @property
    def untried(self) -> int:
        """How many did not."""
        return self.total - self.ended

    def reasons(self) -> Iterable[tuple[str, int]]:
        """Outcome and reason of the failed, the most frequent first."""
        return Counter(f"{each.end.outcome}: {each.end.reason}" for each in self.failed).most_common()


def policy_of(attempts: int) -> RetryPolicy:
    """The router's waits, but so many attempts and no age: somebody asked for these alerts."""
    return RetryPolicy(max_age_ms=None, ask_at_most_ms=ASK_AT_MOST_MS, most_attempts=attempts)


async def tell(
    sink: Sink, notices: Sequence[Notice], policy: RetryPolicy, ended: Callable[[Ended], None], stop: Stop
) -> Tally:
    """Tells the sink of every notice, the phases of an alert in their order, and closes it; answers how it went.

    ``ended`` hears of every end. ``stop``, a sink that is gone and `MOST_FAILED_IN_A_ROW` failures end it early;
    attempts under way are awaited.
    """
    tally = Tally(len(notices))
    changed = asyncio.Event()
    failed_in_a_row = 0

    def one_ended(end: Ended) -> None:
        nonlocal failed_in_a_row
        if end.end.outcome == "delivered":
            tally.told.add(end.notice.delivery_id)
            failed_in_a_row = 0
        else:
            tally.failed.append(end)
            failed_in_a_row += 1
        ended(end)
        changed.set()

    def gone(error: SinkGone) -> None:
        tally.stopped = str(error)
        changed.set()

    lanes = Lanes(sink, policy, ended=one_ended, gone=gone)
    waiting = deque(notices)
    while tally.untried and tally.stopped is None:
        if stop.is_set():
            tally.stopped = "interrupted"
        elif failed_in_a_row >= MOST_FAILED_IN_A_ROW:
            tally.stopped = f"{failed_in_a_row} in a row were not delivered"
        else:
            while waiting and len(notices) - len(waiting) - tally.ended < MOST_UNDER_WAY:
                lanes.offer(waiting.popleft())
            changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), LOOK_SECONDS)
    await lanes.withdraw()
    await sink.close()
    return tally


def redeliver(
    settings: Settings,
    sink: Sink,
    notices: Sequence[Notice],
    recorded: dict[str, Outcome],
    *,
    attempts: int,
    stop: Stop,
    progress: Callable[[int], None],
) -> Tally:
    """`tell`, with the successes that are news put on `deliveries`. ``progress`` hears how many have ended.

    Raises `BrokerUnreachable` where the broker does not take them: they were told, and the record does not know it.
    """
    outcomes = Outcomes(producer(settings.kafka, "backsight-redeliver"), settings.prefix, sink.name)
    done = 0

    def ended(end: Ended) -> None:
        nonlocal done
        done += 1
        if end.end.outcome == "delivered" and recorded.get(end.notice.delivery_id) != "delivered":
            outcomes.put(delivery_of(end, sink.name), lambda _delivery: None)
        outcomes.poll()
        progress(done)

    tally = asyncio.run(tell(sink, notices, policy_of(attempts), ended, stop))
    if not outcomes.flush():
        raise BrokerUnreachable("the broker did not take every outcome; those alerts were told, and may be told again")
    return tally
