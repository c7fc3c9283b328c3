"""`backsight models`: a version is registered, held against its hash, promoted, and taken back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.models import models
from inference import promotion
from inference.model_registry import read_registry
from runtime.settings import CHECKOUT

YARD = CHECKOUT / "models" / "yard" / "yard-2.onnx"
REGISTRY = """\
# The models of this plant.
models:
  - name: other            # left alone
    version: "1"
    path: other/other-1.onnx
    sha256: "{zeros}"
""".format(zeros="0" * 64)
SERVICES = "inference:\n  # measured in May\n  model_path: models/yard/yard-2.onnx  # the yard\nrules: {}\n"
ROIS = """
cameras:
  - camera_id: gate
    forbidden_rois: [{name: zone, points: [[0, 0], [9, 0], [9, 9]]}]
    allowed_classes: [pine]
    alert_classes: [object, forklift]
"""


class Plant:
    """A registry and a configuration folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models, self.configs = folder / "models", folder / "configs"
        self.registry, self.services = self.models / "registry.yaml", self.configs / "services.yaml"
        self.configs.mkdir()
        (self.models / "mine").mkdir(parents=True)
        self.registry.write_text(REGISTRY)
        self.services.write_text(SERVICES)
        (self.configs / "rois.yaml").write_text(ROIS)
        (self.models / "mine" / "README.md").write_text("# Mine")
        self.version("1")

    def version(self, version: str) -> Path:
        """A file of that version; each has other bytes behind the same network."""
        path = self.models / "mine" / f"mine-{version}.onnx"
        # Field 2000 of the protobuf: unknown to every reader, so the network stays what it is.
        path.write_bytes(YARD.read_bytes() + b"\x82\x7d" + bytes([len(version)]) + version.encode())
        return path

    def run(self, *words: str, env: dict[str, str] | None = None) -> Result:
        """`backsight models WORDS`."""
        own = ["--registry", str(self.registry)]
        own += [] if words[0] == "register" else ["--configs", str(self.configs)]
        clean = {"INFERENCE_MODEL_PATH": None, "INFERENCE_MODEL_PATH_FILE": None}
        return CliRunner(env={**clean, **(env or {})}).invoke(models, [*words, *own])

    def register(self, version: str, *words: str) -> Result:
        """Registers a version of `mine`."""
        path = str(self.models / "mine" / f"mine-{version}.onnx")
        return self.run("register", path, "--name", "mine", "--version", version, *words)


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    monkeypatch.chdir(tmp_path)  # no .env but the test's
    return Plant(tmp_path)


def test_a_version_is_registered_with_what_its_file_tells(plant: Plant) -> None:
    card = plant.models / "mine" / "README.md"
    done = plant.register(
        "1", "--card", str(card), "--metrics", "mAP50=0.91 recall=0.8", "--metrics", "fps=30", "--licence", "MIT"
    )
    assert done.exit_code == 0, done.output
    text = plant.registry.read_text()
    assert text.startswith(REGISTRY), "what stood there stands there, comments and all"
    entry = read_registry(plant.registry).models[1]
    assert entry.sha256 == hashlib.sha256((plant.models / "mine" / "mine-1.onnx").read_bytes()).hexdigest()
    assert entry.labels == ("object", "pine", "worker")
    assert entry.input == {"width": 384, "height": 224}
    assert entry.metrics == {"mAP50": 0.91, "recall": 0.8, "fps": 30.0}
    assert (entry.path, entry.card, entry.licence) == ("mine/mine-1.onnx", "mine/README.md", "MIT")
    assert plant.run("verify", "mine", "--load").output == "mine 1: sound\n"


def test_versions_of_a_model_stand_together(plant: Plant) -> None:
    plant.version("2")
    plant.register("1")
    third = plant.models / "third.onnx"
    shutil.copy(YARD, third)
    assert plant.run("register", str(third), "--name", "third", "--version", "1").exit_code == 0
    assert plant.register("2").exit_code == 0
    names = [(each.name, each.version) for each in read_registry(plant.registry).models]
    assert names == [("other", "1"), ("mine", "1"), ("mine", "2"), ("third", "1")]


def test_what_does_not_check_is_not_registered(plant: Plant) -> None:
    assert plant.register("1").exit_code == 0
    before = plant.registry.read_bytes()
    path = str(plant.models / "mine" / "mine-1.onnx")
    shutil.copy(YARD, plant.folder / "away.onnx")
    (plant.models / "mine" / "broken.onnx").write_text("no model")
    second = str(plant.version("2"))
    for words, said in (
        ([path, "--name", "mine", "--version", "1"], "mine 1 is registered already"),
        ([path, "--name", "mine", "--version", "2"], "is registered as mine 1"),
        ([str(plant.folder / "away.onnx"), "--name", "a", "--version", "1"], "as models/a/a-1.onnx does"),
        ([str(plant.folder / "none.onnx"), "--name", "a", "--version", "1"], "there is no such model file"),
        ([str(plant.models / "mine" / "broken.onnx"), "--name", "a", "--version", "1"], "is no ONNX model"),
        ([second, "--name", "mine", "--version", "2", "--labels", "a,b"], "its own labels are"),
        ([second, "--name", "mine", "--version", "2", "--metrics", "good"], "expected NAME=NUMBER"),
        ([second, "--name", "", "--version", "2"], "name"),
    ):
        done = plant.run("register", *words)
        assert (done.exit_code, plant.registry.read_bytes()) == (2, before), done.output
        assert said in done.output
    assert list(plant.models.glob(".*")) == [], "nothing half written lies about"


