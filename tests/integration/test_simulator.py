"""`backsight simulator`: cameras over RTSP that show the yard, for as long as somebody looks."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest

from demos.rtsp_server import RtspServer
from runtime.broker.ports import pick_free
from tests.support.pipeline import until


def healthy(port: int) -> bool:
    command = [sys.executable, "-m", "cli.main", "health", "--port", str(port)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_yard_is_played_and_the_process_ends_when_told(tmp_path: Path) -> None:
    if not RtspServer.available():
        reason = "no GStreamer RTSP server here"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    port = pick_free()
    health = pick_free(frozenset({port}))
    command = [sys.executable, "-m", "cli.main", "simulator", "--cameras", "1", "--seconds", "10", "--port", str(port)]
    environ = {**os.environ, "BACKSIGHT_HEALTH_PORT": str(health), "TMPDIR": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stderr=log)
    try:
        until(lambda: healthy(health), 60, "well", lambda: (tmp_path / "log").read_text())
        with av.open(f"rtsp://127.0.0.1:{port}/yard_gate", timeout=10) as stream:
            picture = next(stream.decode(video=0))
        assert (picture.width, picture.height) == (640, 360)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert list(tmp_path.iterdir()) == [tmp_path / "log"], "the clips are gone"
