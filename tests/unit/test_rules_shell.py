"""What stands around the engine, without Faust running: order of acknowledgement, tables, revisions, the watchdog."""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.acknowledging import InOrder
from rules.engine import Judged, compile_rules, step
from rules.following import LEEWAY_MS, RevisionFollower
from rules.preflight import TopicsUnfit
from rules.state import NEVER, NEW_CAMERA, camera_state
from rules.tables import AcknowledgedTable, RulesTables
from rules.watchdog import exit_code
from runtime.kafka import BrokerUnreachable
from runtime.lifecycle import EXIT_BROKER, EXIT_FAULT
from runtime.moving import Stall
from runtime.revisions import RevisionHistory
from runtime.settings import KafkaSettings
from schemas.codec import encode
from schemas.effective import RoiRevision
from schemas.messages import DetectionEvent
from tests.support.rules import distinct, events, judged_in_memory, revision

Written = asyncio.Future[Any]


class Event:
    """An event that remembers whether it was acknowledged."""

    def __init__(self, place: str, acknowledged: list["Event"]) -> None:
        self.message = SimpleNamespace(tp=place)
        self._acknowledged = acknowledged

    def ack(self) -> None:
        self._acknowledged.append(self)


def future() -> Written:
    """A changelog record on its way."""
    return asyncio.get_running_loop().create_future()


async def settle() -> None:
    """Lets the callbacks of finished futures run."""
    await asyncio.sleep(0)


async def test_events_are_acknowledged_in_their_order_whatever_the_order_of_their_records() -> None:
    failures: list[BaseException] = []
    done: list[Event] = []
    waiting = InOrder(failures.append)
    first, second, third = (Event("0", done) for _ in range(3))
    elsewhere = Event("1", done)
    row, bucket, other = future(), future(), future()
    waiting.add(first, [row, bucket])
    waiting.add(second, [other])
    waiting.add(third, [])
    waiting.add(elsewhere, [])
    assert done == [elsewhere]

    other.set_result(None)
    row.set_result(None)
    await settle()
    assert done == [elsewhere]
    bucket.set_result(None)
    await settle()
    assert done == [elsewhere, first, second, third]
    assert waiting.idle
    assert not failures


async def test_a_refused_record_fails_the_worker_and_acknowledges_nothing_behind_it() -> None:
    failures: list[BaseException] = []
    done: list[Event] = []
    waiting = InOrder(failures.append)
    refused, fine = future(), future()
    waiting.add(Event("0", done), [refused])
    waiting.add(Event("0", done), [fine])
    refused.set_exception(OSError("disk full"))
    fine.set_result(None)
    await settle()
    assert [str(error) for error in failures] == ["disk full"]
    assert not done


async def test_what_a_rebalance_took_away_is_not_acknowledged_later() -> None:
    done: list[Event] = []
    waiting = InOrder(lambda _error: None)
    record = future()
    waiting.add(Event("0", done), [record])
    waiting.forget()
    record.set_result(None)
    await settle()
    assert not done
    assert waiting.idle


def test_a_stall_is_lag_without_progress_and_no_reason_to_wait() -> None:
    stall = Stall(seconds=120)
    assert not stall.look(0, finished=5, lag=9, holding=False)
    assert not stall.look(119, finished=5, lag=9, holding=False)
    assert stall.look(121, finished=5, lag=9, holding=False)
    assert not stall.look(122, finished=6, lag=9, holding=False)
    assert not stall.look(300, finished=6, lag=0, holding=False)
    assert not stall.look(500, finished=6, lag=9, holding=True)
    assert not stall.look(600, finished=6, lag=9, holding=False)
    assert stall.look(621, finished=6, lag=9, holding=False)


def test_the_exit_code_says_whether_kafka_was_the_reason() -> None:
    assert exit_code(BrokerUnreachable("gone")) == EXIT_BROKER
    assert exit_code(TopicsUnfit("missing")) == EXIT_BROKER
    assert exit_code(ValueError("else")) == EXIT_FAULT


async def test_an_event_waits_for_a_refresh_that_has_seen_every_revision_it_may_be_judged_by() -> None:
    follower = RevisionFollower(KafkaSettings(), "", lambda _error: None)
    assert not follower.covers(0), "nothing is judged before the topic was read to its end"
    follower.refreshed_at = 1_000_000
    assert follower.covers(1_000_000 + LEEWAY_MS)
    assert not follower.covers(1_000_001 + LEEWAY_MS)

    waits = asyncio.ensure_future(follower.until_covered(1_000_001 + LEEWAY_MS, lambda: True))
    await asyncio.sleep(0)
    assert not waits.done()
    follower.refreshed_at = 1_000_001
    assert await waits
    assert not await follower.until_covered(9_000_000_000_000, lambda: False)


def test_a_revision_holds_from_its_instant_on() -> None:
    follower = RevisionFollower(KafkaSettings(), "", lambda _error: None)
    known = revision("yard")
    follower._history = RevisionHistory([known])
    assert follower.at("yard", 0) is known
    assert follower.at("gate", 0) is None


class Changelog:
    """What the broker has of the tables, and what is still on its way to it."""

    def __init__(self) -> None:
        self.durable: dict[str, dict[Any, bytes]] = defaultdict(dict)
        self.under_way: dict[str, list[tuple[Any, bytes | None, Written]]] = defaultdict(list)

    def arrive(self, name: str) -> None:
        """The oldest record of one table reaches the broker."""
        key, value, sent = self.under_way[name].pop(0)
        if value is None:
            self.durable[name].pop(key, None)
        else:
            self.durable[name][key] = value
        sent.set_result(None)


