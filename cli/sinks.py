"""`backsight sinks …`: where alerts can go, and whether they arrive."""

import asyncio
import sys
import time
import uuid
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from cli.options import read_settings, refuse, stage_options
from cli.routes import load
from router.configuration import named_sink
from router.retry import Answer
from router.sinks import Notice, Sink, known_sinks
from runtime.lifecycle import EXIT_FAULT
from runtime.settings import environment
from schemas.codec import encode
from schemas.messages import Alert, Evidence, FrameRef, Model
from schemas.problems import BadDocument


@click.group()
def sinks() -> None:
    """List the sinks of routes.yaml, and try one for real."""


@sinks.command("list")
@stage_options
def list_sinks(configs: Path, prefix: str) -> None:
    """The sinks that are configured, and the kinds there are."""
    configuration = load(configs, prefix)
    table = Table("name", "kind", "told", "moves something", "age limit", box=None)
    for sink in (*configuration.sinks, *configuration.unused):
        age = "none" if sink.max_age_seconds is None else f"{sink.max_age_seconds:g} s"
        told = "yes" if sink in configuration.sinks else "by no route"
        table.add_row(sink.name, sink.kind, told, "yes" if sink.actuates else "", age)
    console = Console()
    console.print(f"by {configuration.words}", style="dim")
    console.print(table)
    console.print(f"kinds: {', '.join(sorted(known_sinks()))}", style="dim")


@sinks.command()
@click.argument("name")
@stage_options
@click.option("--even-actuators", is_flag=True, help="Also where the sink moves something, such as a siren.")
@click.option("--camera", default="test", show_default=True, help="The camera id that the test alert names.")
def test(name: str, configs: Path, prefix: str, even_actuators: bool, camera: str) -> None:
    """Send a test alert through a sink for real: opened, then resolved. It says `test` wherever it can.

    It goes to the sink alone, not to the topic alerts. Exit code 0: taken, 1: not, 2: no such sink.
    """
    settings, _ = read_settings(configs, prefix)
    try:
        sink = named_sink(settings, environment(), name)
    except BadDocument as bad:
        refuse(bad.problems)
    if sink.actuates and not even_actuators:
        click.echo(f"error: {name} moves something in the world; say that you mean it: --even-actuators", err=True)
        sys.exit(2)
    answers = asyncio.run(_tell(sink, camera))
    for phase, answer in zip(("opened", "resolved"), answers, strict=False):
        detail = f": {answer.detail}" if answer.detail else ""
        click.echo(f"{name}: test alert {phase}: {answer.reason}{detail}", err=True)
    if any(answer.verdict != "done" for answer in answers):
        sys.exit(EXIT_FAULT)


async def _tell(sink: Sink, camera: str) -> list[Answer]:
    answers: list[Answer] = []
    try:
        for alert in test_alerts(camera, round(time.time() * 1000), str(uuid.uuid4())):
            try:
                async with asyncio.timeout(sink.deadline_seconds):
                    answers.append(await sink.deliver(Notice(alert, encode(alert))))
            except TimeoutError:
                answers.append(Answer("later", "timeout", f"no answer within {sink.deadline_seconds:g} s"))
            if answers[-1].verdict != "done":
                break
    finally:
        await sink.close()
    return answers


def test_alerts(camera: str, now: int, name: str) -> tuple[Alert, Alert]:
    """An alert that was opened two seconds ago and resolves now; ROI, label and model say that it is a test."""
    opened_at = now - 2000
    evidence = Evidence(FrameRef("test", 0, 0), (0.4, 0.4, 0.6, 0.8), 1.0, opened_at)

    def alert(seq: int, resolved_at: int | None) -> Alert:
        return Alert(
            alert_id=name,
            seq=seq,
            phase="opened" if resolved_at is None else "resolved",
            camera_id=camera,
            roi="test",
            label="test",
            track_id=None,
            severity="info",
            first_hit_at=opened_at,
            opened_at=opened_at,
            last_hit_at=opened_at,
            resolved_at=resolved_at,
            reason=None if resolved_at is None else "quiet",
            hits=1,
            suppressed=0,
            evidence=evidence,
            model=Model("test", "0", "0" * 64),
            roi_revision="0" * 16,
        )

    return alert(0, None), alert(1, now)
