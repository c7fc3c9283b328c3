"""`backsight tokens …`: who may use the HTTP API."""

import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from api.tokens import ROLES, BadToken, Role, TokenFile
from cli.options import configs_option, read_settings, refuse, table_console
from runtime.lifecycle import EXIT_CONFIG
from schemas.instants import in_words
from schemas.problems import BadDocument

DAY_MS = 86_400_000


@click.group()
def tokens() -> None:
    """Say who may use the HTTP API, and for what.

    Only hashes are kept, in API_TOKENS_FILE (var/tokens.json unless set). A running API takes changes up by itself.
    """


@tokens.command()
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, required=True, type=click.Choice(ROLES),
    help="read: alerts, evidence, documents. infer: /infer. admin: everything. May be given twice.",
)  # fmt: skip
@click.option("--camera", "cameras", multiple=True, metavar="ID", help="For these cameras alone; may be given often.")
@click.option("--days", type=click.IntRange(1), help="How long it holds; without it, until it is revoked.")
@configs_option
def create(name: str, roles: tuple[Role, ...], cameras: tuple[str, ...], days: int | None, configs: Path) -> None:
    """Make a token and print it, this once. NAME says whose it is.

    \b
    backsight tokens create wall-display --role read --camera gate_1 --camera gate_2

    Exit codes: 0 done, 2 it does not check.
    """
    now = round(time.time() * 1000)
    expires_at = None if days is None else now + days * DAY_MS
    made = _done(lambda: _file(configs).create(name, roles, cameras or None, expires_at, now))
    click.echo(made)
    click.echo("shown this once; send it as `Authorization: Bearer TOKEN`", err=True)


@tokens.command("list")
@configs_option
def list_tokens(configs: Path) -> None:
    """The tokens: whose, for what, until when. What they are nobody can say any more."""
    found = _done(_file(configs).read)
    if not found:
        click.echo("no tokens" if found is None else "no tokens, so nobody may use the API")
        return
    now = time.time() * 1000
    table = Table("token", "roles", "cameras", "made", "until", box=None)
    for each in found:
        until = "revoked" if each.expires_at is None else in_words(each.expires_at)
        over = " (over)" if each.expires_at is not None and each.expires_at <= now else ""
        table.add_row(
            each.name,
            ", ".join(each.roles),
            "every" if each.cameras is None else ", ".join(each.cameras),
            in_words(each.created_at),
            until + over,
        )
    table_console().print(table)


@tokens.command()
@click.argument("name")
@configs_option
def revoke(name: str, configs: Path) -> None:
    """Take a token away, at once."""
    _done(lambda: _file(configs).revoke(name))
    click.echo(f"{name} is revoked")


def _file(configs: Path) -> TokenFile:
    settings, _ = read_settings(configs, "")
    return TokenFile(Path(settings.services.api.tokens_file))


def _done(work: Any) -> Any:
    try:
        return work()
    except BadToken as bad:
        click.echo(f"error: {bad}", err=True)
        sys.exit(EXIT_CONFIG)
    except BadDocument as bad:
        refuse(bad.problems)