def tables_on(changelog: Changelog, monkeypatch: pytest.MonkeyPatch, loop: asyncio.AbstractEventLoop) -> RulesTables:
    """Tables filled from what is durable, whose records go to ``changelog``."""

    def send(self: Any, _partition: int, key: Any, value: Any, *_: Any, **__: Any) -> Any:
        sent = loop.create_future()
        sent.message = SimpleNamespace(partition=0)
        self.sent.append(sent)
        changelog.under_way[self.name].append((key, value, sent))
        return sent

    from rules.faust_compat import faust

    monkeypatch.setattr(AcknowledgedTable, "send_changelog", send)
    app = faust.App("unit", broker="kafka://127.0.0.1:1", store="memory://")
    tables = RulesTables(app)
    for name in ("hits", "episodes"):
        app.tables[name].data.data = dict(changelog.durable[name])
    tables.read_back()
    return tables


def judged_each(made: list[DetectionEvent], rules: RoiRevision) -> Iterator[Judged]:
    """What each event does, undisturbed."""
    document = compile_rules(rules.document, rules.revision, rules.effective_from)
    state = NEW_CAMERA
    for event in made:
        judged = step(document, state, event)
        state = judged.state
        yield judged


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_tables_cut_off_anywhere_and_read_back_give_the_alerts_of_a_run_without_a_cut(seed: int, cuts: int) -> None:
    dice = random.Random(seed)
    rules = revision("yard", resolve_after_seconds=2, debounce_window_seconds=8)
    made = events("yard", 250, seed=seed, hit_share=0.4)
    document = compile_rules(rules.document, rules.revision, rules.effective_from)
    # Half of the cuts just after an event that changed a row: that is where an order of writing can go wrong.
    telling = [number + 1 for number, judged in enumerate(judged_each(made, rules)) if judged.changed]
    places = sorted({*dice.sample(range(len(made)), cuts), *dice.sample(telling, min(cuts, len(telling)))})
    sent: list[bytes] = []
    loop = asyncio.new_event_loop()
    with pytest.MonkeyPatch.context() as patched:
        changelog = Changelog()
        committed = 0
        for cut in [*places, len(made)]:
            # A start: the tables as the broker has them, the watermark from the records before the commit.
            changelog.under_way.clear()
            tables = tables_on(changelog, patched, loop)
            watermark = max((event.captured_at for event in made[:committed]), default=NEVER)
            state = tables.camera("yard", watermark)
            written: list[tuple[int, list[Written]]] = []
            for offset in range(committed, max(cut, committed)):
                judged = step(document, state, made[offset])
                sent += map(encode, judged.alerts)
                if offset == cut - 1 and dice.random() < 0.5:
                    break  # killed between the alert's ack and the row
                records = []
                if judged.changed or judged.remembered:
                    records = tables.write("yard", 0, made[offset].captured_at, judged)
                state = judged.state
                written.append((offset, records))
                for name in ("hits", "episodes"):
                    while changelog.under_way[name] and dice.random() < 0.6:
                        changelog.arrive(name)
            for offset, records in written:
                if not all(record.done() for record in records):
                    break
                if dice.random() < 0.97:  # a commit comes once a second, so it may lag
                    committed = max(committed, offset + 1) if offset == committed else committed
        # The last run, undisturbed.
        changelog.under_way.clear()
        tables = tables_on(changelog, patched, loop)
        state = tables.camera("yard", max((event.captured_at for event in made[:committed]), default=NEVER))
        for event in made[committed:]:
            judged = step(document, state, event)
            sent += map(encode, judged.alerts)
            state = judged.state
    loop.close()
    assert distinct(sent) == distinct(map(encode, judged_in_memory(made, rules)))


def test_old_seconds_are_deleted_once_their_row_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.new_event_loop()
    changelog = Changelog()
    tables = tables_on(changelog, monkeypatch, loop)
    rules = revision("yard")
    document = compile_rules(rules.document, rules.revision, rules.effective_from)
    state = tables.camera("yard", NEVER)
    for event in events("yard", 3000, seed=2, hit_share=0.5):
        judged = step(document, state, event)
        if judged.changed or judged.remembered:
            tables.write("yard", 0, event.captured_at, judged)
        state = judged.state
        for name in ("hits", "episodes"):
            while changelog.under_way[name]:
                changelog.arrive(name)
    # 10 minutes of events with hits in half of them: what stays is of the last episode and the unconfirmed since.
    assert len(changelog.durable["hits"]) < 20
    assert len(changelog.durable["episodes"]) == 1
    again = tables_on(changelog, monkeypatch, loop).camera("yard", state.watermark)
    assert again.subjects == state.subjects
    loop.close()


def test_a_camera_never_seen_begins_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.new_event_loop()
    assert tables_on(Changelog(), monkeypatch, loop).camera("new", NEVER) == camera_state(NEVER, NEW_CAMERA.subjects)
    loop.close()


def kinds(made: list[DetectionEvent]) -> set[str | None]:
    """Which sorts of events were made up."""
    return {event.skipped for event in made}


def test_the_made_up_events_hold_what_the_tests_need() -> None:
    made = events("yard", 1000, seed=1)
    assert kinds(made) == {None, "stale"}
    assert any(later.captured_at <= earlier.captured_at for earlier, later in itertools.pairwise(made))
