"""`backsight config choose`: real cameras always win; the demo's documents hold only where its cameras are played."""

import socket
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from cli.config_choose import choose
from cli.simulator import SEED
from demos.yard_demo import yards_of
from runtime.broker.ports import pick_free
from runtime.configs import check_configs

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "demos" / "configs"
DISABLED = "cameras: [{id: gate, url: 'rtsp://192.0.2.1/1', enabled: false}]"
ENABLED = "cameras: [{id: gate, url: 'rtsp://192.0.2.1/1'}]"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    return folder


def choosing(own: Path, simulator: str) -> Result:
    link = own.parent / "chosen"
    return CliRunner().invoke(choose, [str(link), str(own), "--demo", str(DEMO), "--simulator", simulator])


def chosen(own: Path) -> Path:
    return (own.parent / "chosen").resolve()


@pytest.mark.parametrize(
    ("cameras", "played", "demo"),
    [
        (DISABLED, True, True),
        (DISABLED, False, False),
        (ENABLED, True, False),
        (ENABLED, False, False),
        ("]", True, False),
    ],
)
def test_whose_documents_are_followed(own: Path, cameras: str, played: bool, demo: bool) -> None:
    (own / "cameras.yaml").write_text(cameras)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1] if played else pick_free()
        assert choosing(own, f"127.0.0.1:{port}").exit_code == 0
    assert chosen(own) == (DEMO if demo else own)


def test_a_link_that_is_there_is_pointed_anew(own: Path) -> None:
    (own / "cameras.yaml").write_text(DISABLED)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        place = f"127.0.0.1:{listening.getsockname()[1]}"
        choosing(own, place)
        (own / "cameras.yaml").write_text(ENABLED)
        said = choosing(own, place).output
    assert chosen(own) == own
    assert "1 enabled camera(s); the demo's cameras are played, but nobody watches them" in said


def test_a_place_that_cannot_be_written_is_said(own: Path) -> None:
    (own / "cameras.yaml").write_text(ENABLED)
    link = own / "cameras.yaml" / "chosen"
    answer = CliRunner().invoke(choose, [str(link), str(own), "--demo", str(DEMO)])
    assert (answer.exit_code, "cannot be written" in answer.output) == (2, True)


def test_the_demos_documents_are_what_its_scene_says() -> None:
    checked = check_configs(DEMO, {"BACKSIGHT_SIMULATOR": "127.0.0.1:8554"}, ("object", "pine", "worker"))
    assert (checked.problems, checked.warnings) == ([], [])
    names = [each.camera.id for each in checked.cameras]
    yards = yards_of(SEED, len(names))
    assert names == list(yards)
    written = yaml.safe_load((DEMO / "rois.yaml").read_text())["cameras"]
    assert written == [
        yaml.safe_load(yaml.safe_dump({**yard.roi_document(), "camera_id": name})) for name, yard in yards.items()
    ]
