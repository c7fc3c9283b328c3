"""`backsight dead-letters …`: what could not be read, judged or delivered, and what is to become of it."""

import getpass
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import click
import msgspec
from rich.table import Table

from cli.options import plain, read_settings, refuse, stage_options, table_console
from cli.replay_deliveries import deliver_watched, sink_to_tell, sum_up
from replay.redeliver import outcomes_recorded
from replay.trial import Refused
from router.configuration import load_router
from router.delivery_log import SKEW_MS
from router.sinks import Notice
from router.sinks.stdout import readable_line
from runtime.kafka import BrokerUnreachable
from runtime.letters import Letter, Settlement, Verdict, read_letters, settle
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_FAULT, EXIT_OK
from runtime.logs import configure_logs
from runtime.redact import redact
from runtime.settings import Settings, environment
from schemas.codec import decode
from schemas.instants import BadInstant, in_words, instant
from schemas.messages import Alert
from schemas.problems import BadDocument, Problem, Undecodable

MOST_SHOWN: Final = 200
LONGEST_TEXT: Final = 20_000
"""Letters of a value that are shown; --raw gives all of it."""

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


@click.group("dead-letters")
def dead_letters() -> None:
    """See what could not be read, judged or delivered; deliver it after all, or drop it."""


def filters(command: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
    """Which letters are meant."""
    for option in (
        click.option("--stage", metavar="NAME", help="Of this stage: inference, rules, router (all its sinks)."),
        click.option("--sink", metavar="NAME", help="Of this sink of the router."),
        click.option("--reason", metavar="REASON", help="With this reason: too_old, rejected, bad_value, …"),
        click.option("--since", metavar="INSTANT", help="Put away since then: -2h, 2026-11-23T08:00:00Z."),
    ):
        command = option(command)
    return command


@dead_letters.command("list")
@filters
@click.option("--all", "every", is_flag=True, help="Also those that were redriven or dropped.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, all of them; instants in ms UTC.")
@stage_options
def list_letters(every: bool, as_json: bool, configs: Path, prefix: str, **meant: Any) -> None:
    """The letters that wait for a decision, the newest last. They are kept for 14 days.

    Exit codes: 0 shown, 2 an option does not check, 3 Kafka cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    letters = [each for each in _read(settings, (), meant, values=False) if every or each.settled is None]
    if as_json:
        for letter in letters:
            click.echo(json.dumps(_facts(letter), ensure_ascii=False))
        return
    table = Table("letter", "put away", "stage", "reason", "tries", "from", "detail", box=None)
    for letter in letters[-MOST_SHOWN:]:
        fate = f"[{letter.settled.verdict} by {letter.settled.by}] " if letter.settled else ""
        row = (in_words(letter.at), letter.stage, letter.reason, str(letter.attempts), _origin(letter))
        table.add_row(letter.name, *map(plain, row), plain(fate + redact(letter.detail)))
    if letters:
        table_console().print(table)
    kinds = Counter((letter.stage, letter.reason) for letter in letters).most_common()
    for (stage, reason), count in kinds:
        click.echo(f"{count} × {stage}: {reason}", err=True)
    if len(letters) > MOST_SHOWN:
        click.echo(f"the newest {MOST_SHOWN} of {len(letters)} are shown; --json gives all", err=True)
    if not letters:
        click.echo("no dead letters", err=True)


@dead_letters.command()
@click.argument("place", metavar="LETTER")
@click.option("--raw", is_flag=True, help="The value alone, byte for byte as it was put away, to stdout.")
@stage_options
def show(place: str, raw: bool, configs: Path, prefix: str) -> None:
    """One letter (PARTITION/OFFSET, as `list` names it): why it is here, where it came from, and what is in it.

    Credentials are hidden, except with --raw.

    Exit codes: 0 shown, 2 there is no such letter, 3 Kafka cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    (letter,) = _read(settings, (place,), {})
    if raw:
        sys.stdout.buffer.write(letter.value or b"")
        return
    for name, fact in {**_facts(letter), "put_away_at": in_words(letter.at), "settled": _fate(letter)}.items():
        if fact is not None:
            click.echo(f"{name:<14} {plain(fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False))}")
    for name, content in letter.headers:
        click.echo(f"{'header':<14} {plain(name)}: {plain(redact(content.decode(errors='replace')))[:500]}")
    click.echo("")
    click.echo(_in_words(letter.value))


@dead_letters.command()
@click.argument("places", nargs=-1, metavar="[LETTER]…")
@filters
@click.option("--attempts", type=click.IntRange(1, 100), default=5, show_default=True, help="Of each, at most.")
@click.option("--even-actuators", is_flag=True, help="Also where the sink moves something, such as a barrier.")
@click.option("--dry-run", is_flag=True, help="Show what would be told, and tell nobody.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--by", default=getpass.getuser, show_default="you", help="Who says so.")
@stage_options
def redrive(places: tuple[str, ...], configs: Path, prefix: str, **options: Any) -> None:
    """Deliver what the router could not, each alert to the sink that was not told, under its old delivery id.

    The letters are named one by one, or meant by the filters. Each that is delivered is done with. The age limit does
    not count. Letters of other stages cannot go back: what they hold could not be read, and the camera's clock has gone
    on; `backsight replay` judges history again.

    \b
    backsight dead-letters redrive --sink webhook --reason rejected
    backsight dead-letters redrive 3/17

    Exit codes: 0 all are delivered, 1 some are not, or nobody said yes, 2 an option or setting does not check or a
    letter cannot be redriven, 3 Kafka cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    configure_logs("dead-letters")
    with _told_plainly():
        letters = _waiting(settings, places, options)
        by_sink = _by_sink(letters, strict=bool(places))
        well = True
        for sink, some in by_sink.items():
            well = _redrive(settings, sink, some, options) and well
    if not by_sink:
        click.echo("nothing to deliver", err=True)
    sys.exit(EXIT_OK if well else EXIT_FAULT)


@dead_letters.command()
@click.argument("places", nargs=-1, metavar="[LETTER]…")
@filters
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--by", default=getpass.getuser, show_default="you", help="Who says so.")
@click.option("--comment", default="", help="Why, for those who read it later.")
@stage_options
def drop(places: tuple[str, ...], yes: bool, by: str, comment: str, configs: Path, prefix: str, **meant: Any) -> None:
    """Say that nothing is to become of letters. They no longer count as waiting; `list --all` shows them.

    Nothing is deleted before its 14 days are over.

    Exit codes: 0 dropped, 1 nobody said yes, 2 an option does not check, 3 Kafka cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    if not places and not any(meant.values()):
        refuse(
            [Problem("dead-letters drop", "name letters, or say which are meant: --stage, --sink, --reason, --since")]
        )
    letters = _waiting(settings, places, meant, values=False)
    if not letters:
        click.echo("nothing to drop", err=True)
        return
    if not yes:
        kinds = ", ".join(f"{count} × {reason}" for reason, count in Counter(each.reason for each in letters).items())
        click.confirm(f"Drop {len(letters)} letters ({kinds})?", abort=True, err=True)
    _settle(settings, letters, "dropped", by, comment)
    click.echo(f"{len(letters)} dropped", err=True)


def _redrive(settings: Settings, sink_name: str, letters: Sequence[Letter], options: dict[str, Any]) -> bool:
    """Tells one sink; whether all of its letters are done with."""
    sink = sink_to_tell(settings, sink_name, even_actuators=options["even_actuators"])
    configuration = load_router(settings, environment())
    notices: dict[str, Notice] = {}
    of: dict[str, list[Letter]] = {}
    unreadable = 0
    for letter in letters:
        try:
            alert = decode(Alert, letter.value, list(letter.headers))
        except Undecodable as error:
            click.echo(f"{letter.name}: cannot be read ({error.reason}), it stays", err=True)
            unreadable += 1
            continue
        notice = Notice(alert, letter.value or b"", configuration.site_of(alert.camera_id))
        notices.setdefault(notice.delivery_id, notice)
        of.setdefault(notice.delivery_id, []).append(letter)
    ordered = sorted(notices.values(), key=lambda each: (each.instant, each.alert.seq))
    if not ordered:
        return not unreadable
    recorded = outcomes_recorded(settings.kafka, settings.prefix, sink_name, ordered[0].instant - SKEW_MS)
    known = {each.delivery_id for each in ordered if recorded.get(each.delivery_id) == "delivered"}
    wanted = [each for each in ordered if each.delivery_id not in known]
    if options["dry_run"]:
        for notice in wanted:
            click.echo(f"{sink_name}  {notice.delivery_id}  {readable_line(notice.alert)}")
        click.echo(f"{sink_name}: {len(wanted)} would be delivered, {len(known)} were since", err=True)
        return True
    if wanted and not options["yes"]:
        if not sys.stdin.isatty():
            raise Refused("nobody is here to be asked: --yes delivers without asking, --dry-run shows what would go")
        span = f"{in_words(wanted[0].instant)} to {in_words(wanted[-1].instant)}"
        click.confirm(f"{len(wanted)} messages, {span}. Deliver to {sink_name}?", abort=True, err=True)
    done = known
    if wanted:
        tally = deliver_watched(settings, sink, wanted, recorded, options["attempts"])
        sum_up(sink_name, tally)
        done = known | tally.told
    settled = [letter for delivery_id in done for letter in of[delivery_id]]
    _settle(settings, settled, "redriven", options["by"], "")
    return len(done) == len(ordered) and not unreadable


def _by_sink(letters: Sequence[Letter], *, strict: bool) -> dict[str, list[Letter]]:
    by_sink: dict[str, list[Letter]] = {}
    others: list[Letter] = []
    for letter in letters:
        if letter.sink is None:
            others.append(letter)
        else:
            by_sink.setdefault(letter.sink, []).append(letter)
    if others:
        why = (
            "put away by a stage that could not read or judge it: delivering is what can be done again. "
            "`backsight replay` judges history; `dead-letters show` says what was wrong, `dead-letters drop` settles it"
        )
        if strict:
            raise Refused(f"{', '.join(each.name for each in others)}: {why}")
        click.echo(f"left out: {len(others)} {why}", err=True)
    return by_sink


def _waiting(settings: Settings, places: Sequence[str], meant: dict[str, Any], *, values: bool = True) -> list[Letter]:
    found = _read(settings, places, meant, values=values)
    for letter in found if places else ():
        if letter.settled is not None:
            click.echo(f"{letter.name}: {plain(_fate(letter) or '')}", err=True)
    return [each for each in found if each.settled is None]


def _read(settings: Settings, places: Sequence[str], meant: dict[str, Any], *, values: bool = True) -> list[Letter]:
    """The letters that are meant: named by their place, or all that pass the filters."""
    try:
        since = instant(meant["since"], round(time.time() * 1000)) if meant.get("since") else None
    except BadInstant as bad:
        refuse([Problem("--since", str(bad))])
    named = {_place(text): text for text in places}

    def wanted(letter: Letter) -> bool:
        stage, sink, reason = meant.get("stage"), meant.get("sink"), meant.get("reason")
        return (
            (not named or letter.place in named)
            and (stage is None or letter.stage == stage or letter.stage.startswith(f"{stage}."))
            and (sink is None or letter.sink == sink)
            and (reason is None or letter.reason == reason)
        )

    with _told_plainly():
        found = read_letters(settings.kafka, settings.prefix, since=since, wanted=wanted, values=values)
    missing = named.keys() - {letter.place for letter in found}
    if missing:
        known = ", ".join(named[place] for place in sorted(missing))
        refuse([Problem(known, "there is no such letter; `backsight dead-letters list --all` names them")])
    return found


def _place(text: str) -> tuple[int, int]:
    partition, slash, offset = text.partition("/")
    if not (slash and partition.isdecimal() and offset.isdecimal()):
        refuse([Problem(text, "expected PARTITION/OFFSET, as `backsight dead-letters list` names letters")])
    return int(partition), int(offset)


def _settle(settings: Settings, letters: Sequence[Letter], verdict: Verdict, by: str, comment: str) -> None:
    with _told_plainly():
        settle(settings.kafka, settings.prefix, letters, Settlement(verdict, round(time.time() * 1000), by, comment))


@contextmanager
def _told_plainly() -> Iterator[None]:
    try:
        yield
    except BadDocument as bad:
        refuse(bad.problems)
    except Refused as refused:
        click.echo(f"error: {refused}", err=True)
        sys.exit(EXIT_CONFIG)
    except BrokerUnreachable as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_BROKER)


