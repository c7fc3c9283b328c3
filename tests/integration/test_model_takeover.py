"""Another model is registered and promoted while frames come in: it takes over, and no frame is lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client import REGISTRY as METRICS

from cli.models import models
from inference import model_watch
from runtime.lifecycle import EXIT_OK
from runtime.settings import KafkaSettings, Settings, load_settings
from tests.support.broker import read_all
from tests.support.inference_stage import Frames, await_all, read_events, running_stage, write_script
from tests.support.servers import free_port

CAMERAS = ("yard_a", "yard_b", "gate")


class Site:
    """A registry with two versions of a scripted model, and a `services.yaml` that names the first."""

    def __init__(self, folder: Path, bootstrap: str, prefix: str) -> None:
        self.configs, self.models = folder / "configs", folder / "models"
        self.configs.mkdir()
        self.registry = self.models / "registry.yaml"
        self.name = prefix.strip(".-_")  # metrics are the process's: other tests leave series of their own
        self.port = free_port()
        for version in ("1", "2"):
            path = self.weights(version)
            path.parent.mkdir(parents=True, exist_ok=True)
            # The first is slow, so that frames wait for it when the second is ready; the second sees nothing.
            write_script(path, CAMERAS, *((2000, 0.02) if version == "1" else (0, 0.0)))
            self.run("register", str(path), "--name", self.name, "--version", version, "--metrics", "recall=0.9")
        services = self.configs / "services.yaml"
        services.write_text(f"inference:\n  model_path: {self.weights('1')}  # promoted\n  device: cpu\n")
        self.settings: Settings = load_settings(self.configs, {}).model_copy(
            update={
                "kafka": KafkaSettings(bootstrap_servers=bootstrap),
                "prefix": prefix,
                "health_port": self.port,
            }
        )

    def weights(self, version: str) -> Path:
        """The file of a version."""
        return self.models / "seer" / f"seer-{version}.jsonl"

    def series(self) -> list[str]:
        """The versions that the metric says run."""
        return [
            sample.labels["version"]
            for metric in METRICS.collect()
            if metric.name == "backsight_model_info"
            for sample in metric.samples
            if sample.labels["name"] == self.name
        ]

    def run(self, command: str, *words: str) -> str:
        """Runs `backsight models …` on this site; answers what it said."""
        options = ["--registry", str(self.registry)]
        if command != "register":
            options += ["--configs", str(self.configs)]
        done = CliRunner(env={"INFERENCE_MODEL_PATH": None}).invoke(models, [command, *words, *options])
        assert done.exit_code == 0, done.output
        return done.output

    def health(self) -> dict[str, Any]:
        """What the stage says of itself."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
            body: dict[str, Any] = json.load(answer)
        return body


