"""The command `backsight`. Each command's module is imported only when it is called, so that `--help` is quick."""

import os
from typing import Final

import click

from cli.lazy import Lazy, LazyGroup
from runtime.lifecycle import SUPERVISOR, die_with_parent

COMMANDS: Final = {
    "up": Lazy("cli.up", "up", "Run every stage on this machine with your cameras, ROIs and model."),
    "demo": Lazy("cli.demo", "demo", "Watch a synthetic yard: cameras, alerts, and a table against the truth."),
    "simulator": Lazy("cli.simulator", "simulator", "Play the synthetic yard over RTSP, as cameras would."),
    "ingest": Lazy("cli.ingest", "ingest", "Cameras to the topic frames."),
    "inference": Lazy("cli.inference", "inference", "Frames to the topic detections."),
    "rules": Lazy("cli.rules", "rules", "Detections to the topic alerts."),
    "router": Lazy("cli.router", "router", "Alerts to whom they concern."),
    "evidence": Lazy("cli.evidence", "evidence", "The picture of every opened alert."),
    "api": Lazy("cli.api", "api", "The HTTP API: /health, /infer, /config/…"),
    "tokens": Lazy("cli.tokens", "tokens", "Who may use the HTTP API, and for what."),
    "replay": Lazy("cli.replay", "replay", "Judge history again, and show the difference."),
    "shadow": Lazy("cli.shadow", "shadow", "Run a candidate rois.yaml live beside the active rules."),
    "alerts": Lazy("cli.alerts", "alerts", "See alerts, follow them, and say which were right."),
    "dead-letters": Lazy("cli.dead_letters", "dead_letters", "What could not be delivered or judged."),
    "archive": Lazy("cli.archive", "archive", "Detections in Parquet files, for longer than Kafka keeps them."),
    "routes": Lazy("cli.routes", "routes", "Check routes.yaml, and ask it who would be told."),
    "silences": Lazy("cli.silences", "silences", "Keep alerts from being told for a while."),
    "sinks": Lazy("cli.sinks", "sinks", "List the sinks, and send a test alert through one."),
    "hikvision": Lazy("cli.hikvision", "hikvision", "Ask a Hikvision recorder or camera what it can do."),
    "config": Lazy("cli.config", "config", "Check and apply cameras.yaml, rois.yaml and services.yaml."),
    "cameras": Lazy("cli.cameras", "cameras", "List the cameras, probe one, see its picture with its ROIs."),
    "doctor": Lazy("cli.doctor", "doctor", "Look at everything that can be wrong, and say what to do."),
    "models": Lazy("cli.models", "models", "Register models, check their files, and say which one runs."),
    "health": Lazy("cli.health", "health", "Ask the process beside this command whether it is well."),
    "topics": Lazy("cli.topics", "topics", "Create and describe the topics."),
    "plan": Lazy("cli.plan", "plan", "What a number of cameras needs."),
    "kafka": Lazy("cli.kafka", "kafka", "A local Apache Kafka for one machine."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
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
