"""Prometheus, the real one (Debian's package `prometheus`), with our configuration and rules on ports of a test."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from runtime.broker.ports import pick_free

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "prometheus" / "prometheus.yml"


def promtool(*arguments: str) -> str:
    """What Prometheus' own tool says, run in deploy/prometheus; a missing one skips here and fails in CI."""
    if shutil.which("promtool") is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is not installed (Debian: prometheus)")
        pytest.skip("needs promtool (Debian: prometheus)")
    folder = CONFIGURATION.parent
    done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def configuration(ports: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Ours, with the same jobs at local ``ports`` (by job) and looking every second."""
    written: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text())
    written["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    written["rule_files"] = [str(CONFIGURATION.parent / each) for each in written["rule_files"]]
    jobs = {each["job_name"]: each for each in written["scrape_configs"]}
    for each in jobs.values():
        del each["file_sd_configs" if each["job_name"] == "others" else "dns_sd_configs"]
        each["static_configs"] = []
    for job, at in ports.items():
        group = {"targets": [f"127.0.0.1:{port}" for port in at], "labels": {"job": job}}
        jobs.get(job, jobs["others"])["static_configs"].append(group)
    return written


class Prometheus:
    """A running one."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.url = url
        self._process = process
        self._log = log

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of its API; where it refuses, its words fail the test."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression, now."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def wait_ready(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + 60
        while True:
            assert self._process.poll() is None, self._log.read_text()
            try:
                if httpx.get(f"{self.url}/-/ready").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)


@contextmanager
def prometheus(folder: Path, ports: Mapping[str, Sequence[int]]) -> Iterator[Prometheus]:
    """Starts one that scrapes ``ports``."""
    folder.mkdir()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration(ports)))
    address = f"127.0.0.1:{pick_free()}"
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
    ]
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        running = Prometheus(f"http://{address}", process, log)
        running.wait_ready()
        yield running
    finally:
        process.terminate()
        process.wait(20)
