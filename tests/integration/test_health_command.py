"""`backsight health` against processes that are well, that are not, and that are not there."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from click.testing import CliRunner, Result

from cli.health import health
from runtime.broker.ports import pick_free
from runtime.health import Health


@pytest.fixture
def stage() -> Iterator[Health]:
    served = Health("ingest")
    yield served
    served.close()


def ask(port: int) -> Result:
    return CliRunner().invoke(health, ["--port", str(port)])


def test_who_is_well_is_said_to_be(stage: Health) -> None:
    stage.check("cameras", lambda: None)
    answer = ask(stage.serve(0))
    assert (answer.exit_code, answer.output) == (0, "ingest is well\n")


def test_each_check_that_fails_is_said_with_its_reason(stage: Health) -> None:
    stage.check("leases", lambda: None)
    stage.check("cameras", lambda: "none of 2 cameras gives pictures")
    answer = ask(stage.serve(0))
    assert answer.exit_code == 1
    assert answer.stderr == "ingest is not well (503)\ningest: cameras none of 2 cameras gives pictures\n"


def test_nobody_answers() -> None:
    port = pick_free()
    answer = ask(port)
    assert answer.exit_code == 1
    assert answer.stderr == f"nobody answers at 127.0.0.1:{port}: Connection refused\n"


def test_a_process_that_hangs_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.health.WAIT_SECONDS", 0.2)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        answer = ask(listening.getsockname()[1])
    assert (answer.exit_code, "timed out" in answer.stderr) == (1, True)


def test_the_port_comes_from_the_environment_and_no_proxy_is_asked(stage: Health) -> None:
    environ = {"BACKSIGHT_HEALTH_PORT": str(stage.serve(0)), "http_proxy": "http://127.0.0.1:9", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "health"], env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ingest is well\n"), done.stderr
