"""`backsight topics acl` and `backsight topics reader …`: who may do what in Kafka."""

import re
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import click
from rich.console import Console
from rich.table import Table

from cli.options import configs_option, prefix_option, read_settings
from runtime.acls import AclError, Allowed, allow, allowed, forbid, put_user, remove_user, users
from runtime.kafka import AdminClient, BrokerUnreachable, admin, wait_for_broker
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_FAULT
from schemas.grants import READABLE, SERVICES, Grant, grants, reader_grants

PRINCIPAL: Final = "User:backsight-{service}"
_NAME: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")

Answer = TypeVar("Answer")


@click.command()
@click.option("--apply", "write", is_flag=True, help="Write what is missing to the cluster.")
@click.option("--prune", is_flag=True, help="With --apply: take away what these principals have beyond the table.")
@click.option("--principal", default=PRINCIPAL, show_default=True, metavar="TEXT", help="What {service} is called.")
@prefix_option
@configs_option
def acl(write: bool, prune: bool, principal: str, prefix: str, configs: Path) -> None:
    """Show what each service may do in Kafka, and with --apply have the cluster hold it.

    One principal per service. The cluster needs an authorizer (StandardAuthorizer), which denies what nobody granted;
    the command itself needs to be run as one of its super.users. Without --apply no cluster is asked.

    Exit codes: 0 done, 1 the cluster does not do it, 2 an option does not check, 3 it cannot be reached.
    """
    if "{service}" not in principal or not principal.startswith("User:"):
        _fail("--principal: expected User: and {service} in it, such as User:CN={service},O=plant", EXIT_CONFIG)
    settings, _ = read_settings(configs, prefix)
    wanted: dict[str, set[Allowed]] = {
        service.name: {
            (principal.replace("{service}", service.name), each) for each in grants(service, settings.prefix)
        }
        for service in SERVICES
    }
    _console().print(_table(wanted))
    if not write:
        return
    cluster = _cluster(configs, prefix)
    every = set().union(*wanted.values())
    ours = {name for name, _ in every}
    there = {each for each in _done(lambda: allowed(cluster)) if each[0] in ours}
    _done(lambda: allow(cluster, every - there))
    click.echo(f"{len(every - there)} added, {len(every & there)} were there")
    beyond = sorted(there - every)
    for name, grant in beyond:
        click.echo(f"{'taken away' if prune else 'beyond the table (--prune takes it away)'}: {name} {_words(grant)}")
    if prune:
        _done(lambda: forbid(cluster, beyond))


@click.group()
def reader() -> None:
    """Let programs outside Backsight read detections and alerts, and nothing else.

    A reader logs in with SCRAM-SHA-512 where the cluster has a SASL_SSL listener, and reads in groups that are called
    as the reader is, or begin so with a dot.
    """


@reader.command("add")
@click.argument("name")
@prefix_option
@configs_option
def add_reader(name: str, prefix: str, configs: Path) -> None:
    """Make a reader and print its password, this once. One that is there gets another password.

    Exit codes: 0 done, 1 the cluster does not do it, 2 NAME does not check, 3 the cluster cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    _check_name(name)
    cluster = _cluster(configs, prefix)
    password = secrets.token_urlsafe(24)
    # Rights first: without an authorizer a new user could do everything, and none is made then.
    _done(lambda: allow(cluster, {(f"User:{name}", each) for each in reader_grants(name, settings.prefix)}))
    _done(lambda: put_user(cluster, name, password))
    click.echo(password)
    topics = " and ".join(topic.full_name(settings.prefix) for topic in READABLE)
    click.echo(
        f"shown this once. {name} may read {topics} in the group {name} (or {name}.SOMETHING) with:\n"
        "security.protocol=SASL_SSL sasl.mechanism=SCRAM-SHA-512 "
        f"sasl.username={name} sasl.password=… ssl.ca.location=…",
        err=True,
    )


@reader.command("list")
@prefix_option
@configs_option
def list_readers(prefix: str, configs: Path) -> None:
    """The readers."""
    settings, _ = read_settings(configs, prefix)
    cluster = _cluster(configs, prefix)
    found = sorted(_readers(cluster, settings.prefix))
    for name in found:
        click.echo(name)
    if not found:
        click.echo("no readers", err=True)


@reader.command("remove")
@click.argument("name")
@prefix_option
@configs_option
def remove_reader(name: str, prefix: str, configs: Path) -> None:
    """Take a reader away: nobody logs in by its name any more."""
    settings, _ = read_settings(configs, prefix)
    _check_name(name)
    cluster = _cluster(configs, prefix)
    if name not in _readers(cluster, settings.prefix):
        _fail(f"there is no reader {name}", EXIT_CONFIG)
    _done(lambda: remove_user(cluster, name))
    _done(lambda: forbid(cluster, {each for each in allowed(cluster) if each[0] == f"User:{name}"}))
    click.echo(f"{name} is taken away; what it has open ends when its session does")


def _readers(cluster: AdminClient, prefix: str) -> set[str]:
    """Users with a password who have what a reader has."""
    there = _done(lambda: allowed(cluster))
    return {
        name
        for name in _done(lambda: users(cluster))
        if {(f"User:{name}", each) for each in reader_grants(name, prefix)} <= there
    }


def _check_name(name: str) -> None:
    if not _NAME.match(name) or name.startswith("backsight-"):
        _fail("NAME: expected letters, digits, _ and -, not beginning with backsight-, as services do", EXIT_CONFIG)


def _table(wanted: dict[str, set[Allowed]]) -> Table:
    table = Table("service", "principal", "may", "on", box=None, pad_edge=False)
    for service, every in wanted.items():
        lines: dict[str, list[str]] = {}
        for _, grant in sorted(every):
            on = f"{grant.resource} {grant.name}{'*' if grant.pattern == 'prefixed' else ''}"
            lines.setdefault(on, []).append(grant.operation)
        principal = next(iter(every))[0]
        for number, (on, operations) in enumerate(lines.items()):
            table.add_row(*((service, principal) if number == 0 else ("", "")), ", ".join(operations), on)
    return table


def _words(grant: Grant) -> str:
    return f"{grant.operation} on {grant.resource} {grant.name}{'*' if grant.pattern == 'prefixed' else ''}"


def _cluster(configs: Path, prefix: str) -> AdminClient:
    settings, _ = read_settings(configs, prefix)
    try:
        wait_for_broker(settings.kafka)
    except BrokerUnreachable as error:
        _fail(str(error), EXIT_BROKER)
    return admin(settings.kafka)


def _done(work: Callable[[], Answer]) -> Answer:
    try:
        return work()
    except AclError as error:
        _fail(str(error), EXIT_FAULT)


def _fail(text: str, code: int) -> NoReturn:
    click.echo(f"Error: {text}", err=True)
    sys.exit(code)


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)
