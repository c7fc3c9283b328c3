"""The compose files as Docker Compose reads them, and their services as processes of this machine.

What a container has and a process has not is mapped: paths in the container to folders of the test, `service:port` to a
free port of loopback. Commands, environments, health checks and the order of starting are the file's own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from runtime.broker.ports import pick_free

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = "docker-compose.yml"
ENTRYPOINT: Final = ("tini", "--", "backsight")
"""That of deploy/docker/Dockerfile."""
PORTS: Final = ("9100", "8000", "8554", "9090")
"""On which processes listen in their containers."""

_VARIABLE: Final = re.compile(r"\$(?:(\$)|\{([A-Z0-9_]+)(?::([-?])([^}]*))?\})")


def variables(text: str) -> set[str]:
    """The variables that a compose file asks for."""
    return {found[2] for found in _VARIABLE.finditer(text) if found[2]}


def interpolated(text: str, environ: Mapping[str, str]) -> str:
    """`${NAME:-default}` and `${NAME:?why}` filled in."""

    def value(found: re.Match[str]) -> str:
        dollar, name, how, more = found.groups()
        if dollar:
            return "$"
        if environ.get(name):
            return environ[name]
        if how == "?":
            raise KeyError(f"{name}: {more}")
        return more or ""

    return _VARIABLE.sub(value, text)


def read(files: Iterable[str] = (COMPOSE,), environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The files merged in order: mappings by key, lists of ports and volumes one behind the other."""
    merged: dict[str, Any] = {}
    for name in files:
        document = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
        merged = _merge(merged, _filled(document, environ or {}))
    return merged


def _filled(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return interpolated(value, environ)
    if isinstance(value, dict):
        return {key: _filled(inner, environ) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, environ) for inner in value]
    return value


