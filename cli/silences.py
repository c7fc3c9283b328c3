"""`backsight silences …`: who must not be told, until when, and why."""

import getpass
import json
import sys
import time
from pathlib import Path

import click
import msgspec
from msgspec import structs
from rich.table import Table

from cli.options import read_settings, stage_options, table_console
from router.silencing import BadSilence, new_silence
from runtime.kafka import BrokerUnreachable
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG
from runtime.silences import publish_silence, read_silences
from schemas.instants import BadInstant, in_words, instant


@click.group()
def silences() -> None:
    """Keep alerts from being told for a while. They are judged and recorded all the same.

    What a silence holds back is told when it ends, if the alert is still open.
    """


@silences.command()
@click.option(
    "--match", "matchers", multiple=True, required=True, metavar="MATCHER", help='"camera = gate_1", "roi =~ dock.*"'
)
@click.option("--for", "lasts", metavar="TIME", help="How long: 30m, 2h, 1d.")
@click.option("--until", metavar="INSTANT", help="Or until when: 2026-11-24T06:00:00Z.")
@click.option("--from", "begins", default="now", show_default=True, metavar="INSTANT")
@click.option("--comment", required=True, help="Why.")
@click.option("--by", "author", default=getpass.getuser, show_default="you", help="Who says so.")
@stage_options
def add(
    matchers: tuple[str, ...],
    lasts: str | None,
    until: str | None,
    begins: str,
    comment: str,
    author: str,
    configs: Path,
    prefix: str,
) -> None:
    """Silence alerts that match all of the matchers. It must end: --for or --until, at most 7 days.

    \b
    backsight silences add --match "camera = gate_1" --for 2h --comment "works on the gate"

    Exit codes: 0 done, 2 it does not check, 3 Kafka cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    now = round(time.time() * 1000)
    try:
        if (lasts is None) == (until is None):
            raise BadSilence("a silence needs an end: --for 2h or --until INSTANT (one of them)")
        starts_at = _instant("--from", begins, now)
        ends_at = starts_at + _lasts(lasts, now) if lasts is not None else _instant("--until", until or "", now)
        silence = new_silence(matchers, starts_at=starts_at, ends_at=ends_at, author=author, comment=comment, now=now)
        publish_silence(settings.kafka, settings.prefix, silence)
    except BadSilence as bad:
        click.echo(f"error: {bad}", err=True)
        sys.exit(EXIT_CONFIG)
    except BrokerUnreachable as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_BROKER)
    click.echo(f"{silence.silence_id} from {in_words(silence.starts_at)} to {in_words(silence.ends_at)}")


def _instant(option: str, text: str, now: int) -> int:
    try:
        return instant(text, now)
    except BadInstant as bad:
        raise BadSilence(f"{option}: {bad}") from None


def _lasts(text: str, now: int) -> int:
    try:
        return now - instant(f"-{text.strip()}", now)
    except BadInstant:
        raise BadSilence(f"--for: {text!r} is no length of time; expected 30m, 2h, 1d (s, m, h, d, w)") from None


@silences.command("list")
@click.option("--all", "every", is_flag=True, help="Also those that have ended.")
@click.option("--json", "as_plain_json", is_flag=True)
@stage_options
def list_silences(every: bool, as_plain_json: bool, configs: Path, prefix: str) -> None:
    """The silences in force and to come."""
    settings, _ = read_settings(configs, prefix)
    now = round(time.time() * 1000)
    try:
        found = [each for each in read_silences(settings.kafka, settings.prefix) if every or each.ends_at > now]
    except BrokerUnreachable as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_BROKER)
    if as_plain_json:
        click.echo(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    table = Table("silence", "matches", "from", "to", "by", "why", box=None)
    for each in found:
        state = "ended" if each.ends_at <= now else in_words(each.ends_at)
        table.add_row(
            each.silence_id, "\n".join(each.matchers), in_words(each.starts_at), state, each.author, each.comment
        )
    table_console().print(table if found else "no silences")


@silences.command()
@click.argument("silence_id")
@stage_options
def remove(silence_id: str, configs: Path, prefix: str) -> None:
    """End a silence now. It stays on record. SILENCE_ID may be its beginning."""
    settings, _ = read_settings(configs, prefix)
    now = round(time.time() * 1000)
    try:
        found = [
            each
            for each in read_silences(settings.kafka, settings.prefix)
            if each.silence_id.startswith(silence_id) and each.ends_at > now
        ]
        if len(found) != 1:
            click.echo(f"error: {len(found)} silences in force begin with {silence_id}; expected one", err=True)
            sys.exit(EXIT_CONFIG)
        publish_silence(
            settings.kafka,
            settings.prefix,
            structs.replace(found[0], starts_at=min(found[0].starts_at, now), ends_at=now),
        )
    except BrokerUnreachable as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_BROKER)
    click.echo(f"{found[0].silence_id} ended")
