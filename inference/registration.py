"""A model file's way into `registry.yaml`, and whether what the registry says of its files is still true."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.detectors import file_labels
from inference.model_registry import (
    REGISTRY,
    BadModel,
    RegisteredModel,
    file_of,
    read_registry,
    registry_of,
    sha256_of,
)
from inference.onnx_file import read_onnx_head
from runtime.replacing import replace_text
from schemas.documents.editing import with_entry
from schemas.documents.reading import read_document


def register(
    file: Path,
    name: str,
    version: str,
    *,
    labels: Sequence[str] = (),
    card: Path | None = None,
    metrics: Mapping[str, float] | None = None,
    licence: str = "",
    registry: Path = REGISTRY,
) -> RegisteredModel:
    """Writes the file's entry, behind the other versions of its name; answers it.

    Labels and the size of the input are those that the file tells (ONNX); ``labels`` are for one that tells none.
    Raises `BadModel`, `BadDocument`, `NotEditable`, `OSError`.
    """
    if not file.exists():
        raise BadModel(f"{file}: there is no such model file")
    known = read_registry(registry).models
    if any((each.name, each.version) == (name, version) for each in known):
        raise BadModel(f"{registry}: {name} {version} is registered already; new weights are a new version")
    inside = _inside(file, registry, f"models/{name}/{name}-{version}{file.suffix}")
    for each in known:
        if file_of(each, registry).resolve() == file.resolve():
            raise BadModel(
                f"{file}: is registered as {each.name} {each.version}; weights are never changed in place, so put new "
                "ones beside them"
            )
    own = file_labels(file)
    if own and labels and tuple(labels) != own:
        raise BadModel(f"{file}: its own labels are {', '.join(own)}, not {', '.join(labels)}; leave --labels out")
    written = _written(file, name, version, inside, tuple(own or labels), licence, metrics or {})
    if card is not None:
        if not card.is_file():
            raise BadModel(f"{card}: there is no such model card")
        written["card"] = _inside(card, registry, f"models/{name}/README.md")
    entry = read_document(RegisteredModel, written, f"{name} {version}")
    text = registry.read_text(encoding="utf-8") if registry.exists() else ""
    versions = [place for place, each in enumerate(known) if each.name == name]
    changed = with_entry(text, "models", written, versions[-1] if versions else None, registry.name)
    registry_of(changed, registry)
    replace_text(registry, changed)
    return entry


def fault_of_entry(entry: RegisteredModel, registry: Path = REGISTRY) -> str | None:
    """What is wrong with a registered file, in words; None where it is the file that the registry names."""
    file = file_of(entry, registry)
    if not file.exists():
        return f"{file}: there is no such file"
    found = sha256_of(file)
    if found != entry.sha256:
        return f"{file}: its sha256 is {found}, the registry's {entry.sha256}"
    try:
        own = file_labels(file)
    except BadModel as error:
        return str(error)
    if own and entry.labels and own != entry.labels:
        return f"{file}: its own labels are {', '.join(own)}, the registry's {', '.join(entry.labels)}"
    if entry.card is not None and not (registry.parent / entry.card).is_file():
        return f"{registry.parent / entry.card}: there is no such model card"
    return None


def entry_of(name: str, version: str, registry: Path = REGISTRY) -> RegisteredModel:
    """The entry of that name and version; raises `BadModel` with what there is instead."""
    known = read_registry(registry).models
    for each in known:
        if (each.name, each.version) == (name, version):
            return each
    there = ", ".join(f"{each.name} {each.version}" for each in known) or "nothing"
    raise BadModel(f"{registry}: {name} {version} is not registered; there is {there}")


def _inside(file: Path, registry: Path, example: str) -> str:
    folder = registry.resolve().parent
    try:
        return file.resolve().relative_to(folder).as_posix()
    except ValueError:
        raise BadModel(f"{file}: must lie in {folder}, as {example} does; copy it there first") from None


def _written(
    file: Path,
    name: str,
    version: str,
    inside: str,
    labels: tuple[str, ...],
    licence: str,
    metrics: Mapping[str, float],
) -> dict[str, Any]:
    """The entry's keys in the order in which people read them; what is not known is left out."""
    size = read_onnx_head(file).input_size if file.suffix.lower() == ".onnx" else None
    entry: dict[str, Any] = {
        "name": name,
        "version": version,
        "path": inside,
        "sha256": sha256_of(file),
        "format": file.suffix.lower().removeprefix(".") or "folder",
    }
    if labels:
        entry["labels"] = list(labels)
    if size:
        entry["input"] = {"width": size[0], "height": size[1]}
    if licence:
        entry["licence"] = licence
    if metrics:
        entry["metrics"] = dict(metrics)
    return entry