def _merge(below: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in over.items():
        known = merged.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            merged[key] = _merge(known, value)
        elif isinstance(known, list) and key in ("ports", "volumes"):
            merged[key] = [*known, *value]
        else:
            merged[key] = value
    return merged


def broker_properties(service: Mapping[str, Any]) -> dict[str, str]:
    """server.properties as the start script of apache/kafka makes them of the environment."""
    apart = ("KAFKA_HEAP_OPTS", "KAFKA_OPTS")
    return {
        name.removeprefix("KAFKA_")
        .lower()
        .replace("___", "-")
        .replace("__", "\0")
        .replace("_", ".")
        .replace("\0", "_"): (str(value))
        for name, value in service["environment"].items()
        if name.startswith("KAFKA_") and name not in apart
    }


class Running:
    """A service as a process, with its output in files."""

    def __init__(self, name: str, command: list[str], environ: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.environ = environ
        self.folder = folder
        self._out = folder / f"{name}.out"
        self._err = folder / f"{name}.err"
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self.process = subprocess.Popen(
                command, env=dict(environ), cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def stdout(self) -> str:
        """So far."""
        return self._out.read_text(encoding="utf-8")

    @property
    def said(self) -> str:
        """Both outputs so far, the end of them."""
        return f"--- {self.name}\n{self.stdout[-1000:]}\n{self._err.read_text(errors='replace')[-3000:]}"


class Project:
    """Services of a compose file on this machine. ``paths`` are folders of the container, ``places`` `service:port`."""

    def __init__(
        self, services: Mapping[str, Any], folder: Path, paths: Mapping[str, Path], places: Mapping[str, str]
    ) -> None:
        self._services = services
        self._folder = folder
        self._paths = paths
        self._places = dict(places)
        self._asked: dict[str, float] = {}
        self.running: dict[str, Running] = {}

    def port(self, service: str, port: int) -> int:
        """The port of loopback that stands for the service's."""
        return int(self.place(f"{service}:{port}").rpartition(":")[2])

    def place(self, name: str) -> str:
        """`127.0.0.1:PORT` for `service:port`."""
        if name not in self._places:
            taken = frozenset(int(each.rpartition(":")[2]) for each in self._places.values())
            self._places[name] = f"127.0.0.1:{pick_free(taken)}"
        return self._places[name]

    def mapped(self, service: str, text: str) -> str:
        """A word of a command or environment as it is on this machine."""
        if text == "0.0.0.0":
            return "127.0.0.1"
        if text in PORTS:
            return str(self.port(service, int(text)))
        text = re.sub(rf"127\.0\.0\.1:({'|'.join(PORTS)})\b", lambda found: self.place(f"{service}:{found[1]}"), text)
        names = "|".join(map(re.escape, self._services))
        text = re.sub(rf"\b({names}):(\d+)\b", lambda found: self.place(found[0]), text)
        for inside, here in sorted(self._paths.items(), reverse=True):
            text = re.sub(rf"(?<![\w/.]){re.escape(inside)}(?=/|\s|$)", str(here), text)
        return text

    def environment(self, name: str) -> dict[str, str]:
        """What the container's process would see."""
        told = self._services[name].get("environment", {})
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self._folder),
            "PYTHONUNBUFFERED": "1",
            **{key: self.mapped(name, str(value)) for key, value in told.items()},
        }

    def start(self, name: str) -> Running:
        """Runs the service's entry point and command."""
        service = self._services[name]
        own = ENTRYPOINT if "build" in service else (name,)  # images of others are called as what is in them
        command = [*service.get("entrypoint", own), *service["command"]]
        if name == "prometheus":
            command.append(f"--web.listen-address={self.place('prometheus:9090')}")
        if command[:2] == ["tini", "--"]:
            command = command[2:]
        command = [self.mapped(name, word) for word in command]
        self.running[name] = Running(name, command, self.environment(name), self._folder)
        return self.running[name]

    def up(self, names: Iterable[str], seconds: float) -> None:
        """Starts the services, each when the conditions of its `depends_on` hold, as `docker compose up` does."""
        deadline = time.monotonic() + seconds
        waiting = list(names)
        while waiting:
            ready = [name for name in waiting if self._may_start(name)]
            for name in ready:
                self.start(name)
            waiting = [name for name in waiting if name not in ready]
            assert time.monotonic() < deadline, f"{waiting} could not start within {seconds:g} s\n{self.logs()}"
            time.sleep(0.1)

    def _may_start(self, name: str) -> bool:
        for other, how in self._services[name].get("depends_on", {}).items():
            if other == "kafka":
                continue  # the test's broker answers already
            running = self.running.get(other)
            if running is None:
                return False
            if how["condition"] == "service_healthy":
                if not self.healthy(other):
                    return False
            else:
                code = running.process.poll()
                assert code in (None, 0), f"{other} ended with {code}\n{running.said}"
                if code is None:
                    return False
        return True

    def healthy(self, name: str) -> bool:
        """Runs the service's health check, once in its `start_interval`."""
        running = self.running[name]
        assert running.process.poll() is None, f"{name} ended with {running.process.returncode}\n{running.said}"
        told = self._services[name]["healthcheck"]
        if time.monotonic() < self._asked.get(name, 0.0) + float(told["start_interval"].removesuffix("s")):
            return False
        self._asked[name] = time.monotonic()
        kind, *check = told["test"]
        assert kind == "CMD"
        check = [self.mapped(name, word) for word in check]
        return (
            subprocess.run(check, env=dict(running.environ), capture_output=True, timeout=30, check=False).returncode
            == 0
        )

    def await_healthy(self, names: Iterable[str], seconds: float) -> None:
        """Until every health check answers 0."""
        deadline = time.monotonic() + seconds
        left = list(names)
        while left := [name for name in left if not self.healthy(name)]:
            assert time.monotonic() < deadline, f"not healthy within {seconds:g} s: {left}\n{self.logs()}"
            time.sleep(0.1)

    def until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Waits for an event; fails with every service's log."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self.logs()}"
            time.sleep(0.1)

    def stop(self, name: str) -> int:
        """SIGTERM, and the exit code; after the service's `stop_grace_period` it is killed, as Docker does."""
        process = self.running[name].process
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(float(self._services[name].get("stop_grace_period", "10s").removesuffix("s")))
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def logs(self) -> str:
        """The end of every service's output."""
        return "\n".join(each.said for each in self.running.values())

    def close(self) -> None:
        """Kills what still runs."""
        for each in self.running.values():
            each.process.kill()
            each.process.wait()
