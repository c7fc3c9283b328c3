"""Writes docs/metrics.md from the list of metrics; `--check` says whether it is in step."""

import inspect
import re
import sys
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from runtime import metrics

PAGE: Final = Path(__file__).parents[1] / "docs" / "metrics.md"
_HEAD: Final = """# Metrics

Every process serves these at `/metrics` of `BACKSIGHT_HEALTH_PORT`, as far as they concern it, in Prometheus's text
format; the API at `/metrics` of its own port too. Besides these there are those of Prometheus's client library for the
process itself: `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_start_time_seconds`,
`process_open_fds`.

{about}

A histogram `NAME` is exposed as `NAME_bucket`, `NAME_count` and `NAME_sum`. Rules and dashboards:
[deploy/prometheus](../deploy/prometheus), [deploy/grafana](../deploy/grafana).

This page is generated (`python -m runtime.metrics_page`) from [`runtime/metrics.py`](../runtime/metrics.py).
"""
_LINE: Final = re.compile(r"^# (?P<title>.+)|^(?P<name>[A-Z_]+) = ")


def page() -> str:
    """The page's text."""
    about = inspect.cleandoc(metrics.__doc__ or "").split("\n\n", 1)[1].replace("``", "`")
    lines = [_HEAD.format(about=about).rstrip()]
    for line in inspect.getsource(metrics).splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        if found["title"]:
            lines += ["", f"## {found['title']}", "", "| metric | kind | labels | meaning |", "|---|---|---|---|"]
            continue
        lines.append(_row(getattr(metrics, found["name"])))
    return "\n".join(lines) + "\n"


def _row(metric: Counter | Gauge | Histogram) -> str:
    name = metric._name + ("_total" if isinstance(metric, Counter) else "")
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)
    return f"| `{name}` | {type(metric).__name__.lower()} | {labels} | {metric._documentation} |"


def main(arguments: list[str]) -> int:
    """Writes, or with `--check` compares."""
    if "--check" not in arguments:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.stderr.write("docs/metrics.md is out of step; run `python -m runtime.metrics_page`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
