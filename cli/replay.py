"""`backsight replay …`: the group. Each subcommand is a module of its own, imported when it is called."""

import importlib
from typing import Final

import click

from runtime.logs import configure_logs

COMMANDS: Final = {
    "rules": ("cli.replay_rules", "rules", "Judge a span again, and show which alerts would differ."),
    "explain": ("cli.replay_explain", "explain", "Why did this alert open, or why did nothing?"),
    "sweep": ("cli.replay_sweep", "sweep", "Alerts per day for every combination of settings."),
    "frames": ("cli.replay_frames", "frames", "Look at stored frames again, with another model or threshold."),
    "deliveries": ("cli.replay_deliveries", "deliveries", "Deliver alerts of a span again to one sink."),
    "list": ("cli.replay_runs", "list_runs", "The runs that were published."),
    "remove": ("cli.replay_runs", "remove", "Remove a run and its topics."),
}


class LazyReplay(click.Group):
    """Finds subcommands in `COMMANDS`."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, _, words) in COMMANDS.items()])


@click.group(cls=LazyReplay)
def replay() -> None:
    """Judge history again, and show the difference. Nothing here writes to a live topic or reaches a sink, but
    `deliveries`, which asks first.

    Exit codes: 0 the same alerts, 3 different ones, 2 an option or document does not check or part of the span is gone,
    5 Kafka cannot be reached, 1 a fault.
    """
    configure_logs("replay")  # to stderr: stdout is the result
