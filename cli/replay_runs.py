"""`backsight replay list|remove`: runs that were published."""

import json
from pathlib import Path

import click
from rich.table import Table

from cli.options import read_settings, stage_options, table_console
from cli.replay_options import told_plainly
from replay import runs
from replay.spans import in_words


@click.command("list")
@stage_options
@click.option("--json", "as_plain_json", is_flag=True, help="Name, topics and manifest of each run as JSON.")
def list_runs(configs: Path, prefix: str, as_plain_json: bool) -> None:
    """The runs that were published, with what they found."""
    settings, _ = read_settings(configs, prefix)
    with told_plainly():
        found = runs.list_runs(settings)
    if as_plain_json:
        click.echo(json.dumps([run._asdict() for run in found], indent=2))
        return
    table = Table("run", "span", "before → after", "difference", "topics", box=None)
    for run in found:
        if run.manifest is None:
            table.add_row(run.name, "not finished", "", "", str(len(run.topics)))
            continue
        begin, end = run.manifest["manifest"]["span"]
        counts = ", ".join(f"{count} {kind}" for kind, count in run.manifest["counts"].items() if count)
        sides = f"{run.manifest['before']['name']} → {run.manifest['after']['name']}"
        table.add_row(run.name, f"{in_words(begin)} to {in_words(end)}", sides, counts, str(len(run.topics)))
    table_console().print(table if found else "no runs")


@click.command()
@click.argument("run")
@stage_options
def remove(run: str, configs: Path, prefix: str) -> None:
    """Remove a run and its topics."""
    settings, _ = read_settings(configs, prefix)
    with told_plainly():
        for topic in runs.remove_run(settings, run):
            click.echo(f"removed {topic}")
