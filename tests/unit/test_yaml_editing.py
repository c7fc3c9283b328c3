"""Small changes to YAML that a person wrote leave the rest as it was written, or are refused."""

from __future__ import annotations

import pytest
import yaml

from schemas.documents.editing import NotEditable, with_entry, with_value

ENTRY = {"name": "yard", "version": "3", "labels": ["a", "b c"], "input": {"width": 3}}
WRITTEN = """\
  - name: yard
    version: '3'
    labels: [a, b c]
    input: {width: 3}
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "inference:\n  model_path: m.onnx\n"),
        ("# only words\n", "# only words\ninference:\n  model_path: m.onnx\n"),
        ("rules: {a: 1}", "rules: {a: 1}\ninference:\n  model_path: m.onnx\n"),
        (
            "inference: # who\n  # old\n  model_path: 'x'   # keep\n  device: cpu\n",
            "inference: # who\n  # old\n  model_path: m.onnx   # keep\n  device: cpu\n",
        ),
        (
            "inference:\n  # which\n  device: cpu # x\nrules: {}\n",
            "inference:\n  # which\n  model_path: m.onnx\n  device: cpu # x\nrules: {}\n",
        ),
        ("inference: {device: cpu} # x\n", "inference: {model_path: m.onnx, device: cpu} # x\n"),
        ("inference: {}\n", "inference: {model_path: m.onnx}\n"),
        ("inference:\nrules: {}\n", "inference: {model_path: m.onnx}\nrules: {}\n"),
        ("a: ä\ninference: {model_path: ö}\n", "a: ä\ninference: {model_path: m.onnx}\n"),
    ],
)
def test_one_value_is_set_and_nothing_else_changes(before: str, after: str) -> None:
    assert with_value(before, "inference", "model_path", "m.onnx", "services.yaml") == after


@pytest.mark.parametrize("path", ["a b.onnx", "#1.onnx", "x: y.onnx", "ö.onnx", "'q'.onnx", "1.5", "null"])
def test_a_value_of_any_kind_reads_back_as_itself(path: str) -> None:
    text = with_value("inference:\n  model_path: x\n", "inference", "model_path", path, "services.yaml")
    assert yaml.safe_load(text) == {"inference": {"model_path": path}}


@pytest.mark.parametrize(
    "text",
    [
        "inference: &a {model_path: x}\nother: *a\n",
        "inference:\n  model_path: |\n    x\n",
        "- inference\n",
        "inference: 5\n",
        "inference: {model_path: [x]}\n",
    ],
)
def test_what_cannot_be_changed_in_place_is_refused(text: str) -> None:
    with pytest.raises(NotEditable):
        with_value(text, "inference", "model_path", "m.onnx", "services.yaml")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", None, f"models:\n{WRITTEN}"),
        ("models: []\n", None, f"models:\n{WRITTEN}"),
        ("# all\nmodels:\n", None, f"# all\nmodels:\n{WRITTEN}"),
        (
            "models:\n  - name: yard  # first\n    x: [1,\n      2]  # two\n\n  # b is\n  - {name: b}\n",
            0,
            f"models:\n  - name: yard  # first\n    x: [1,\n      2]  # two\n{WRITTEN}\n  # b is\n  - {{name: b}}\n",
        ),
        ("models:\n  - name: b", None, f"models:\n  - name: b\n{WRITTEN}"),
        (
            "models:\n  - name: a\n    note: |\n      one\n      two\n  - name: b\n",
            0,
            f"models:\n  - name: a\n    note: |\n      one\n      two\n{WRITTEN}  - name: b\n",
        ),
    ],
)
def test_an_entry_is_put_in_and_nothing_else_changes(before: str, after: int | None, expected: str) -> None:
    assert with_entry(before, "models", ENTRY, after, "registry.yaml") == expected


def test_a_list_in_one_line_and_something_that_is_no_list_are_refused() -> None:
    for text in ("models: [{name: a}]\n", "models: {a: 1}\n", "models: 3\n"):
        with pytest.raises(NotEditable):
            with_entry(text, "models", ENTRY, None, "registry.yaml")
