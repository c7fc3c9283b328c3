"""`backsight replay …`: the group. Each subcommand is a module of its own, imported when it is called."""

from typing import Final

import click

from cli.lazy import Lazy, LazyGroup
from runtime.logs import configure_logs

COMMANDS: Final = {
    "rules": Lazy("cli.replay_rules", "rules", "Judge a span again, and show which alerts would differ."),
    "explain": Lazy("cli.replay_explain", "explain", "Why did this alert open, or why did nothing?"),
    "sweep": Lazy("cli.replay_sweep", "sweep", "Alerts per day for every combination of settings."),
    "frames": Lazy("cli.replay_frames", "frames", "Look at stored frames again, with another model or threshold."),
    "deliveries": Lazy("cli.replay_deliveries", "deliveries", "Deliver alerts of a span again to one sink."),
    "list": Lazy("cli.replay_runs", "list_runs", "The runs that were published."),
    "remove": Lazy("cli.replay_runs", "remove", "Remove a run and its topics."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def replay() -> None:
    """Judge history again, and show the difference. Nothing here writes to a live topic or reaches a sink, but
    `deliveries`, which asks first.

    Exit codes: 0 the same alerts, 3 different ones, 2 an option or document does not check or part of the span is gone,
    5 Kafka cannot be reached, 1 a fault.
    """
    configure_logs("replay")  # to stderr: stdout is the result
