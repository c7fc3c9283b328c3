"""Which model a file is: `models/registry.yaml` knows names, versions and hashes.

A model that the registry names must be the very file it names. A model nobody registered may be used; it goes by its
file's stem and its hash, so that every event still tells exactly which weights looked.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BeforeValidator, Field, StringConstraints

from runtime.logs import get_logger
from runtime.settings import CHECKOUT
from schemas.documents.reading import Document, read_document, read_yaml
from schemas.messages import Model
from schemas.problems import BadDocument, Problem

REGISTRY: Final = CHECKOUT / "models" / "registry.yaml"
UNREGISTERED: Final = "unregistered"

log = get_logger(__name__)


class BadModel(ValueError):
    """A model that cannot be used as it is; the text says what was found and what was expected."""


def _whole_number_as_text(written: Any) -> Any:
    # YAML reads 1.10 as 1.1: only whole numbers survive being written without quotes.
    return str(written) if type(written) is int else written


Version = Annotated[str, BeforeValidator(_whole_number_as_text), StringConstraints(min_length=1, max_length=100)]


class RegisteredModel(Document):
    """One entry of the registry. ``path`` is relative to the registry's folder, or to the folder above it."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    version: Version
    path: str
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    format: str = "onnx"
    labels: tuple[str, ...] = ()
    input: Any = Field(default=None, description="size and kind of the model's input, for people")
    licence: str = ""
    metrics: dict[str, float] = Field(default_factory=dict, description="how it was measured, for people")
    card: str | None = Field(default=None, description="path of the model card")


class ModelRegistry(Document):
    """The whole of `registry.yaml`."""

    models: tuple[RegisteredModel, ...] = ()


class Identity(NamedTuple):
    """What goes on every event, and the registry's entry where there is one."""

    model: Model
    entry: RegisteredModel | None


def read_registry(path: Path = REGISTRY) -> ModelRegistry:
    """The registry; empty where there is no file. Raises `BadDocument` with every mistake."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ModelRegistry()
    return registry_of(text, path)


def registry_of(text: str, path: Path) -> ModelRegistry:
    """The registry that ``text`` holds; ``path`` begins every complaint. Raises as `read_registry` does."""
    registry = read_document(ModelRegistry, read_yaml(text, path.name), path.name)
    names = [(entry.name, entry.version) for entry in registry.models]
    problems = [
        Problem(f"{path.name}: models[{place}]", f"{name} {version} is given twice")
        for place, (name, version) in enumerate(names)
        if (name, version) in names[:place]
    ]
    if problems:
        raise BadDocument(problems)
    return registry


def file_of(entry: RegisteredModel, registry_path: Path = REGISTRY) -> Path:
    """Where the entry's file is, or would be: in the registry's folder, else in the folder above it."""
    folder = registry_path.resolve().parent
    above = folder.parent / entry.path
    return above if above.exists() and not (folder / entry.path).exists() else folder / entry.path


def sha256_of(path: Path) -> str:
    """The hash of a model file in hex; of a folder (OpenVINO, SavedModel) that of all names and contents in it."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for part in sorted(each for each in path.rglob("*") if each.is_file()):
        name = part.relative_to(path).as_posix().encode()
        whole.update(len(name).to_bytes(4, "big") + name + bytes.fromhex(sha256_of(part)))
    return whole.hexdigest()


def identify(model: Path, registry_path: Path = REGISTRY) -> Identity:
    """Which model the file is. Raises `BadModel` where it is not there, or is not the one that the registry means."""
    if not model.exists():
        raise BadModel(
            f"{model}: there is no such model file (inference.model_path in services.yaml, or INFERENCE_MODEL_PATH, "
            "names it, relative to the current folder)"
        )
    registry = read_registry(registry_path)
    found = sha256_of(model)
    for entry in registry.models:
        if _is_at(model, entry, registry_path):
            if entry.sha256 != found:
                raise BadModel(
                    f"{model}: {registry_path} says this is {entry.name} {entry.version} with sha256 {entry.sha256}, "
                    f"but the file's is {found}; restore the file, or register it under a version of its own"
                )
            return Identity(Model(entry.name, entry.version, found), entry)
    for entry in registry.models:
        if entry.sha256 == found:  # the same file under another path
            return Identity(Model(entry.name, entry.version, found), entry)
    log.warning("model_unregistered", path=str(model), sha256=found, registry=str(registry_path))
    return Identity(Model(model.stem, UNREGISTERED, found), None)


def _is_at(model: Path, entry: RegisteredModel, registry_path: Path) -> bool:
    folder = registry_path.resolve().parent
    return model.resolve() in ((folder / entry.path).resolve(), (folder.parent / entry.path).resolve())
