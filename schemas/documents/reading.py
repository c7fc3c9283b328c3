"""From YAML or JSON text to a document, or to every mistake with its place."""

import json
from collections.abc import Hashable
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.problems import BadDocument, Problem


class Document(BaseModel):
    """A part of a document: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


Written = TypeVar("Written", bound=Document)


class _UniqueKeys(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, of which plain YAML keeps the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen and key != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(text: str, name: str) -> Any:
    """The text as plain values; raises `BadDocument` with line and column where it is no YAML."""
    try:
        return yaml.load(text, _UniqueKeys)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise BadDocument([Problem(place, str(getattr(error, "problem", None) or "is not YAML"))]) from None


def place_of(name: str, location: tuple[int | str, ...]) -> str:
    """`("cameras", 2, "points")` as `cameras[2].points`, after the document's name."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif not step.startswith(("function-", "tagged-union", "constrained-")) and not step.endswith(")"):
            path += f".{step}" if path else step
    return f"{name}: {path}" if path else name


def read_document(kind: type[Written], values: Any, name: str) -> Written:
    """Plain values as a document of ``kind``; raises `BadDocument` with every mistake.

    ``name`` (usually the file's name) begins every place. Values that a person wrote are never repeated in a message,
    since a camera URL holds a password.
    """
    if values is None:
        values = {}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _bad(error, name) from None


def read_json(kind: type[Written], text: bytes, name: str) -> Written:
    """JSON as a document of ``kind``, as strict as its JSON Schema; raises `BadDocument` with every mistake."""
    try:
        document = kind.model_validate_json(text, strict=True)
        json.loads(text, object_pairs_hook=_unique)
    except ValidationError as error:
        raise _bad(error, name) from None
    except _Twice as twice:
        raise BadDocument([Problem(name, f"key {twice} is given twice")]) from None
    return document


class _Twice(ValueError):
    """A key that plain JSON would keep the last of in silence."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(repr(key))
        found[key] = value
    return found


def _bad(error: ValidationError, name: str) -> BadDocument:
    return BadDocument(
        [
            Problem(place_of(name, found["loc"]), found["msg"].removeprefix("Value error, "))
            for found in error.errors(include_url=False, include_input=False, include_context=False)
        ]
    )
