"""The one list of metrics: each is set somewhere, and none has a label that grows without end."""

import re
from pathlib import Path

import pytest

from tests.support.metrics import LISTED, series

ROOT = Path(__file__).parents[2]
SOURCES = [
    path.read_text(encoding="utf-8")
    for folder in ("api", "evidence", "inference", "ingest", "replay", "router", "rules", "runtime")
    for path in (ROOT / folder).rglob("*.py")
    if path != ROOT / "runtime" / "metrics.py"
]
_AS = re.compile(r"\b([A-Z_]+) as ([A-Z_]+)")
_SET = re.compile(r"\b([A-Z_]+)\.(?:labels|inc|set|set_to_current_time|observe)\(")
BOUNDED = {
    "camera", "document", "gpu", "name", "outcome", "phase", "python", "reason", "revision", "severity", "sha256",
    "sink", "stage", "status", "verdict", "version", "xid",
}  # fmt: skip


def test_every_metric_is_set_somewhere() -> None:
    """By its own name, or by another that a module imports it under."""
    unset = set(LISTED)
    for text in SOURCES:
        names = {each: each for each in unset} | {other: name for name, other in _AS.findall(text)}
        unset -= {names[each] for each in _SET.findall(text) if each in names}
    assert not unset


@pytest.mark.parametrize("name", LISTED)
def test_a_metric_has_our_prefix_a_meaning_and_bounded_labels(name: str) -> None:
    metric = LISTED[name]
    assert all(each.startswith("backsight_") for each in series(metric))
    assert len(metric._documentation) > 2
    assert set(metric._labelnames) <= BOUNDED
