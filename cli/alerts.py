"""`backsight alerts …`."""

import getpass
import sys
import time
from pathlib import Path

import click

from cli.alerts_look import list_alerts, show, tail
from cli.options import configs_option, prefix_option, read_settings, refuse
from runtime.kafka import BrokerUnreachable
from runtime.lifecycle import EXIT_BROKER
from runtime.marks import find_alert, publish_mark
from schemas.instants import BadInstant, in_words, instant
from schemas.messages import Mark
from schemas.problems import Problem


@click.group()
def alerts() -> None:
    """See alerts, follow them as they come, and say which were right."""


for look in (list_alerts, tail, show):
    alerts.add_command(look)


@alerts.command()
@click.argument("alert_id", metavar="ID")
@click.argument("true", metavar="true|false", type=click.BOOL)
@click.option("--by", help="Who says so; your user name unless given.")
@click.option("--comment", help="Why, for those who read it later.")
@click.option(
    "--since",
    default="-30d",
    show_default=True,
    metavar="INSTANT",
    help="The alert is looked for from here on: 2026-11-16, -7d, -90m.",
)
@configs_option
@prefix_option
def mark(
    alert_id: str, true: bool, by: str | None, comment: str | None, since: str, configs: Path, prefix: str
) -> None:
    """Mark an alert as right (true) or as a false alarm (false). The newest mark of an alert counts.

    Marks are on the topic marks for ever; a replay says with them which true alerts a candidate would lose.

    Exit codes: 0 marked, 2 there is no such alert or an option does not check, 3 Kafka cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    now = round(time.time() * 1000)
    try:
        begin = instant(since, now)
    except BadInstant as bad:
        refuse([Problem("--since", str(bad))])
    alert_id = alert_id.strip().lower()
    who = by or _user()
    try:
        alert = find_alert(settings.kafka, settings.prefix, alert_id, begin)
        if alert is None:
            refuse([Problem("ID", f"there is no alert {alert_id} since {in_words(begin)} (see --since)")])
        publish_mark(settings.kafka, settings.prefix, Mark(alert_id, true, now, who, comment))
    except BrokerUnreachable as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_BROKER)
    verdict = "right" if true else "a false alarm"
    about = f"{alert.camera_id}, {alert.roi}, {alert.label}, opened {in_words(alert.opened_at)}"
    click.echo(f"{alert_id} ({about}): marked as {verdict} by {who}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return "unknown"