def test_verify_says_every_file_that_is_not_the_registered_one(plant: Plant) -> None:
    plant.register("1")
    (plant.models / "mine" / "mine-1.onnx").write_bytes(b"other")
    done = plant.run("verify")
    assert done.exit_code == 2
    assert "other 1: " in done.output
    assert "there is no such file" in done.output
    assert f"its sha256 is {hashlib.sha256(b'other').hexdigest()}" in done.output
    assert plant.run("verify", "none").exit_code == 2
    broken = plant.models / "mine" / "mine-1.onnx"
    text = plant.registry.read_text()
    entry = read_registry(plant.registry).models[1]
    plant.registry.write_text(text.replace(entry.sha256, hashlib.sha256(broken.read_bytes()).hexdigest()))
    assert "is no ONNX model" in plant.run("verify", "mine").output


def test_verify_loads_what_has_the_right_hash_and_still_is_no_detector(plant: Plant) -> None:
    (plant.models / "mine" / "mine-1.jsonl").write_text("x")
    plant.registry.write_text(
        f"models: [{{name: mine, version: '1', path: mine/mine-1.jsonl, sha256: {hashlib.sha256(b'x').hexdigest()}}}]"
    )
    assert plant.run("verify").exit_code == 0
    done = plant.run("verify", "--load")
    assert done.exit_code == 2
    assert "mine-1.jsonl:1:" in done.output


def test_promote_changes_one_value_and_rollback_goes_back_step_by_step(plant: Plant) -> None:
    plant.version("2")
    plant.register("1")
    plant.register("2")
    first = str(plant.models / "mine" / "mine-1.onnx")
    assert plant.run("promote", "mine", "1").exit_code == 0
    assert plant.services.read_text() == SERVICES.replace("models/yard/yard-2.onnx", first)
    assert plant.run("promote", "mine", "2").exit_code == 0
    assert "names" in plant.run("promote", "mine", "2").output  # again: nothing to do, nothing to remember
    listed = [json.loads(line) for line in plant.run("list", "--json").output.splitlines()]
    assert [each["version"] for each in listed if each["promoted"]] == ["2"]
    assert plant.run("rollback").exit_code == 0
    assert plant.services.read_text() == SERVICES.replace("models/yard/yard-2.onnx", first)
    assert plant.run("rollback").exit_code == 0
    assert plant.services.read_text() == SERVICES
    done = plant.run("rollback")
    assert (done.exit_code, plant.services.read_text()) == (2, SERVICES)
    assert "holds no promotion" in done.output


def test_promote_warns_of_labels_that_do_not_fit_the_rois(plant: Plant) -> None:
    plant.register("1")
    done = plant.run("promote", "mine", "1")
    assert "the model's worker: in neither list" in done.output
    assert "the model does not know 'forklift'" in done.output


def test_a_file_that_is_not_the_registered_one_is_not_promoted(plant: Plant) -> None:
    plant.register("1")
    (plant.models / "mine" / "mine-1.onnx").write_bytes(b"other")
    done = plant.run("promote", "mine", "1")
    assert (done.exit_code, plant.services.read_text()) == (2, SERVICES)
    assert "there is other 1, mine 1" in plant.run("promote", "mine", "9").output


def test_rollback_refuses_what_was_changed_by_hand_or_is_gone(plant: Plant) -> None:
    plant.version("2")
    plant.register("1")
    plant.register("2")
    plant.run("promote", "mine", "1")
    plant.run("promote", "mine", "2")
    promoted = plant.services.read_text()
    (plant.models / "mine" / "mine-1.onnx").unlink()
    done = plant.run("rollback")
    assert (done.exit_code, plant.services.read_text()) == (2, promoted)
    assert "no such model file" in done.output
    plant.services.write_text(SERVICES)
    done = plant.run("rollback")
    assert (done.exit_code, plant.services.read_text()) == (2, SERVICES)
    assert "changed by hand" in done.output.replace("\n", " ")


@pytest.mark.parametrize("where", ["environment", ".env", "file"])
def test_where_the_environment_wins_nothing_is_changed_and_the_change_is_said(plant: Plant, where: str) -> None:
    plant.register("1")
    env = {}
    if where == "environment":
        env["INFERENCE_MODEL_PATH"] = "models/yard/yard-2.onnx"
    elif where == ".env":
        (plant.folder / ".env").write_text("INFERENCE_MODEL_PATH=models/yard/yard-2.onnx\n")
    else:
        (plant.folder / "path").write_text("models/yard/yard-2.onnx\n")
        env["INFERENCE_MODEL_PATH_FILE"] = str(plant.folder / "path")
    done = plant.run("promote", "mine", "1", env=env)
    assert (done.exit_code, plant.services.read_text()) == (2, SERVICES)
    assert not (plant.configs / promotion.MEMORY).exists()
    wanted = str(plant.models / "mine" / "mine-1.onnx")
    change = f"write {wanted} into the file" if where == "file" else f"set INFERENCE_MODEL_PATH={wanted} there"
    place = "in .env" if where == ".env" else "in the environment"
    assert place in done.output
    assert change in done.output


def test_where_services_yaml_is_read_only_nothing_is_changed_and_the_change_is_said(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.register("1")
    plant.services.chmod(0o444)
    if os.geteuid() == 0:  # root may write everything: a mount is what is read-only then
        monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    done = plant.run("promote", "mine", "1")
    assert (done.exit_code, plant.services.read_text()) == (2, SERVICES)
    assert f"set `model_path: {plant.models / 'mine' / 'mine-1.onnx'}` under `inference:`" in done.output
    assert not (plant.configs / promotion.MEMORY).exists()
