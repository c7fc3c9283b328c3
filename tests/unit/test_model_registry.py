"""Which model a file is."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from inference.model_registry import UNREGISTERED, BadModel, identify, read_registry, sha256_of
from schemas.problems import BadDocument

WEIGHTS = b"weights"
SHA = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a model and a registry that knows it."""
    folder = tmp_path / "models"
    (folder / "yard").mkdir(parents=True)
    (folder / "yard" / "yard-1.onnx").write_bytes(WEIGHTS)
    write_registry(folder, "yard/yard-1.onnx")
    return folder


def write_registry(folder: Path, path: str, sha256: str = SHA, version: str = '"1"') -> Path:
    registry = folder / "registry.yaml"
    registry.write_text(
        "models:\n"
        f"  - {{name: yard, version: {version}, path: {path}, sha256: {sha256}, format: onnx,\n"
        "     labels: [object, pine], input: {width: 384, height: 224}, licence: AGPL-3.0, card: yard/README.md}\n"
    )
    return registry


def test_a_registered_file_goes_by_its_name_and_version(models: Path) -> None:
    found = identify(models / "yard" / "yard-1.onnx", models / "registry.yaml")
    assert (found.model.name, found.model.version, found.model.sha256) == ("yard", "1", SHA)
    assert found.entry is not None
    assert found.entry.labels == ("object", "pine")


def test_a_path_may_be_written_from_the_folder_above(models: Path) -> None:
    registry = write_registry(models, "models/yard/yard-1.onnx")
    assert identify(models / "yard" / "yard-1.onnx", registry).entry is not None


def test_another_file_in_its_place_is_refused_with_both_hashes(models: Path) -> None:
    path = models / "yard" / "yard-1.onnx"
    path.write_bytes(b"other weights")
    with pytest.raises(BadModel) as caught:
        identify(path, models / "registry.yaml")
    assert SHA in str(caught.value)
    assert hashlib.sha256(b"other weights").hexdigest() in str(caught.value)


def test_the_same_file_elsewhere_is_the_same_model(models: Path, tmp_path: Path) -> None:
    shutil.copy(models / "yard" / "yard-1.onnx", tmp_path / "copy.onnx")
    assert identify(tmp_path / "copy.onnx", models / "registry.yaml").model.name == "yard"


def test_an_unregistered_file_goes_by_its_stem_and_its_hash(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"mine")
    found = identify(path, models / "registry.yaml")
    assert found.model == type(found.model)("mine", UNREGISTERED, hashlib.sha256(b"mine").hexdigest())
    assert found.entry is None
    assert identify(path, tmp_path / "no registry.yaml").model == found.model


def test_a_file_that_is_not_there_says_where_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="INFERENCE_MODEL_PATH"):
        identify(tmp_path / "none.onnx", tmp_path / "registry.yaml")


def test_a_folder_has_a_hash_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.xml").write_text("a")
    (tmp_path / "m" / "b.bin").write_text("b")
    first = sha256_of(tmp_path / "m")
    assert first == sha256_of(tmp_path / "m")
    (tmp_path / "m" / "b.bin").rename(tmp_path / "m" / "c.bin")
    assert sha256_of(tmp_path / "m") != first


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("models: [{name: a, version: '1', path: x, sha256: abc}]", r"models\[0\]\.sha256"),
        (f"models: [{{name: a, version: 1.10, path: x, sha256: {SHA}}}]", r"models\[0\]\.version"),
        (f"models: [{{name: a, version: 1, path: x, sha256: {SHA}, colour: red}}]", r"models\[0\]\.colour"),
        (
            "models: ["
            + ", ".join(f"{{name: a, version: 1, path: {path}, sha256: {SHA}}}" for path in ("x", "y"))
            + "]",
            r"models\[1\].*given twice",
        ),
    ],
)
def test_a_registry_that_does_not_check_is_refused_with_the_place(text: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(text)
    with pytest.raises(BadDocument, match=place):
        read_registry(path)


def test_the_registry_of_this_checkout_is_sound_and_its_files_are_those_it_names() -> None:
    folder = Path(__file__).parents[2] / "models"
    for entry in read_registry(folder / "registry.yaml").models:
        found = identify(folder / entry.path, folder / "registry.yaml")
        assert found.model.sha256 == entry.sha256
