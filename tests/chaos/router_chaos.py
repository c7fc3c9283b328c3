"""What the router does when it is killed, stopped, or a receiver behaves badly; `make chaos-router` prints the table.

The receiver is the ledger: what it got is held against what was written. `python -m tests.chaos.router_chaos --small`
is what the tests run.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

from router.lanes import CONCURRENCY
from runtime.kafka import admin
from runtime.provision import apply_topics
from schemas.messages import Alert, delivery_id
from tests.support.alerts import opened, resolved
from tests.support.broker import new_prefix, running_broker, settings
from tests.support.receiver import Receiver, Slow, Status
from tests.support.routing import alert_writer, deliveries, router_process, write_alerts

SEED = 20261123
DRAIN_SECONDS = 10.0
RECOVERY_SECONDS = 60.0

TOLD_BY_TESTS = {
    "W2": "W2 500s, 429, reset, drip, redirect, a gigabyte",
    "W3": "W3 410, 401, 503, no name, an ended certificate",
    "H1": "H1 stale nonce, busy, not supported, lock-out, stall",
    "H2": "H2 kill -9 with an output high, then a restart",
    "H3": "H3 alerts of three hours ago",
}
"""Experiments that `tests/integration` has, by what their tests' names begin with."""


class Outcome(NamedTuple):
    """One experiment: how many alerts, how many lost and doubled (None: cannot be), times in words, and what was not as
    it must be."""

    name: str
    alerts: int
    lost: int
    doubled: int | None
    times: str
    faults: list[str]


