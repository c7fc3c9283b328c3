"""`backsight replay` on a real broker: made-up history with its alerts as the rules recorded them, and candidates."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from cli.replay import replay
from replay.judging import instant_of
from rules.engine import ENGINE_VERSION
from runtime.kafka import log_spans, producer, reader
from schemas.codec import encode, schema_header
from schemas.messages import Alert
from schemas.topics import TOPICS
from tests.support.broker import settings


def publish_alerts(bootstrap: str, prefix: str, alerts: Iterable[Alert], engine: str | None = ENGINE_VERSION) -> None:
    """Writes the alerts as the rules app does; ``engine`` None: as one did that did not say."""
    sender = producer(settings(bootstrap), "test-alerts", linger_ms=20)
    headers = [schema_header(Alert), *([] if engine is None else [("engine", engine.encode())])]
    for alert in alerts:
        sender.produce(
            f"{prefix}alerts",
            key=alert.camera_id,
            value=encode(alert),
            headers=headers,
            timestamp=instant_of(alert),
        )
    assert sender.flush(30) == 0


def write_rois(path: Path, cameras: dict[str, dict[str, Any]]) -> Path:
    """A `rois.yaml` with one ROI per camera, as `tests.support.rules.revision` draws it but for the changes given."""
    written = []
    for camera, changes in cameras.items():
        roi = {
            "name": "roi_0",
            "units": "fractions",
            "points": [[0, 0.5], [0.9, 0.5], [0.9, 1.0], [0, 1.0]],
            "confirm": {"hits": 3, "within_seconds": 2},
            "resolve_after_seconds": 3,
            "debounce_window_seconds": 20,
        }
        written.append(
            {
                "camera_id": camera,
                "forbidden_rois": [roi | changes],
                "allowed_classes": ["pine", "worker"],
                "alert_classes": ["object"],
            }
        )
    path.write_text(yaml.safe_dump({"cameras": written}))
    return path


class WhatIf:
    """`backsight replay` with this broker and prefix."""

    def __init__(self, bootstrap: str, prefix: str, configs: Path) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.configs = configs

    def __call__(self, *arguments: object) -> Result:
        """Runs `backsight replay ARGUMENTS`."""
        environ = {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "BACKSIGHT_PREFIX": self.prefix,
            "BACKSIGHT_CONFIGS": str(self.configs),
        }
        return CliRunner(env=environ).invoke(replay, list(map(str, arguments)), catch_exceptions=False)

    def rules(self, *arguments: object, expected: int) -> dict[str, Any]:
        """`replay rules ARGUMENTS --json`; answers the comparison."""
        result = self("rules", *arguments, "--json")
        assert result.exit_code == expected, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    def ends(self) -> dict[str, dict[int, tuple[int, int]]]:
        """First and end offsets of every live topic."""
        client = reader(settings(self.bootstrap), "test-ends")
        try:
            return {topic.name: log_spans(client, topic.full_name(self.prefix)) for topic in TOPICS}
        finally:
            client.close()
