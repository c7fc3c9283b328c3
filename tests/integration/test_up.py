"""`backsight up` from its start to its end, whichever way it ends: nothing is left behind."""

import contextlib
import signal
from pathlib import Path

import psutil
import pytest
import yaml

from demos.yard import Yard
from demos.yard.clip import write_clip
from runtime.broker.ports import is_free, pick_free
from tests.support.pipeline import Up, environment, running, until

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "gate.mp4"
    write_clip(path, Yard(seed=801, camera="yard_gate"), 6, fps=5)
    return path


@pytest.fixture
def configs(tmp_path: Path, clip: Path) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    camera = {"id": "yard_gate", "url": str(clip), "loop": True}
    (folder / "cameras.yaml").write_text(yaml.safe_dump({"cameras": [camera]}))
    (folder / "rois.yaml").write_text(yaml.safe_dump({"cameras": [Yard(seed=801, camera="yard_gate").roi_document()]}))
    return folder


def family(up: Up) -> list[psutil.Process]:
    return psutil.Process(up.process.pid).children(recursive=True)


def left(processes: list[psutil.Process]) -> list[str]:
    """The command lines of those that still run."""
    found = []
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(each.cmdline()[-4:]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_nothing_is_left_behind(tmp_path: Path, kafka_broker: object, configs: Path, how: signal.Signals) -> None:
    data, port, api = tmp_path / "data", pick_free(), pick_free()
    arguments = ["up", "--configs", str(configs), "--data", str(data), "--kafka-port", str(port)]
    with running(arguments, environment(None, API_PORT=str(api)), tmp_path / "out") as up:
        until(
            lambda: {"ingest", "inference", "rules", "router", "evidence", "api"} <= set(up.children()),
            60,
            up.logs(data),
        )
        ingest = data / "logs" / "ingest.log"
        until(lambda: ingest.exists() and "camera_watching" in ingest.read_text(), 30, "a camera is watched")
        ours = family(up)
        assert any("java" in each.name() for each in ours) or not is_free(port)
        up.process.send_signal(how)
        code = up.wait(40)
        until(lambda: not left(ours), 30, "every process of ours has ended", lambda: left(ours))
    assert code == (0 if how is signal.SIGINT else -signal.SIGKILL), up.logs(data)
    until(lambda: is_free(port) and is_free(api), 20, "the ports are free again")


def test_a_wrong_configuration_is_said_whole_and_starts_nothing(tmp_path: Path, configs: Path) -> None:
    (configs / "rois.yaml").write_text(
        "cameras: [{camera_id: yard_gate, forbidden_rois: [{name: a, points: [[1, 1]]}]}]"
    )
    (configs / "cameras.yaml").write_text("cameras: [{id: a, url: 'rtsp://u:${NOT_SET}@h/1'}, {id: b, url: 'ftp://x'}]")
    data = tmp_path / "data"
    arguments = ["up", "--configs", str(configs), "--data", str(data)]
    with running(arguments, environment(None, REDIS_URL="redis://:s3cretX@host"), tmp_path / "out") as up:
        assert up.wait(30) == 2
        said = up.stderr
    assert "cameras[0].url: ${NOT_SET} is not set" in said
    assert "cameras[1].url" in said
    assert "cameras[0].forbidden_rois[0].points" in said
    assert "REDIS_URL is set but not used" in said
    assert "s3cretX" not in said
    assert not data.exists()


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path, configs: Path) -> None:
    arguments = ["up", "--configs", str(configs), "--data", str(tmp_path / "data"), "--duration", "5"]
    with running(arguments, environment(f"127.0.0.1:{pick_free()}"), tmp_path / "out") as up:
        assert up.wait(60) == 3
        assert "no Kafka broker answered at 127.0.0.1:" in " ".join(up.stderr.split())
