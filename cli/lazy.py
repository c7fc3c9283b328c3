"""A group of commands whose modules are imported only when they are called, so that `--help` is quick."""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click


class Lazy(NamedTuple):
    """Where a command is, and what the group's help says of it."""

    module: str
    attribute: str
    words: str


class LazyGroup(click.Group):
    """A click group over ``lazy``: names to where their commands are."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in self._lazy:
            return None
        found = self._lazy[name]
        command: click.Command = getattr(importlib.import_module(found.module), found.attribute)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, found.words) for name, found in self._lazy.items()])
