"""The command `backsight`. Each command's module is imported only when it is called, so that `--help` is quick."""

import importlib
import os
from typing import Final

import click

from runtime.lifecycle import SUPERVISOR, die_with_parent

COMMANDS: Final = {
    "up": ("cli.up", "up", "Run every stage on this machine with your cameras, ROIs and model."),
    "demo": ("cli.demo", "demo", "Watch a synthetic yard: cameras, alerts, and a table against the truth."),
    "ingest": ("cli.ingest", "ingest", "Cameras to the topic frames."),
    "inference": ("cli.inference", "inference", "Frames to the topic detections."),
    "rules": ("cli.rules", "rules", "Detections to the topic alerts."),
    "router": ("cli.router", "router", "Alerts to whom they concern."),
    "evidence": ("cli.evidence", "evidence", "The picture of every opened alert."),
    "api": ("cli.api", "api", "The HTTP API: /health, /infer, /config/…"),
    "replay": ("cli.replay", "replay", "Judge history again, and show the difference."),
    "shadow": ("cli.shadow", "shadow", "Run a candidate rois.yaml live beside the active rules."),
    "alerts": ("cli.alerts", "alerts", "See alerts, follow them, and say which were right."),
    "dead-letters": ("cli.dead_letters", "dead_letters", "What could not be delivered or judged: look, redrive, drop."),
    "archive": ("cli.archive", "archive", "Detections in Parquet files, for longer than Kafka keeps them."),
    "routes": ("cli.routes", "routes", "Check routes.yaml, and ask it who would be told."),
    "silences": ("cli.silences", "silences", "Keep alerts from being told for a while."),
    "sinks": ("cli.sinks", "sinks", "List the sinks, and send a test alert through one."),
    "hikvision": ("cli.hikvision", "hikvision", "Ask a Hikvision recorder or camera what it can do."),
    "config": ("cli.config", "config", "Check and apply cameras.yaml, rois.yaml and services.yaml."),
    "topics": ("cli.topics", "topics", "Create and describe the topics."),
    "plan": ("cli.plan", "plan", "What a number of cameras needs."),
    "kafka": ("cli.kafka", "kafka", "A local Apache Kafka for one machine."),
}


class LazyCommands(click.Group):
    """Finds commands in `COMMANDS`."""

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


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="backsight")
def main() -> None:
    """Camera alerting on Kafka that can judge history again.

    Try it: `backsight demo`. With your own cameras: write configs/cameras.yaml and configs/rois.yaml, check them with
    `backsight config check`, then `backsight up`. Settings come from services.yaml and the environment (or .env); the
    environment wins.

    Exit codes: 0 well, 1 a fault that a restart may mend, 2 a document or option that does not check, 3 Kafka cannot
    be reached, 4 the GPU asked for is not there.
    """
    supervisor = os.environ.get(SUPERVISOR)
    if supervisor:
        die_with_parent(int(supervisor))


if __name__ == "__main__":
    main()