def story(count: int, cameras: int = 7) -> list[Alert]:
    """``count`` phases: alerts of the last hour that open and resolve."""
    start = round(time.time() * 1000) - 3_600_000
    alerts: list[Alert] = []
    for number in range(count // 2):
        first = opened(number, camera=f"cam_{number % cameras}", at=start)
        alerts += [first, resolved(first, after_ms=400)]
    return alerts


def kill_nine(bootstrap: str, prefix: str, *, kills: int, alerts: int) -> Outcome:
    """K1: `kill -9` at random points, while delivering and while starting. Alerts are written between the kills."""
    dice = random.Random(SEED)
    written = story(alerts)
    expected = set(map(delivery_id, written))
    writer = alert_writer(bootstrap)
    slice_ = -(-alerts // (kills + 1))
    recoveries: list[float] = []
    with Receiver([Slow(0.03)]) as receiver:
        router = _router(bootstrap, prefix, receiver.url)
        try:
            for kill in range(kills):
                write_alerts(writer, prefix, written[kill * slice_ : (kill + 1) * slice_])
                if dice.random() < 0.2:
                    time.sleep(dice.uniform(0, 4))  # in its start, or wherever it is by then
                else:
                    receiver.wait_for(len(receiver.got) + dice.randint(1, slice_ // 2), 90)
                router.kill()
                router.wait()
                killed, before = time.monotonic(), len(receiver.got)
                router = _router(bootstrap, prefix, receiver.url)
                if kill == kills - 1:
                    write_alerts(writer, prefix, written[kills * slice_ :])
                if not _known(written, (kill + 1) * slice_) <= set(receiver.ids):
                    receiver.wait_for(before + 1, 90)
                    recoveries.append(time.monotonic() - killed)
            receiver.wait_until(lambda: set(receiver.ids) >= expected, 180)
        finally:
            router.terminate()
            code = router.wait(60)
        lost, doubled, faults = held_against(receiver.ids, written)
    if code != 0:
        faults.append(f"the last router ended with {code}")
    most = kills * 2 * CONCURRENCY
    if doubled > most:
        faults.append(f"more doubled than were under way ({most})")
    if max(recoveries, default=0) > RECOVERY_SECONDS:
        faults.append(f"recovered after more than {RECOVERY_SECONDS:g} s")
    told = {each.delivery_id for each in deliveries(bootstrap, prefix) if each.outcome == "delivered"}
    if told != expected:
        faults.append(f"on record: {len(told)} delivered")
    words = f"recovered in {_median(recoveries):.1f} s, at most {max(recoveries, default=0):.1f} s"
    return Outcome(f"K1 kill -9, {kills} times", len(expected), lost, doubled, words, faults)


def told_to_stop(bootstrap: str, prefix: str, *, stops: int, alerts: int) -> Outcome:
    """K3: SIGTERM in mid-run. What is under way ends, nothing is sent twice, within 10 s."""
    dice = random.Random(SEED)
    written = story(alerts)
    expected = set(map(delivery_id, written))
    write_alerts(alert_writer(bootstrap), prefix, written)
    drains: list[float] = []
    faults: list[str] = []
    with Receiver([Slow(0.2)]) as receiver:
        for stop in range(stops + 1):
            router = _router(bootstrap, prefix, receiver.url)
            try:
                if stop == stops:
                    receiver.wait_until(lambda: set(receiver.ids) >= expected, 180)
                else:
                    _more(receiver, dice.randint(1, alerts // (2 * stops)), expected)
                began = time.monotonic()
                router.terminate()
                code = router.wait(60)
                drains.append(time.monotonic() - began)
            finally:
                router.kill()
                router.wait()
            if code != 0:
                faults.append(f"ended with {code}")
        lost, doubled, wrong = held_against(receiver.ids, written)
    faults += wrong
    if doubled:
        faults.append("a drained stop doubles nothing")
    if max(drains) > DRAIN_SECONDS:
        faults.append(f"drained in more than {DRAIN_SECONDS:g} s")
    words = f"drained in {_median(drains):.1f} s, at most {max(drains):.1f} s"
    return Outcome(f"K3 SIGTERM, {stops + 1} times", len(expected), lost, doubled, words, faults)


def one_hangs(bootstrap: str, prefix: str, *, baseline_seconds: float, hang_seconds: float, rate: float) -> Outcome:
    """W1: one sink of ten hangs. The p99 of the other nine is at most 1.1 times what it was, and 100 ms. The tenth has
    told everything within 60 s of its receiver's return."""
    with tempfile.TemporaryDirectory() as folder, Receiver() as nine, Receiver() as tenth:
        names = [f"s{number}" for number in range(9)]
        entries = [f"  - {{name: {name}, kind: webhook, url: '{nine.url}/{name}'}}" for name in names]
        entries.append(f"  - {{name: tenth, kind: webhook, url: '{tenth.url}'}}")
        routes = "sinks:\n" + "\n".join(entries) + f"\nroute: {{sinks: [{', '.join(names)}, tenth]}}\n"
        (Path(folder) / "routes.yaml").write_text(routes)
        router = _router(bootstrap, prefix, None, configs=Path(folder))
        try:
            first = _live(0)
            write_alerts(alert_writer(bootstrap), prefix, [first])
            nine.wait_until(lambda: len(nine.got) >= 9 and len(tenth.got) >= 1, 90)
            before = _paced(bootstrap, prefix, range(1, int(baseline_seconds * rate)), rate)
            nine.wait_for(9 * (1 + len(before)), 60)
            tenth.habits = [Slow(3600)]
            begin = 1 + len(before)
            after = _paced(bootstrap, prefix, range(begin, begin + int(hang_seconds * rate)), rate)
            nine.wait_for(9 * (1 + len(before) + len(after)), 60)
            tenth.habits = [Status()]
            back = time.monotonic()
            tenth.wait_until(lambda: set(tenth.ids) >= {delivery_id(first), *before, *after}, 2 * RECOVERY_SECONDS)
            caught_up = time.monotonic() - back
        finally:
            router.kill()
            router.wait()
        got = [(each.delivery_id, each.path, each.at) for each in nine.got]
    was, is_ = (_p99([at - sent[name] for name, _, at in got if name in sent]) for sent in (before, after))
    counts = Counter((name, path) for name, path, _ in got)
    expected = 9 * (1 + len(before) + len(after))
    faults = []
    if is_ > 1.1 * was + 0.1:
        faults.append(f"p99 {is_ * 1000:.0f} ms is above 1.1 × {was * 1000:.0f} ms + 100 ms")
    lost, doubled = expected - len(counts), len(got) - len(counts)
    if lost or doubled:
        faults.append("each of the nine is told each alert once")
    if caught_up > RECOVERY_SECONDS:
        faults.append(f"the tenth told the rest in more than {RECOVERY_SECONDS:g} s")
    words = f"p99 of the nine {was * 1000:.0f} ms before, {is_ * 1000:.0f} ms while it hung for {hang_seconds:g} s; "
    words += f"the tenth told all {caught_up:.0f} s after it was back"
    return Outcome("W1 one sink of ten hangs", expected, lost, doubled, words, faults)


def told_by_tests() -> list[Outcome]:
    """W2, W3, H1, H2 and H3 as their tests report them."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        files = ["tests/integration/test_webhook_habits.py", "tests/integration/test_hikvision.py"]
        names = " or ".join(f"test_{name.lower()}_" for name in TOLD_BY_TESTS)
        reported = ["-o", "junit_family=xunit1", f"--junitxml={report}"]
        command = [sys.executable, "-m", "pytest", "-q", *files, "-k", names, *reported]
        subprocess.run(command, stdout=sys.stderr, check=False)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    return [
        _told_by(title, [case for case in cases if case.get("name", "").startswith(f"test_{name.lower()}_")])
        for name, title in TOLD_BY_TESTS.items()
    ]


def _told_by(title: str, cases: Sequence[ElementTree.Element]) -> Outcome:
    figures = [(each.get("name"), each.get("value", "")) for case in cases for each in case.iter("property")]

    def numbers(name: str) -> list[int]:
        return [int(value) for figure, value in figures if figure == name]

    faults = [
        f"{case.get('name')}: {end}"
        for case in cases
        for end in ("failure", "error", "skipped")
        if case.find(end) is not None
    ]
    if not cases:
        faults.append("has no test")
    times = "; ".join(dict.fromkeys(value for figure, value in figures if figure == "times"))
    doubled = numbers("doubled")
    return Outcome(
        title, sum(numbers("alerts")), sum(numbers("lost")), sum(doubled) if doubled else None, times, faults
    )


def held_against(got: Sequence[str], written: Iterable[Alert]) -> tuple[int, int, list[str]]:
    """How many were lost and doubled, and what else is wrong: strangers, a resolve before its opening."""
    counts = Counter(got)
    alerts = list(written)
    expected = set(map(delivery_id, alerts))
    faults = []
    lost = len(expected - counts.keys())
    if lost:
        faults.append("alerts were lost")
    if counts.keys() - expected:
        faults.append(f"{len(counts.keys() - expected)} came that nobody wrote")
    place = {name: number for number, name in reversed(list(enumerate(got)))}
    late = sum(
        place.get(f"{alert.alert_id}_0", len(got)) > place.get(f"{alert.alert_id}_1", len(got)) for alert in alerts
    )
    if late:
        faults.append(f"{late} were told of their resolve first")
    return lost, len(got) - len(counts), faults


def _router(
    bootstrap: str, prefix: str, url: str | None, configs: Path = Path("no-such-folder")
) -> "subprocess.Popen[bytes]":
    quiet = subprocess.DEVNULL
    return router_process(bootstrap, prefix, url, stdout=quiet, stderr=quiet, configs=configs)


def _more(receiver: Receiver, count: int, expected: set[str]) -> None:
    """Waits for as many requests more, or for the last of all."""
    wanted = len(receiver.got) + count
    receiver.wait_until(lambda: len(receiver.got) >= wanted or set(receiver.ids) >= expected, 90)


def _known(written: Sequence[Alert], count: int) -> set[str]:
    return set(map(delivery_id, written[:count]))


def _live(number: int) -> Alert:
    """An alert that opens now."""
    return opened(number, camera=f"cam_{number % 7}", at=round(time.time() * 1000) - number * 1000)


def _paced(bootstrap: str, prefix: str, numbers: Iterable[int], rate: float) -> dict[str, float]:
    """Writes an alert for each number at that rate; when each was written, by its delivery id."""
    writer = alert_writer(bootstrap)
    sent: dict[str, float] = {}
    due = time.monotonic()
    for number in numbers:
        time.sleep(max(0.0, due - time.monotonic()))
        due += 1 / rate
        alert = _live(number)
        sent[delivery_id(alert)] = time.time()
        write_alerts(writer, prefix, [alert])
    return sent


def _p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


def _median(seconds: Sequence[float]) -> float:
    return sorted(seconds)[len(seconds) // 2] if seconds else 0.0


def main() -> int:
    """Every experiment on a broker of its own; answers how many failed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--small", action="store_true", help="few kills and alerts, as in the tests")
    options.add_argument("--hang", type=float, default=600.0, metavar="SECONDS", help="how long a sink hangs in W1")
    chosen = options.parse_args()
    small: bool = chosen.small
    experiments: list[Callable[[str, str], Outcome]] = [
        lambda at, name: kill_nine(at, name, kills=5 if small else 50, alerts=300 if small else 2000),
        lambda at, name: told_to_stop(at, name, stops=2 if small else 5, alerts=200 if small else 1000),
        lambda at, name: one_hangs(
            at, name, baseline_seconds=10 if small else 60, hang_seconds=15 if small else chosen.hang, rate=10
        ),
    ]
    table = Table("experiment", "alerts", "lost", "doubled", "times", "")
    failed = 0
    outcomes: list[Outcome] = []
    with running_broker() as broker:
        for experiment in experiments:
            prefix = new_prefix()
            apply_topics(admin(settings(broker.bootstrap)), prefix, partitions=3)
            outcomes.append(experiment(broker.bootstrap, prefix))
            print(outcomes[-1], file=sys.stderr, flush=True)
    for outcome in outcomes + told_by_tests():
        failed += bool(outcome.faults)
        verdict = "; ".join(outcome.faults) or "passes"
        counts = (outcome.alerts, outcome.lost, "-" if outcome.doubled is None else outcome.doubled)
        table.add_row(outcome.name, *map(str, counts), outcome.times, verdict)
    Console().print(table)
    return failed


if __name__ == "__main__":
    sys.exit(main())
