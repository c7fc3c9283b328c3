"""`backsight alerts list|tail|show`: what was alerted, as it happens, and what became of it."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import click
import msgspec
from rich.table import Table

from cli.options import plain, read_settings, refuse, stage_options, table_console
from router.delivery_log import SKEW_MS
from router.sinks.stdout import readable_line
from runtime.kafka import BrokerUnreachable, Message
from runtime.lifecycle import EXIT_BROKER, stop_on_signals
from runtime.marks import read_marks
from runtime.revisions import RevisionLog
from runtime.settings import KafkaSettings, Settings
from runtime.topic_reader import TopicReader
from schemas.codec import decode
from schemas.instants import BadInstant, in_words, instant
from schemas.messages import Alert, Delivery
from schemas.problems import Problem, Undecodable
from schemas.topics import ALERTS, DELIVERIES

FOLLOW_SECONDS: Final = 0.25
TAIL_SINCE: Final = "-1d"

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")
Phases = dict[str, Alert]
"""Of one alert: `opened` and, when it is over, `resolved`."""


def filters(command: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
    """Which alerts are meant."""
    for option in (
        click.option("--camera", "camera_id", multiple=True, metavar="ID", help="May be given again, as the others."),
        click.option("--roi", multiple=True, metavar="NAME"),
        click.option("--label", multiple=True, metavar="LABEL"),
        click.option("--severity", multiple=True, type=click.Choice(["info", "warning", "critical"])),
    ):
        command = option(command)
    return command


@click.command("list")
@click.option("--from", "begin", default="-1d", show_default=True, metavar="INSTANT", help="Opened since then.")
@click.option("--to", "end", default="now", show_default=True, metavar="INSTANT", help="Opened before then.")
@filters
@click.option("--open", "only_open", is_flag=True, help="Only those that are open still.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line; instants in ms UTC.")
@stage_options
def list_alerts(
    begin: str, end: str, only_open: bool, as_json: bool, configs: Path, prefix: str, **meant: tuple[str, ...]
) -> None:
    """The alerts that opened in a span, the newest last, each once with both its phases.

    Exit codes: 0 shown, 2 an option does not check, 3 Kafka cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    since, until = _instant("--from", begin), _instant("--to", end)
    found: dict[str, Phases] = {}
    with _told_plainly():
        for alert in _alerts(settings, since):
            if since <= alert.opened_at < until and _is_meant(alert, meant):
                found.setdefault(alert.alert_id, {})[alert.phase] = alert
    ordered = sorted(found.values(), key=lambda phases: _newest(phases).opened_at)
    shown = [phases for phases in ordered if not (only_open and "resolved" in phases)]
    if as_json:
        for phases in shown:
            click.echo(json.dumps(msgspec.to_builtins(_newest(phases)), ensure_ascii=False))
        return
    table = Table("opened", "severity", "camera", "ROI", "label", "lasted", "alert", box=None)
    for phases in shown:
        alert = _newest(phases)
        opened = datetime.fromtimestamp(alert.opened_at / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        names = map(plain, (alert.severity, alert.camera_id, alert.roi, alert.label))
        table.add_row(opened, *names, _lasted(alert), alert.alert_id)
    if shown:
        table_console().print(table)
    is_open = sum("resolved" not in phases for phases in shown)
    click.echo(f"{len(shown)} alerts, {is_open} open" if shown else "no alerts", err=True)


@click.command()
@click.option("-n", "--lines", type=click.IntRange(0, 10_000), default=10, show_default=True, help="Of the last day.")
@click.option("-f", "--follow", is_flag=True, help="Go on with each alert as it comes, until Ctrl-C.")
@filters
@click.option("--json", "as_json", is_flag=True, help="The alerts themselves, a JSON object a line.")
@stage_options
def tail(lines: int, follow: bool, as_json: bool, configs: Path, prefix: str, **meant: tuple[str, ...]) -> None:
    """The newest phases (opened, resolved) of alerts, a line each; with -f live.

    Exit codes: 0 shown, 2 an option does not check, 3 Kafka cannot be reached. With -f a broker that goes away is
    waited for.
    """
    settings, _ = read_settings(configs, prefix)
    stop = stop_on_signals()
    colour = sys.stdout.isatty()

    def show(alert: Alert) -> None:
        line = msgspec.json.encode(alert).decode() if as_json else readable_line(alert, colour=colour)
        click.echo(line)
        sys.stdout.flush()

    topic = TopicReader(
        settings.kafka,
        ALERTS.full_name(settings.prefix),
        "backsight-alerts-tail",
        since=_instant("--lines", TAIL_SINCE),
    )
    try:
        with _told_plainly():
            before = [alert for record in topic.new() if (alert := _read(record)) and _is_meant(alert, meant)]
        before.sort(key=_happened)
        for alert in before[-lines:] if lines else ():
            show(alert)
        away = False
        while follow and not stop.wait(FOLLOW_SECONDS):
            try:
                for record in topic.new():
                    alert_now = _read(record)
                    if alert_now and _is_meant(alert_now, meant):
                        show(alert_now)
                away = False
            except BrokerUnreachable as error:
                if not away:
                    click.echo(f"waiting: {error}", err=True)
                away = True
    finally:
        topic.close()


@click.command()
@click.argument("alert_id", metavar="ID")
@click.option("--since", default="-30d", show_default=True, metavar="INSTANT", help="Looked for from here on.")
@click.option("--json", "as_json", is_flag=True, help="All of it as one JSON object; instants in ms UTC.")
@stage_options
def show(alert_id: str, since: str, as_json: bool, configs: Path, prefix: str) -> None:
    """One alert: both phases, how each sink was told, what people say of it, and the ROIs it was judged by.

    ID may be its beginning, if no other alert begins so.

    Exit codes: 0 shown, 2 there is no such alert or an option does not check, 3 Kafka cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    begin, wanted = _instant("--since", since), alert_id.strip().lower()
    found: dict[str, Phases] = {}
    with _told_plainly():
        for alert in _alerts(settings, begin, containing=wanted.encode()):
            if alert.alert_id.startswith(wanted):
                found.setdefault(alert.alert_id, {})[alert.phase] = alert
        if len(found) != 1:
            what = f"{len(found)} alerts begin with it" if found else "there is no such alert"
            refuse([Problem("ID", f"{alert_id}: {what} since {in_words(begin)} (see --since)")])
        ((name, phases),) = found.items()
        alert = _newest(phases)
        deliveries = _deliveries(settings, name, alert.opened_at - SKEW_MS)
        mark = read_marks(settings.kafka, settings.prefix).get(name)
        effective_from = _effective_from(settings.kafka, settings.prefix, alert)
    if as_json:
        whole = {"phases": phases, "deliveries": deliveries, "mark": mark, "revision_effective_from": effective_from}
        click.echo(json.dumps(msgspec.to_builtins(whole), indent=2, ensure_ascii=False))
        return
    for line in _lines(phases, deliveries):
        click.echo(plain(line))
    if mark is None:
        click.echo("not marked; `backsight alerts mark` says whether it was right")
    else:
        verdict = "right" if mark.true else "a false alarm"
        comment = f": {mark.comment}" if mark.comment else ""
        click.echo(plain(f"marked as {verdict} by {mark.by}, {in_words(mark.marked_at)}{comment}"))
    since_when = "of which nothing is on record" if effective_from is None else f"in force from {_from(effective_from)}"
    click.echo(f"judged by revision {alert.roi_revision}, {since_when}, model {alert.model.name}@{alert.model.version}")


def _lines(phases: Phases, deliveries: list[Delivery]) -> Iterator[str]:
    alert = _newest(phases)
    yield f"{alert.alert_id}  {alert.severity}"
    track = "" if alert.track_id is None else f", track {alert.track_id}"
    yield f"{alert.camera_id} · {alert.roi} · {alert.label}{track}"
    yield f"opened   {in_words(alert.opened_at)} (first hit {in_words(alert.first_hit_at)})"
    if alert.resolved_at is not None:
        yield f"resolved {in_words(alert.resolved_at)} ({alert.reason}), after {_lasted(alert)}"
    else:
        yield "open still"
    if "opened" not in phases:
        yield "the record of its opening is not on the topic any more, or lies before --since"
    held_back = f", {alert.suppressed} episodes held back before" if alert.suppressed else ""
    yield f"{alert.hits} hits, the last at {in_words(alert.last_hit_at)}{held_back}"
    frame = alert.evidence.frame
    yield (
        f"seen in {frame.topic}/{frame.partition}/{frame.offset} at {in_words(alert.evidence.captured_at)}, "
        f"confidence {alert.evidence.confidence:.0%}"
    )
    for each in deliveries:
        _, _, which = each.delivery_id.partition("_")
        number, _, repeat = which.partition("_r")
        told = {"0": "opened", "1": "resolved"}.get(number, number) + (f", told again ({repeat})" if repeat else "")
        tries = f"{each.attempts} attempts" if each.attempts != 1 else "1 attempt"
        yield f"{each.sink}: {told}: {each.outcome} ({each.reason}) {in_words(each.last_attempt_at)}, {tries}"
    if not deliveries:
        yield "no delivery has ended"


def _alerts(settings: Settings, since: int, containing: bytes = b"") -> Iterator[Alert]:
    """Every phase of ``since`` or later whose value has these bytes in it."""
    topic = TopicReader(settings.kafka, ALERTS.full_name(settings.prefix), "backsight-alerts", since=since)
    try:
        for record in topic.new():
            if containing in (record.value() or b"") and (alert := _read(record)):
                yield alert
    finally:
        topic.close()


def _read(record: Message) -> Alert | None:
    """The alert in a record; None where it cannot be read, which the router puts away and reports."""
    try:
        return decode(Alert, record.value(), record.headers() or [])
    except Undecodable:
        return None


def _deliveries(settings: Settings, alert_id: str, since: int) -> list[Delivery]:
    """The newest end of each delivery of the alert, in the order in which they ended."""
    found: dict[tuple[str, str], Delivery] = {}
    topic = TopicReader(
        settings.kafka, DELIVERIES.full_name(settings.prefix), "backsight-alerts-deliveries", since=max(0, since)
    )
    try:
        for record in topic.new():
            if f"/{alert_id}_".encode() not in (record.key() or b""):
                continue
            try:
                delivery = decode(Delivery, record.value(), record.headers() or [])
            except Undecodable:
                continue
            found[delivery.sink, delivery.delivery_id] = delivery
    finally:
        topic.close()
    return sorted(found.values(), key=lambda each: (each.last_attempt_at, each.sink, each.delivery_id))


def _effective_from(kafka: KafkaSettings, prefix: str, alert: Alert) -> int | None:
    log = RevisionLog(kafka, prefix, "backsight-alerts-revisions")
    try:
        log.refresh()
    finally:
        log.close()
    known = [each for each in log.history.of(alert.camera_id) if each.revision == alert.roi_revision]
    held = [each.effective_from for each in known if each.effective_from <= alert.opened_at]
    return max(held, default=None)


def _from(effective_from: int) -> str:
    return in_words(effective_from) if effective_from else "the beginning"


def _is_meant(alert: Alert, meant: Mapping[str, tuple[Any, ...]]) -> bool:
    return all(not wanted or getattr(alert, name) in wanted for name, wanted in meant.items())


def _newest(phases: Phases) -> Alert:
    return phases.get("resolved") or phases["opened"]


def _happened(alert: Alert) -> int:
    return alert.opened_at if alert.resolved_at is None else alert.resolved_at


def _lasted(alert: Alert) -> str:
    if alert.resolved_at is None:
        return "open"
    seconds = (alert.resolved_at - alert.opened_at) / 1000
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _instant(option: str, text: str) -> int:
    try:
        return instant(text, round(time.time() * 1000))
    except BadInstant as bad:
        refuse([Problem(option, str(bad))])


@contextmanager
def _told_plainly() -> Iterator[None]:
    try:
        yield
    except BrokerUnreachable as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_BROKER)
