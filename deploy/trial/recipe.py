"""Reads a Dockerfile and a .dockerignore: the part of their languages that this project uses, the rest is refused."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_KNOWN: Final = frozenset(
    "ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM LABEL RUN STOPSIGNAL USER VOLUME WORKDIR".split()  # noqa: SIM905
)


class BadRecipe(ValueError):
    """A line that this reader does not know, with its number."""


@dataclass(frozen=True)
class Step:
    """One instruction: its word, its `--flag=value` options, and what follows, variables not yet filled in."""

    word: str
    flags: tuple[tuple[str, str], ...]
    rest: str

    def list(self) -> list[str]:
        """What follows, as the words of a JSON list where it is one, else of a shell's line."""
        if self.rest.startswith("["):
            return [str(each) for each in json.loads(self.rest)]
        return shlex.split(self.rest)

    def pairs(self) -> dict[str, str]:
        """What follows, as NAME=VALUE pairs."""
        return dict(each.partition("=")[::2] for each in shlex.split(self.rest))


@dataclass
class Stage:
    """`FROM base AS name` and the steps below it."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)

    def sources(self) -> list[str]:
        """The stages that this one copies from."""
        return [value for step in self.steps if step.word == "COPY" for flag, value in step.flags if flag == "from"]


def read_recipe(text: str, given: Mapping[str, str] | None = None) -> dict[str, Stage]:
    """The stages by name, in order; ``given`` are build arguments. Raises `BadRecipe`."""
    stages: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    for number, line in _lines(text):
        word, _, rest = line.partition(" ")
        word, rest = word.upper(), rest.strip()
        if word not in _KNOWN:
            raise BadRecipe(f"line {number}: expected one of {', '.join(sorted(_KNOWN))}, found {word}")
        flags = []
        while found := re.match(r"--([a-z]+)=(\S+)\s+", rest):
            flags.append((found[1], found[2]))
            rest = rest[found.end() :]
        if word == "ARG" and not stages:
            name, _, value = rest.partition("=")
            arguments[name] = (given or {}).get(name, value)
        elif word == "FROM":
            base, _, name = filled(rest, arguments).partition(" AS ")
            if not name:
                raise BadRecipe(f"line {number}: expected FROM base AS name, found FROM {rest}")
            stages[name] = Stage(name, base)
        elif not stages:
            raise BadRecipe(f"line {number}: {word} before the first FROM")
        else:
            stages[name].steps.append(Step(word, tuple(flags), rest))
    return stages


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Whole instructions, with the number of the line each begins on; comments left out."""
    whole, begun = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        begun = begun or number
        if line.endswith("\\"):
            whole += line[:-1] + " "
        else:
            yield begun, re.sub(r"\s+", " ", whole + line).strip()
            whole, begun = "", 0


def filled(text: str, values: Mapping[str, str]) -> str:
    """``text`` with $NAME and ${NAME} filled in; an unknown one is empty, as in a shell."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: values.get(found[1] or found[2], ""), text)


def needed(stages: Mapping[str, Stage], target: str) -> list[Stage]:
    """The stages that ``target`` is made of, each after those it needs."""
    order: list[Stage] = []

    def visit(name: str) -> None:
        stage = stages.get(name)
        if stage is None or stage in order:
            return
        for each in (stage.base, *stage.sources()):
            visit(each)
        order.append(stage)

    if target not in stages:
        raise BadRecipe(f"no stage {target}; there are {', '.join(stages)}")
    visit(target)
    return order


@dataclass(frozen=True)
class Ignored:
    """The patterns of a .dockerignore: the last one that matches a path, or a folder above it, decides."""

    patterns: tuple[tuple[bool, str], ...]

    @classmethod
    def read(cls, text: str) -> Ignored:
        """Patterns as Docker reads them; `!` in front takes back in."""
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        return cls(tuple((not each.startswith("!"), each.removeprefix("!").strip("/")) for each in lines))

    def __call__(self, path: str) -> bool:
        """Whether the file ``path`` (below the context, with slashes) is left out."""
        out = False
        for leaves_out, pattern in self.patterns:
            if re.fullmatch(_expression(pattern) + "(/.*)?", path):
                out = leaves_out
        return out

    def files(self, context: Path) -> Iterator[str]:
        """The files of the context, in order."""
        taken_back = [pattern for leaves_out, pattern in self.patterns if not leaves_out]

        def walk(folder: str) -> Iterator[str]:
            for each in sorted((context / folder).iterdir()):
                path = f"{folder}/{each.name}".lstrip("/")
                if each.is_dir() and not each.is_symlink():
                    if not self(path) or any(pattern.startswith(f"{path}/") for pattern in taken_back):
                        yield from walk(path)
                elif not self(path):
                    yield path

        return walk("")


def _expression(pattern: str) -> str:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(meaning.get(part, re.escape(part)) for part in parts)


def copied(step: Step, files: Sequence[str]) -> list[tuple[str, str]]:
    """For a COPY from the context: (file, where to, relative to the target's working folder or absolute)."""
    *sources, target = step.list()
    into = target.endswith("/") or target in (".", "./") or len(sources) > 1
    pairs = []
    for source in sources:
        source = source.strip("./")
        found = [each for each in files if not source or each == source or each.startswith(f"{source}/")]
        if not found:
            raise BadRecipe(f"COPY {source}: nothing in the context has this name (or .dockerignore leaves it out)")
        for each in found:
            if each == source:
                pairs.append((each, f"{target.rstrip('/')}/{Path(each).name}" if into else target))
            else:
                pairs.append((each, f"{target.rstrip('/')}/{each.removeprefix(source).lstrip('/')}"))
    return pairs
