"""`docker compose up --scale inference=2`: replicas claim distinct GPUs of a machine that is made up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.lifecycle import EXIT_DEVICE
from tests.support.compose import COMPOSE, ENTRYPOINT, Project, read
from tests.support.inference_stage import write_script
from tests.support.pipeline import until

# The command of the image, on a machine whose driver would name two cards. The scripted detector needs none.
TWO_CARDS = """
import sys, inference.detectors, inference.device
cards = lambda: ("card-a", "card-b")
inference.device.cuda_devices = inference.detectors.cuda_devices = cards
from cli.main import main
main(sys.argv[1:])
"""


class Replica:
    """One container of the service `inference`."""

    def __init__(self, command: list[str], environ: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", TWO_CARDS, *command], env=environ, cwd=log.parent, stdout=out, stderr=out
            )

    def event(self, name: str) -> dict[str, Any]:
        """Its log line of that event; empty before."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return next((line for line in lines if line["event"] == name), {})

    def device(self) -> str:
        """The device on which it has loaded its model."""
        until(lambda: self.event("model_loaded"), 60, "the model is loaded", self._log.read_text)
        return str(self.event("model_loaded")["device"])


@contextmanager
def replica(project: Project, model: Path, prefix: str, folder: Path, number: int) -> Iterator[Replica]:
    command = read()["services"]["inference"]["command"]
    assert ENTRYPOINT[-1] == "backsight"
    environ = {**project.environment("inference"), "INFERENCE_MODEL_PATH": str(model), "BACKSIGHT_PREFIX": prefix}
    del environ["BACKSIGHT_HEALTH_PORT"]  # each container has its own port 9100
    started = Replica(command, environ, folder / f"replica-{number}.log")
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()


@pytest.mark.kafka
def test_each_replica_claims_a_gpu_of_its_own_and_one_too_many_says_so(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path
) -> None:
    services = read((COMPOSE, "docker-compose.gpu.yml"))["services"]
    (tmp_path / "data").mkdir()
    project = Project(services, tmp_path, {"/data": tmp_path / "data"}, {"kafka:9092": bootstrap})
    model = write_script(tmp_path / "script.jsonl", ["gate"], 1)
    with ExitStack() as running:
        first, second = (running.enter_context(replica(project, model, prefix, tmp_path, number)) for number in (1, 2))
        assert {first.device(), second.device()} == {"cuda:0", "cuda:1"}
        with replica(project, model, prefix, tmp_path, 3) as third:
            assert third.process.wait(60) == EXIT_DEVICE
        reason = third.event("device_unusable")["reason"]
        for number, each in (("cuda:0", first), ("cuda:1", second)):
            if each.device() == number:
                assert f"{number} by process {each.process.pid} on " in reason
        assert "every CUDA device that answers to it is taken" in reason
        first.process.kill()
        first.process.wait()
        with replica(project, model, prefix, tmp_path, 4) as another:
            assert another.device() == first.device(), "a dead replica's GPU is free"
