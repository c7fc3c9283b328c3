"""What the pages say is there: links lead somewhere, and commands and their options exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("configs/*.md"), *ROOT.glob("models/**/*.md")]
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^()\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {slug(found) for found in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def test_every_page_is_linked_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in LINK.findall(index.read_text())}
    pages = {page for page in (ROOT / "docs").glob("**/*.md") if page != index and page.parent.name != "decisions"}
    assert {page.relative_to(ROOT) for page in pages - linked} == set()


# ---- commands


def commands(page: Path) -> Iterator[str]:
    """Everything in code that calls `backsight`, without what follows a pipe or a comment."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(found.group().replace("\\\n", " ") for found in FENCE.finditer(text))
    indented = "\n".join(re.findall(r"^ {4,}backsight .*$", text, re.MULTILINE))
    inline = [" ".join(each.split()) for each in CODE.findall(FENCE.sub("", text))]
    for line in (*blocks.splitlines(), *indented.splitlines(), *inline):
        found = re.match(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?backsight (.+)$", line)
        if found:
            yield re.split(r" \| | # |\s#|;|&&| > ", found[1])[0].strip()


def wrong(command: str) -> str | None:
    """What the command line has not, or None. `a|b` stands for either, `…` and capitals for anything."""
    for choice in _either(command):
        here: click.Command = main
        for token in choice:
            context = click.Context(here)
            if isinstance(here, click.Group) and not token.startswith(("-", "…", "[")) and not token.isupper():
                found = here.get_command(context, token)
                if found is None:
                    return f"{here.name} has no {token!r}"
                here = found
            elif re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", token) and token not in ("-h", "--help"):
                known = {each for option in here.params for each in (*option.opts, *option.secondary_opts)}
                if token.split("=")[0] not in known | {"--version"}:
                    return f"{here.name} has no {token}"
    return None


def _either(command: str) -> Iterator[list[str]]:
    tokens = [token.strip("(),.\"'`") for token in command.split()]
    for place, token in enumerate(tokens):
        if re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", token):
            for each in token.split("|"):
                yield [*tokens[:place], each, *tokens[place + 1 :]]
            return
    yield tokens


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    assert [f"backsight {each}: {said}" for each in commands(page) if (said := wrong(each))] == []


def test_a_command_that_is_not_there_would_be_seen() -> None:
    assert wrong("doctor --jsno") == "doctor has no --jsno"
    assert wrong("kafka up|dwon --data x") == "kafka has no 'dwon'"
    assert wrong("alerts tail -f") is None
    assert wrong("replay …") is None
    assert wrong("cameras probe URL_OR_ID --seconds=2") is None
    found = list(commands(ROOT / "README.md"))
    assert len(found) > 15
    assert "alerts tail -f" in found
