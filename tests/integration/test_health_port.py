"""The moment at which a process begins to serve its health: the port may be taken, and it is not ready yet."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from evidence.process import run as run_evidence
from router.stage import run as run_router
from runtime.health import CannotServe, Health
from runtime.lifecycle import EXIT_FAULT, Stop
from tests.support.evidence import evidence_settings
from tests.support.pipeline import REPOSITORY, environment
from tests.support.routing import router_settings


@pytest.fixture
def taken() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        yield int(other.getsockname()[1])


@pytest.mark.parametrize(
    "command",
    [
        ["ingest"],
        ["inference"],
        ["rules", "run"],
        ["router"],
        ["evidence"],
        ["api", "--port", "0"],
        ["archive", "run", "--follow", "--to", "history"],
        ["shadow", "run", "--rois", "configs/rois.yaml"],
    ],
    ids=lambda command: str(command[0]),
)
def test_a_taken_health_port_ends_a_process_with_a_line_that_says_what_to_do(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path, taken: int, command: list[str]
) -> None:
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "cameras.yaml").write_text("cameras: []\n")
    (configs / "rois.yaml").write_text("cameras: []\n")
    environ = environment(
        bootstrap,
        BACKSIGHT_PREFIX=prefix,
        BACKSIGHT_HEALTH_PORT=str(taken),
        INFERENCE_DEVICE="cpu",
        EVIDENCE_URL=str(tmp_path / "evidence"),
        API_TOKENS_FILE=str(tmp_path / "tokens.json"),
        PYTHONPATH=str(REPOSITORY),
    )
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *command],
        cwd=tmp_path,
        env=dict(environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == EXIT_FAULT, said
    about = [line for line in said.splitlines() if "BACKSIGHT_HEALTH_PORT" in line]
    assert len(about) == 1, said
    assert f"port {taken} of 127.0.0.1 is taken by another process; end that one, or set it to a free port" in about[0]
    assert "Traceback" not in said


@pytest.fixture
def first_answer(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What keeps a process from being ready when it begins to serve; it is then told that the port is taken."""
    seen: list[dict[str, str]] = []

    def look(health: Health, port: int | None, host: str = "127.0.0.1") -> int | None:
        seen.append(health.faults())
        raise CannotServe(host, port or 0, OSError("as the test wants it"))

    monkeypatch.setattr(Health, "serve", look)
    return seen


def test_a_router_is_not_ready_before_every_sink_has_said_so(
    bootstrap: str, prefix: str, topics: dict[str, str], first_answer: list[dict[str, str]]
) -> None:
    assert run_router(router_settings(bootstrap, prefix), Stop()) == EXIT_FAULT
    assert first_answer == [{"stdout: assigned": "has not begun yet"}]


def test_an_evidence_stage_is_not_ready_before_it_has_partitions(
    bootstrap: str, prefix: str, topics: dict[str, str], tmp_path: Path, first_answer: list[dict[str, str]]
) -> None:
    assert run_evidence(evidence_settings(bootstrap, prefix, tmp_path), Stop()) == EXIT_FAULT
    assert first_answer == [{"assigned": "has no partition of alerts yet"}]