@pytest.fixture
def site(tmp_path: Path, bootstrap: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(model_watch, "LOOK_SECONDS", 0.05)
    return Site(tmp_path, bootstrap, prefix)


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


def test_a_promoted_model_takes_over_and_every_frame_has_one_event(
    bootstrap: str, prefix: str, topics: dict[str, str], site: Site
) -> None:
    frames = Frames(bootstrap, topics["frames"])
    seq = 0

    def send(count: int) -> None:
        nonlocal seq
        for _ in range(count):
            for camera in CAMERAS:
                # Ticks among them: they wait for nothing, and must not run ahead of the model.
                frames.send(camera, seq, **({"value": b""} if seq % 7 == 3 else {}))
            seq += 1
        frames.flush()

    with running_stage(site.settings, environ={}, registry=site.registry) as stage:
        send(40)
        read_events(bootstrap, prefix, 60)
        assert site.health()["model"]["version"] == "1"
        site.run("promote", site.name, "2")
        # Frames keep coming while the new model is loaded, and the stage always has some that wait.
        until(lambda: send(10) or "2" in site.series())
        send(40)
        events = await_all(bootstrap, prefix, 3 * seq)
        assert site.series() == ["2"], "the series of the model before is gone"
        assert site.health()["model"] == {
            "name": site.name,
            "version": "2",
            "sha256": events[-1][1].model.sha256,
            "device": "cpu",
        }
        assert stage.end() == EXIT_OK

    sent = [(each.partition(), each.offset()) for each in read_all(bootstrap, topics["frames"])]
    assert [(record.partition(), event.frame.offset) for record, event in events] == sent
    for _, event in events:
        sees = event.model.version == "1" and event.skipped is None and event.seq % 3 != 0
        assert len(event.detections) == sees, "each event names the model that looked"
    for partition in {place for place, _ in sent}:
        versions = [event.model.version for record, event in events if record.partition() == partition]
        assert set(versions) == {"1", "2"}
        assert versions == sorted(versions), "the model changes at one offset"

    site.run("rollback")
    assert "seer-1.jsonl  # promoted" in (site.configs / "services.yaml").read_text()


def test_a_model_that_cannot_be_used_changes_nothing_until_it_is_mended(
    bootstrap: str, prefix: str, topics: dict[str, str], site: Site
) -> None:
    second, services = site.weights("2"), site.configs / "services.yaml"
    sound = second.read_text()
    frames = Frames(bootstrap, topics["frames"])

    def send(seq: int) -> None:
        frames.send("gate", seq)
        frames.flush()
        read_events(bootstrap, prefix, seq + 1)

    with running_stage(site.settings, environ={}, registry=site.registry) as stage:
        send(0)
        second.write_text("these are no weights\n")
        services.write_text(services.read_text().replace("seer-1", "seer-2"))
        until(lambda: site.health()["status"] == "degraded")
        health = site.health()
        assert health["model"]["version"] == "1"
        assert "sha256" in health["checks"]["next_model"]["detail"]
        assert METRICS.get_sample_value("backsight_model_reload_ok") == 0
        send(1)
        second.write_text(sound)
        until(lambda: site.series() == ["2"])
        assert site.health()["status"] == "ok"
        assert METRICS.get_sample_value("backsight_model_reload_ok") == 1
        send(2)
        events = [event for _, event in read_events(bootstrap, prefix, 3)]
        assert stage.end() == EXIT_OK
    assert [(event.seq, event.model.version) for event in events] == [(0, "1"), (1, "1"), (2, "2")]


@contextmanager
def worker(bootstrap: str, prefix: str, configs: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`backsight inference` as users start it."""
    environ = {name: value for name, value in os.environ.items() if name != "INFERENCE_MODEL_PATH"}
    told = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "BACKSIGHT_CONFIGS": str(configs),
        "BACKSIGHT_PREFIX": prefix,
        "BACKSIGHT_HEALTH_PORT": str(port),
    }
    with (configs / f"{port}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "cli.main", "inference"], env={**environ, **told}, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def runs_on(port: int) -> str | None:
    """The version that the worker's `/health` names, once it has partitions."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            version: str = json.load(answer)["model"]["name"]
            return version
    except (urllib.error.URLError, ConnectionError):
        return None


@pytest.mark.slow
def test_two_workers_change_the_model_each_on_its_partitions(
    bootstrap: str, prefix: str, topics: dict[str, str], site: Site
) -> None:
    cameras = [f"camera_{number}" for number in range(9)]
    frames = Frames(bootstrap, topics["frames"])
    ports = (free_port(), free_port())
    with (
        worker(bootstrap, prefix, site.configs, ports[0]) as first,
        worker(bootstrap, prefix, site.configs, ports[1]) as second,
    ):
        until(lambda: all(runs_on(port) == "seer-1" for port in ports), 60)
        seq = 0

        def send() -> None:
            nonlocal seq
            for camera in cameras:
                frames.send(camera, seq)
            frames.flush()
            seq += 1

        for _ in range(10):
            send()
        site.run("promote", site.name, "2")
        until(lambda: send() or all(runs_on(port) == "seer-2" for port in ports), 60)
        send()
        events = await_all(bootstrap, prefix, len(cameras) * seq)
        for process in (first, second):
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == EXIT_OK
    sent = [(each.partition(), each.offset()) for each in read_all(bootstrap, topics["frames"])]
    assert [(record.partition(), event.frame.offset) for record, event in events] == sent
    for partition in {place for place, _ in sent}:
        names = [event.model.name for record, event in events if record.partition() == partition]
        assert names == sorted(names)
        assert set(names) == {"seer-1", "seer-2"}
