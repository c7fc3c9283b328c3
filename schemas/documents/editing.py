"""Small changes to a YAML document that a person wrote: one value, one more entry; comments and order stay.

The text is changed where the YAML parser says that the value stands, and nowhere else. What cannot be changed that way
is refused, never rewritten.
"""

from collections.abc import Sequence
from typing import Any, Final

import yaml

from schemas.documents.reading import read_yaml

_STEP: Final = "  "


class NotEditable(ValueError):
    """The document is written in a way that a small change does not fit into; the text says where."""


def scalar(value: Any) -> str:
    """A value in one line of YAML: text quoted where it must be, lists and mappings in flow style."""
    written = yaml.safe_dump(
        value, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False, default_style=None
    )
    return str(written).removesuffix("...\n").strip()


def with_value(text: str, section: str, key: str, value: str, name: str) -> str:
    """The text with ``section.key`` set to ``value``; ``name`` (the file's) begins every complaint.

    Raises `BadDocument` where the text is no YAML, `NotEditable`.
    """
    before = read_yaml(text, name)
    if not isinstance(before or {}, dict) or not isinstance((before or {}).get(section) or {}, dict):
        raise NotEditable(f"{name}: expected a mapping, and one under {section}")
    expected = {**(before or {}), section: {**((before or {}).get(section) or {}), key: value}}
    after = _set(text, section, key, value, name)
    if read_yaml(after, name) != expected:
        raise NotEditable(f"{name}: {section}.{key} is not written in a way that can be changed here")
    return after


def with_entry(text: str, section: str, entry: dict[str, Any], after: int | None, name: str) -> str:
    """The text with one more mapping in the list ``section``: behind the entry at the place ``after``, else last.

    Raises `BadDocument` where the text is no YAML, `NotEditable`.
    """
    before = read_yaml(text, name)
    listed = _listed(before, section, name)
    place = len(listed) if after is None else after + 1
    expected = {**(before or {}), section: [*listed[:place], entry, *listed[place:]]}
    changed = _insert(text, section, entry, place, name)
    if read_yaml(changed, name) != expected:
        raise NotEditable(f"{name}: {section} is not written in a way that an entry can be put into")
    return changed


def _listed(document: Any, section: str, name: str) -> list[Any]:
    found = document.get(section) if isinstance(document, dict) else document
    if found is not None and not isinstance(found, list):
        raise NotEditable(f"{name}: expected a list under {section}")
    return found or []


def _set(text: str, section: str, key: str, value: str, name: str) -> str:
    top = yaml.compose(text, yaml.SafeLoader)
    found = _value(top, section)
    if found is None:
        return f"{_ended(text)}{section}:\n{_STEP}{key}: {scalar(value)}\n"
    if not isinstance(found, yaml.MappingNode):
        return _replaced(text, found, f" {{{key}: {scalar(value)}}}" if not found.value else "")
    old = _value(found, key)
    if old is not None:
        if not isinstance(old, yaml.ScalarNode) or old.style in ("|", ">"):
            raise NotEditable(f"{name}: {section}.{key} is not one line of text")
        return _replaced(text, old, scalar(value))
    if found.flow_style:
        start = found.start_mark.index + 1
        return f"{text[:start]}{key}: {scalar(value)}{', ' if found.value else ''}{text[start:]}"
    first = found.start_mark
    line = f"{key}: {scalar(value)}\n{' ' * first.column}"
    return text[: first.index] + line + text[first.index :]


def _insert(text: str, section: str, entry: dict[str, Any], place: int, name: str) -> str:
    found = _value(yaml.compose(text, yaml.SafeLoader), section)
    if found is None or not found.value:
        if found is not None:
            # `models: []` and `models:` give way to a list.
            start = text.rindex(f"{section}:", 0, found.start_mark.index + 1)
            stop = found.end_mark.index if isinstance(found, yaml.SequenceNode) else start + len(section) + 1
            text = text[:start].rstrip(" ") + text[stop:].lstrip("\n")
        return _ended(text) + f"{section}:\n" + _item(entry, _STEP)
    if not isinstance(found, yaml.SequenceNode) or found.flow_style:
        raise NotEditable(f"{name}: {section} is written in one line; write one entry a line, each behind a dash")
    lines = text.splitlines(keepends=True)
    dash = lines[found.value[0].start_mark.line]
    indent = dash[: len(dash) - len(dash.lstrip(" "))]
    at = _last_line(found.value[place - 1]) + 1 if place else found.value[0].start_mark.line
    return _ended("".join(lines[:at])) + _item(entry, indent) + "".join(lines[at:])


def _item(entry: dict[str, Any], indent: str) -> str:
    written = [f"{key}: {scalar(value)}\n" for key, value in entry.items()]
    return f"{indent}- " + f"{indent}{_STEP}".join(written)


def _last_line(node: yaml.Node) -> int:
    """The line in which a node's text ends; a block's own end mark is where the next one begins."""
    if isinstance(node, yaml.MappingNode | yaml.SequenceNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.line
    # A block of text (| or >) ends where the next token begins.
    return end - 1 if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") else end


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs: Sequence[tuple[yaml.Node, yaml.Node]] = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _replaced(text: str, node: yaml.Node, by: str) -> str:
    return text[: node.start_mark.index] + by + text[node.end_mark.index :]


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