def _facts(letter: Letter) -> dict[str, Any]:
    return {
        "letter": letter.name,
        "put_away_at": letter.at,
        "stage": letter.stage,
        "reason": letter.reason,
        "detail": redact(letter.detail),
        "attempts": letter.attempts,
        "origin": _origin(letter),
        "key": None if letter.key is None else redact(letter.key.decode(errors="replace")),
        "bytes": letter.size,
        "cut_from_bytes": letter.cut_from_bytes,
        "settled": None if letter.settled is None else msgspec.to_builtins(letter.settled),
    }


def _fate(letter: Letter) -> str | None:
    """What was decided about it, in words."""
    if letter.settled is None:
        return None
    comment = f": {letter.settled.comment}" if letter.settled.comment else ""
    return f"{letter.settled.verdict} by {letter.settled.by}, {in_words(letter.settled.at)}{comment}"


def _origin(letter: Letter) -> str:
    topic, partition, offset = letter.origin
    return f"{topic}/{partition}/{offset}"


def _in_words(value: bytes | None) -> str:
    """The value for a person: JSON indented, text as it is, anything else by its size and beginning."""
    if not value:
        return "(empty)"
    try:
        text = msgspec.json.format(value, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return f"({len(value)} bytes that are no text, beginning {value[:16].hex(' ')}; --raw gives them)"
    text = "\n".join(map(plain, redact(text).splitlines()))
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}\n… --raw gives all {len(value)} bytes"
