"""`backsight replay deliveries`: tell a sink again."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cli.options import read_settings, stage_options
from cli.replay_options import Cameras, read_span, told_plainly
from replay.comparison import missing_parts
from replay.kafka_source import KafkaSource
from replay.redeliver import Found, Tally, Wanted, find, redeliver
from replay.spans import Span, in_words
from replay.trial import Refused
from router.configuration import named_sink
from router.sinks import Notice, Sink
from router.sinks.stdout import readable_line
from runtime.lifecycle import EXIT_FAULT, EXIT_OK, stop_on_signals
from runtime.settings import Settings, environment
from schemas.messages import Outcome
from schemas.topics import ALERTS


@click.command()
@click.option("--sink", "sink_name", required=True, metavar="NAME", help="Where to: stdout, webhook, …")
@click.option("--from", "begin", required=True, metavar="INSTANT", help="2026-11-16T08:00:00Z, -2h, …")
@click.option("--to", "end", default="now", show_default=True, metavar="INSTANT", help="Not included.")
@click.option("--cameras", type=Cameras(), metavar="ID,ID", help="Only alerts of these cameras.")
@click.option("--roi", "rois", multiple=True, metavar="NAME", help="Only of this ROI; may be given again.")
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="Only of this label; may be given again.")
@click.option(
    "--severity",
    "severities",
    multiple=True,
    type=click.Choice(["info", "warning", "critical"]),
    help="Only of this severity; may be given again.",
)
@click.option("--only-undelivered", is_flag=True, help="Leave out what this sink was told, or a silence held back.")
@click.option("--attempts", type=click.IntRange(1, 100), default=5, show_default=True, help="Of each, at most.")
@click.option("--dry-run", is_flag=True, help="Show what would be told, and tell nobody.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--even-actuators", is_flag=True, help="Also where the sink moves something, such as a barrier.")
@click.option("--partial", is_flag=True, help="Go on where part of the span is already deleted.")
@stage_options
def deliveries(sink_name: str, begin: str, end: str, dry_run: bool, configs: Path, prefix: str, **options: Any) -> None:
    """Deliver alerts of a span again to one sink, under the same delivery ids.

    Takes every alert phase (opened, resolved) whose instant lies in the span, and asks before it tells anybody. Order,
    retries and deadlines are the router's; the age limit does not count. Where the sink's place is comes from the same
    settings. Receivers know an alert that they had by its id (the header webhook-id). What this sink is told for the
    first time is put on the topic deliveries, so the router does not tell it again.

    \b
    backsight replay deliveries --sink webhook --from -2h --only-undelivered
    backsight replay deliveries --sink stdout --from 2026-11-16 --to 2026-11-17 --cameras gate --yes | jq .

    Exit codes: 0 all were delivered, 1 some were not, or nobody said yes, 2 an option or setting does not check or
    part of the span is gone, 5 Kafka cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    span = read_span(begin, end)
    with told_plainly():
        sink = sink_to_tell(settings, sink_name, even_actuators=options["even_actuators"])
        if not (dry_run or options["yes"] or sys.stdin.isatty()):
            raise Refused("nobody is here to be asked: --yes delivers without asking, --dry-run shows what would go")
        _check_span(settings, span, options["cameras"], partial=options["partial"])
        wanted = Wanted(
            span,
            options["cameras"],
            frozenset(options["rois"]),
            frozenset(options["labels"]),
            frozenset(options["severities"]),
        )
        found = find(settings, sink_name, wanted)
        if found.bad:
            click.echo(f"warning: {found.bad} record(s) of the topic alerts cannot be read and are left out", err=True)
        notices = found.undelivered() if options["only_undelivered"] else found.notices
        if dry_run:
            _show(notices, found)
            return
        if not notices:
            click.echo("nothing to deliver", err=True)
            return
        if not options["yes"]:
            click.confirm(_question(sink_name, notices, found), abort=True, err=True)
        tally = deliver_watched(settings, sink, notices, found.recorded, options["attempts"])
    sum_up(sink_name, tally)
    sys.exit(EXIT_FAULT if tally.failed or tally.untried else EXIT_OK)


def sink_to_tell(settings: Settings, name: str, *, even_actuators: bool) -> Sink:
    """The sink of that name; raises `Refused` for one that moves something unless that is meant."""
    sink = named_sink(settings, environment(), name)
    if sink.actuates and not even_actuators:
        raise Refused(
            f"{name} moves something in the world: alerts of the past would move it now. "
            "Say that you mean it: --even-actuators"
        )
    return sink


def _check_span(settings: Settings, span: Span, cameras: frozenset[str] | None, *, partial: bool) -> None:
    source = KafkaSource(settings.kafka, settings.prefix, ALERTS.name)
    try:
        gone = "; ".join(missing_parts(source, span, cameras))
    finally:
        source.close()
    if gone and not partial:
        raise Refused(f"part of the span is no longer on the topic alerts (--partial goes on without it): {gone}")
    if gone:
        click.echo(f"warning: not on the topic alerts any more: {gone}", err=True)


def _show(notices: tuple[Notice, ...], found: Found) -> None:
    for notice in notices:
        recorded = found.recorded.get(notice.delivery_id, "–")
        click.echo(f"{notice.delivery_id}  {recorded:<9}  {readable_line(notice.alert)}")
    click.echo(f"{len(notices)} would be delivered", err=True)


def _question(sink: str, notices: tuple[Notice, ...], found: Found) -> str:
    alerts = len({notice.alert.alert_id for notice in notices})
    again = sum(found.recorded.get(notice.delivery_id) == "delivered" for notice in notices)
    return (
        f"{len(notices)} messages of {alerts} alerts, {in_words(notices[0].instant)} to "
        f"{in_words(notices[-1].instant)}; {again} of them were delivered before. Deliver to {sink}?"
    )


def deliver_watched(
    settings: Settings, sink: Sink, notices: Sequence[Notice], recorded: dict[str, Outcome], attempts: int
) -> Tally:
    """`redeliver` with a bar on a terminal, until told to stop by a signal."""
    console = Console(stderr=True)
    columns = (TextColumn("delivering"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    # Where the sink itself writes to the terminal, a bar would only be in its way.
    shown = console.is_terminal and not (sink.name == "stdout" and sys.stdout.isatty())
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("", total=len(notices), pace="")

        def progress(done: int) -> None:
            bar.update(task, completed=done, pace=f"{done / max(1e-3, time.monotonic() - began):,.0f}/s")

        return redeliver(
            settings, sink, notices, recorded, attempts=attempts, stop=stop_on_signals(), progress=progress
        )


def sum_up(sink: str, tally: Tally) -> None:
    """Says how it went."""
    click.echo(f"{sink}: {tally.delivered} of {tally.total} delivered", err=True)
    for words, count in tally.reasons():
        click.echo(f"  not delivered, {words}: {count}", err=True)
    if tally.untried:
        click.echo(f"  not tried: {tally.untried} ({tally.stopped})", err=True)
