"""`backsight up` from its start to its end, whichever way it ends: nothing is left behind."""

import contextlib
import signal
from io import StringIO
from pathlib import Path

import psutil
import pytest
import yaml
from rich.console import Console

from demos.yard import Yard
from demos.yard.clip import write_clip
from runtime.broker.ports import is_free, pick_free
from runtime.configs import Checked
from runtime.lifecycle import EXIT_FAULT, Stop
from runtime.pipeline import run
from runtime.pipeline.drain import Stalled
from runtime.pipeline.processes import StageProcess
from runtime.pipeline.run import UpOptions
from runtime.settings import KafkaSettings, load_settings
from schemas.documents.rois import Rois
from tests.support.pipeline import Up, environment, records, running, until

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


def test_routes_that_do_not_check_are_said_with_their_place_and_start_nothing(tmp_path: Path, configs: Path) -> None:
    (configs / "routes.yaml").write_text("sinks: []\nroute: {sinks: [desk]}\n")
    data = tmp_path / "data"
    with running(["up", "--configs", str(configs), "--data", str(data)], environment(None), tmp_path / "out") as up:
        assert up.wait(30) == 2
        assert "routes.yaml: route.sinks" in up.stderr
    assert not data.exists()


@pytest.mark.slow
def test_what_every_sink_of_the_routes_takes_is_waited_for_when_files_have_ended(
    tmp_path: Path, bootstrap: str, prefix: str, configs: Path
) -> None:
    write_clip(tmp_path / "gate.mp4", Yard(seed=801, camera="yard_gate"), 6, fps=5, start_ms=8_000)
    camera = {"id": "yard_gate", "url": str(tmp_path / "gate.mp4")}
    (configs / "cameras.yaml").write_text(yaml.safe_dump({"cameras": [camera]}))
    told = [tmp_path / "desk.jsonl", tmp_path / "gate.jsonl"]
    sinks = [{"name": path.stem, "kind": "file", "path": str(path)} for path in told]
    tree = {"sinks": ["desk", "gate"]}
    (configs / "routes.yaml").write_text(yaml.safe_dump({"sinks": sinks, "route": tree}))
    arguments = ["up", "--configs", str(configs), "--data", str(tmp_path / "data"), "--prefix", prefix, "--no-api"]
    with running(arguments, environment(bootstrap), tmp_path / "out") as up:
        assert up.wait(90) == 0, up.logs(tmp_path / "data")
    opened = {
        each.value.split(b'"alert_id":"')[1][:36].decode()
        for each in records(bootstrap, f"{prefix}alerts")
        if b'"phase":"opened"' in each.value
    }
    assert opened, "the clip has an alert"
    for path in told:
        assert all(alert in path.read_text() for alert in opened)


def test_a_sink_that_is_away_is_named_and_keeps_no_other_from_being_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[tuple[str, float]] = []

    def await_group(_kafka: object, _topic: str, group: str, *, told_to_stop: object, idle_seconds: float) -> bool:
        waited.append((group, idle_seconds))
        if group in ("p.router.desk", "p.router.gate"):
            raise Stalled(f"{group} made no progress")
        return True

    monkeypatch.setattr(run, "await_group", await_group)
    said = Console(file=StringIO(), width=200)
    checked = Checked([], [], (), Rois(), load_settings(tmp_path, {}))
    options = UpOptions(tmp_path, tmp_path, checked, {}, lambda: ["desk", "gate", "lamp"], prefix="p.", console=said)
    ingest = StageProcess("ingest", [], {}, tmp_path / "log")
    assert run._drain(options, KafkaSettings(), {"ingest": ingest}, Stop()) == EXIT_FAULT
    groups = ["inference", "rules", "evidence", "router.desk", "router.gate", "router.lamp"]
    assert [group for group, _ in waited] == [f"p.{group}" for group in groups]
    assert [seconds < 1 for _, seconds in waited] == [False, False, False, False, True, True], "a minute, once"
    assert said.file.getvalue().count("error:") == 2  # type: ignore[attr-defined]


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path, configs: Path) -> None:
    arguments = ["up", "--configs", str(configs), "--data", str(tmp_path / "data"), "--duration", "5"]
    with running(arguments, environment(f"127.0.0.1:{pick_free()}"), tmp_path / "out") as up:
        assert up.wait(60) == 3
        assert "no Kafka broker answered at 127.0.0.1:" in " ".join(up.stderr.split())
