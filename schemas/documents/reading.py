"""From YAML or JSON text to a document, or to every mistake with its place."""

import json
from collections.abc import Hashable, Mapping
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.problems import BadDocument, Problem

MOST_DEPTH: Final = 60
"""How deep lists and maps may lie within one another; ours lie ten deep."""
MOST_VALUES: Final = 2_000_000
"""Values of a document with everything that its aliases (`*name`) stand for written out."""

_WORDS: Final = {
    "extra_forbidden": "there is no such key here",
    "missing": "is missing",
    "recursion_loop": "refers to itself",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a number",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected a map of keys and values",
    "model_type": "expected a map of keys and values",
    "model_attributes_type": "expected a map of keys and values",
    "string_pattern_mismatch": "expected text like {pattern}",
    "timezone_aware": "expected a zone, too: 2026-01-05T12:00:00Z",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected {ge} or more",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected {le} or less",
    "too_short": "expected {min_length} at least",
    "too_long": "expected {max_length} at most",
    "string_too_short": "expected {min_length} characters at least",
    "string_too_long": "expected {max_length} characters at most",
}
"""What is said of a mistake, by pydantic's name for it: its own words are for those who write Python."""


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
        values = yaml.load(text, _UniqueKeys)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise BadDocument([Problem(place, str(getattr(error, "problem", None) or "is not YAML"))]) from None
    except RecursionError:
        raise BadDocument([Problem(name, _TOO_DEEP)]) from None
    wrong = _wrong_size(values)
    if wrong is not None:
        raise BadDocument([Problem(name, wrong)])
    return values


_TOO_DEEP: Final = f"lists and maps lie more than {MOST_DEPTH} deep within one another, or one refers to itself"


def _wrong_size(values: Any) -> str | None:
    """Why nobody should walk through the values: aliases make an endless or an enormous tree of a short text."""
    sizes: dict[int, int] = {}

    def size(value: Any, depth: int) -> int:
        inner = [*value, *value.values()] if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        if depth > MOST_DEPTH:
            raise RecursionError
        if inner and id(value) not in sizes:
            sizes[id(value)] = 1 + sum(size(each, depth + 1) for each in inner)
        return sizes.get(id(value), 1) if inner else 1

    try:
        whole = size(values, 0)
    except RecursionError:
        return _TOO_DEEP
    return None if whole <= MOST_VALUES else f"holds more than {MOST_VALUES:,} values once its aliases are written out"


def place_of(name: str, location: tuple[int | str, ...]) -> str:
    """`("cameras", 2, "points")` as `cameras[2].points`, after the document's name."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif not _is_a_shape(step):
            path += f".{step}" if path else step
    return f"{name}: {path}" if path else name


def _is_a_shape(step: str) -> bool:
    """Whether a step of a place is none of the document, but one of several shapes that a value may have."""
    return step.startswith(("function-", "tagged-union", "constrained-", "tuple[", "literal[")) or step.endswith(")")


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
    found = error.errors(include_url=False)
    places = [each["loc"] for each in found]

    def follows(each: Any) -> bool:
        """Whether the mistake only follows from another: entries that do not check are not counted in their list, and
        of several shapes that a value may have the one that was meant is the one whose inside is complained of."""
        kind, loc = each["type"], each["loc"]
        if kind == "too_short":
            return any(len(other) > len(loc) and other[: len(loc)] == loc for other in places)
        if kind in ("tuple_type", "model_type") and loc and isinstance(loc[-1], str) and _is_a_shape(loc[-1]):
            return any(len(other) > len(loc) and other[: len(loc) - 1] == loc[:-1] for other in places)
        return bool(loc[-1:] == ("literal[False]",))

    return BadDocument([Problem(place_of(name, each["loc"]), _said(each)) for each in found if not follows(each)])


def _said(found: Any) -> str:
    """The mistake in our words. What was written is never repeated."""
    if found["type"] == "string_type":
        # YAML reads 22:00 as a number, on as true and 2026-01-01 as a date.
        return "expected text" if found["input"] is None else "expected text; put it in quotes"
    words = _WORDS.get(found["type"])
    if words is not None:
        context = found.get("ctx", {})
        return words.format_map(
            {key: f"{each:g}" if isinstance(each, float) else each for key, each in context.items()}
        )
    return str(found["msg"]).removeprefix("Value error, ").replace("Input should be ", "expected ", 1)
