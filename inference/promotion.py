"""Which registered model `services.yaml` names: set to another, and back to the one before.

What was named before is remembered beside `services.yaml`, in `promoted.jsonl`, a line for each promotion that is in
force. Whoever can write the one can write the other; where both are read-only nothing is promoted, and so nothing need
be remembered.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from inference.detectors import model_labels
from inference.model_registry import REGISTRY, BadModel, RegisteredModel, file_of, identify
from inference.registration import fault_of_entry
from runtime.configs import label_doubts, load_rois
from runtime.replacing import replace_text
from runtime.settings import CHECKOUT, load_settings
from schemas.documents.editing import with_value
from schemas.problems import BadDocument, Problem

MEMORY: Final = "promoted.jsonl"
VARIABLE: Final = "INFERENCE_MODEL_PATH"


class NotPromoted(ValueError):
    """Nothing was changed; the text says what to change by hand."""


class Promotion(msgspec.Struct, frozen=True):
    """One line of the memory: ``before`` gave way to ``after`` at ``at`` (milliseconds UTC)."""

    at: int
    before: str
    after: str
    name: str
    version: str


_LINES: Final = msgspec.json.Decoder(Promotion)


class Changed(NamedTuple):
    """What `services.yaml` names now. ``doubts`` are labels of the model that do not fit `rois.yaml`."""

    before: str
    after: str
    doubts: list[Problem]


def path_of(entry: RegisteredModel, registry: Path = REGISTRY) -> str:
    """What `services.yaml` says for the entry: relative to the checkout, so that it holds in every container."""
    file = file_of(entry, registry)
    return file.relative_to(CHECKOUT).as_posix() if file.is_relative_to(CHECKOUT) else str(file)


def promote(
    entry: RegisteredModel, configs: Path, environ: Mapping[str, str], now_ms: int, registry: Path = REGISTRY
) -> Changed:
    """Makes `services.yaml` name the entry's file, once that is found to be what the registry says.

    ``environ``: the environment that wins over the file. Raises `BadModel`, `BadDocument`, `NotPromoted`.
    """
    fault = fault_of_entry(entry, registry)
    if fault is not None:
        raise BadModel(fault)
    after = path_of(entry, registry)
    before = _named(configs, environ, after)
    doubts = _doubts(configs, file_of(entry, registry), registry)
    if before == after:
        return Changed(before, after, doubts)
    lines = [*_memory(configs), Promotion(now_ms, before, after, entry.name, entry.version)]
    _write(configs, after, lines)
    return Changed(before, after, doubts)


def roll_back(configs: Path, environ: Mapping[str, str], registry: Path = REGISTRY) -> Changed:
    """Makes `services.yaml` name what it named before the last promotion, and forgets that.

    Raises `BadModel` where that file is not what it was, `BadDocument`, `NotPromoted`.
    """
    lines = _memory(configs)
    if not lines:
        raise NotPromoted(f"{configs / MEMORY}: holds no promotion, so there is none to take back")
    last = lines[-1]
    before = _named(configs, environ, last.before)
    if before != last.after:
        raise NotPromoted(
            f"{configs / 'services.yaml'}: names {before}, but the last promotion was to {last.after}: it was changed "
            f"by hand since. To go back to before that promotion, set inference.model_path: {last.before}"
        )
    file = Path(last.before) if Path(last.before).exists() else CHECKOUT / last.before
    identify(file, registry)
    _write(configs, last.before, lines[:-1])
    return Changed(before, last.before, _doubts(configs, file, registry))


def _named(configs: Path, environ: Mapping[str, str], wanted: str) -> str:
    """What `services.yaml` names; raises `NotPromoted` where the environment wins over it with something else."""
    own = {name: value for name, value in environ.items() if name not in (VARIABLE, f"{VARIABLE}_FILE")}
    written = load_settings(configs, own).services.inference.model_path
    named = Path(written).relative_to(CHECKOUT).as_posix() if Path(written).is_relative_to(CHECKOUT) else written
    variable = next((name for name in (VARIABLE, f"{VARIABLE}_FILE") if environ.get(name)), None)
    if variable is None:
        return named
    if variable == VARIABLE and environ[variable] == wanted:
        raise NotPromoted(f"{_where(variable)} names {wanted} already, and wins over services.yaml: nothing to change")
    to = f"set {VARIABLE}={wanted} there" if variable == VARIABLE else f"write {wanted} into the file that it names"
    raise NotPromoted(
        f"{variable} in {_where(variable)} wins over services.yaml: {to}, or take it out there and promote again; "
        "then start inference and the API again"
    )


def _where(variable: str) -> str:
    return "the environment" if os.environ.get(variable) else ".env"


def _memory(configs: Path) -> list[Promotion]:
    file = configs / MEMORY
    try:
        return _LINES.decode_lines(file.read_bytes()) if file.exists() else []
    except (OSError, msgspec.DecodeError) as error:
        raise NotPromoted(f"{file}: does not read as a memory of promotions ({error}); move it away") from None


def _write(configs: Path, path: str, lines: list[Promotion]) -> None:
    file = configs / "services.yaml"
    by_hand = f"set `model_path: {path}` under `inference:` in {file} where that is kept"
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        changed = with_value(text, "inference", "model_path", path, file.name)
        if not os.access(file if file.exists() else configs, os.W_OK):
            raise PermissionError(None, "is read-only here")
        # The memory first: a crash in between leaves a line that `roll_back` finds out, not a change with no way back.
        replace_text(configs / MEMORY, b"".join(msgspec.json.encode(line) + b"\n" for line in lines).decode())
        replace_text(file, changed)
    except OSError as error:
        raise NotPromoted(f"{file}: cannot be written ({error.strerror or error}): {by_hand}") from None
    except ValueError as error:
        raise NotPromoted(f"{error}: {by_hand}") from None


def _doubts(configs: Path, file: Path, registry: Path) -> list[Problem]:
    labels = model_labels(file, registry)
    if labels is None:
        return [Problem(str(file), "tells no labels, so they cannot be held against rois.yaml")]
    try:
        return label_doubts(load_rois(configs), labels)
    except BadDocument as bad:
        return bad.problems
