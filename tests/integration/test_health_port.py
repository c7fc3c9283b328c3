"""A health port that another process has: every process says so in a line, and ends."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime.lifecycle import EXIT_FAULT
from tests.support.pipeline import REPOSITORY, environment


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
