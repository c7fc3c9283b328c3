"""docs/configuration.md has every key and every variable, and says so when it has not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli import reference
from router.sinks import known_sinks
from runtime.settings import KAFKA_VARIABLES, SERVICES_VARIABLES


def keys(schema: Any) -> set[str]:
    """Every key of a document, however deep."""
    parts = [schema, *schema.get("$defs", {}).values()]
    return {key for part in parts for key in part.get("properties", {})}


def test_every_key_and_variable_is_there() -> None:
    page = reference.page()
    documents = [each.document for each in reference.DOCUMENTS.values()]
    wanted = set().union(*(keys(each.model_json_schema()) for each in documents))
    wanted |= set().union(*(keys(sink.document.model_json_schema()) for sink in known_sinks().values()))
    assert len(wanted) > 100
    assert {key for key in wanted if f"| `{key}` |" not in page} == set()
    assert {name for name in (*SERVICES_VARIABLES, *KAFKA_VARIABLES) if f"| `{name}` |" not in page} == set()
    assert "| `fps_target` | number > 0, ≤ 60 | `5.0` | frames a second that are sampled |" in page
    assert "| `timezone` | text | **needed** |" in page
    assert "| `active` | one, or a list: see below |" in page


def test_the_page_is_in_step_and_a_page_that_is_not_is_said(tmp_path: Path) -> None:
    assert reference.main(["--check"]) == 0, "run `python -m cli.reference`"
    elsewhere = tmp_path / "configuration.md"
    assert reference.main([], elsewhere) == 0
    assert reference.main(["--check"], elsewhere) == 0
    elsewhere.write_text(elsewhere.read_text() + "by hand\n")
    assert reference.main(["--check"], elsewhere) == 1


def test_a_variable_that_the_page_lacks_is_said(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delitem(reference.OTHER_VARIABLES, "BACKSIGHT_CACHE")
    assert reference.main(["--check"]) == 1
    assert "OTHER_VARIABLES lacks BACKSIGHT_CACHE: say what it sets" in capsys.readouterr().err
