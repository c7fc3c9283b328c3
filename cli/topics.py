"""`backsight topics`: the registry's topics in the cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.table import Table

from cli.options import configs_option, prefix_option, read_settings
from cli.topics_access import acl, reader
from runtime.kafka import AdminClient, BrokerUnreachable, admin, wait_for_broker
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_FAULT
from runtime.provision import Change, ProvisionError, Refused, TopicView, apply_topics, describe_topics

_DAY = 86_400_000


@click.group()
def topics() -> None:
    """Create and look at the topics in Kafka.

    The cluster is the one of KAFKA_BOOTSTRAP_SERVERS (127.0.0.1:9092 unless set, with the KAFKA_SASL_… and
    KAFKA_SSL_… settings beside it). The topics are those of schemas/topics.py.
    """


topics.add_command(acl)
topics.add_command(reader)


@topics.command()
@prefix_option
@click.option(
    "--replication",
    type=click.IntRange(1),
    envvar="BACKSIGHT_REPLICATION",
    show_envvar=True,
    help="Copies of new topics: 3 on three brokers or more, else 1.",
)
@click.option("--allow-loss", is_flag=True, help="Also apply what deletes history: shorter retention, other cleanup.")
@configs_option
def apply(prefix: str, replication: int | None, allow_loss: bool, configs: Path) -> None:
    """Create topics that are missing, update settings that differ. Running it again changes nothing.

    A topic with another partition count is refused, and so is an update that would delete history: nothing at all
    is changed then.

    Exit codes: 0 done, 1 the cluster does not do it, 2 refused, 3 the cluster cannot be reached.
    """
    cluster, prefix = _cluster(configs, prefix)
    try:
        changes = apply_topics(cluster, prefix, replication, allow_loss=allow_loss)
    except Refused as refused:
        _fail("Refused; nothing was changed:\n" + "\n".join(f"  {reason}" for reason in refused.reasons), EXIT_CONFIG)
    except ProvisionError as error:
        _fail(str(error), EXIT_FAULT)
    _console().print(_changes_table(changes))


@topics.command()
@prefix_option
@configs_option
def describe(prefix: str, configs: Path) -> None:
    """Show the registry beside what the cluster has. Changes nothing.

    Exit codes: 0 they agree, 1 they differ (`topics apply` would change something), 3 the cluster cannot be reached.
    """
    cluster, prefix = _cluster(configs, prefix)
    try:
        views = describe_topics(cluster, prefix)
    except ProvisionError as error:
        _fail(str(error), EXIT_FAULT)
    _console().print(_views_table(views))
    if any(view.state != "same" for view in views):
        sys.exit(EXIT_FAULT)


def _cluster(configs: Path, prefix: str) -> tuple[AdminClient, str]:
    settings, _ = read_settings(configs, prefix)
    try:
        wait_for_broker(settings.kafka)
    except BrokerUnreachable as error:
        _fail(str(error), EXIT_BROKER)
    return admin(settings.kafka), settings.prefix  # which may have come from .env


def _fail(text: str, code: int) -> NoReturn:
    click.echo(f"Error: {text}", err=True)
    sys.exit(code)


def _console() -> Console:
    # Piped, a table is as wide as it needs: cut names are of no use to a program.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def _changes_table(changes: list[Change]) -> Table:
    table = Table("topic", "partitions", "what was done", box=None, pad_edge=False)
    for change in changes:
        said = ", ".join(f"{key}: {before} → {after}" for key, (before, after) in change.settings.items())
        table.add_row(change.topic, str(change.partitions), f"{change.action} {said}".rstrip())
    return table


def _views_table(views: list[TopicView]) -> Table:
    columns = ("topic", "state", "partitions", "copies", "kept", "cleanup", "differs (cluster → registry)")
    table = Table(*columns, box=None, pad_edge=False)
    for view in views:
        here = "–" if view.partitions is None else str(view.partitions)
        partitions = here if view.partitions == view.wanted_partitions else f"{here} → {view.wanted_partitions}"
        differs = ", ".join(f"{key}: {have} → {want}" for key, (have, want) in view.differences.items())
        kept = "without limit" if view.topic.retention_ms is None else _duration(view.topic.retention_ms)
        copies = "–" if view.replication is None else str(view.replication)
        table.add_row(view.full_name, view.state, partitions, copies, kept, view.topic.cleanup, differs)
    return table


def _duration(milliseconds: int) -> str:
    return f"{milliseconds / _DAY:g} d" if milliseconds >= _DAY else f"{milliseconds / 3_600_000:g} h"
