"""The metrics of the list, and those that an expression of Prometheus names."""

import re
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from runtime import metrics

LISTED: Final[dict[str, Counter | Gauge | Histogram]] = {
    name: value for name, value in vars(metrics).items() if isinstance(value, Counter | Gauge | Histogram)
}
"""By the name of the constant."""

NOT_OURS: Final = frozenset(
    {"up", "process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"}
)
"""Prometheus's own, and those of its client library."""

_NAMES: Final = re.compile(r"\b(?:backsight|process)_[a-z0-9_]+|\bup\b")


def series(metric: Counter | Gauge | Histogram) -> frozenset[str]:
    """The names under which a metric's samples are exposed."""
    name = metric._name
    match metric:
        case Counter():
            return frozenset({f"{name}_total"})
        case Histogram():
            return frozenset({f"{name}_bucket", f"{name}_count", f"{name}_sum"})
        case _:
            return frozenset({name})


SERIES: Final = frozenset(name for metric in LISTED.values() for name in series(metric)) | NOT_OURS


def named(expression: str) -> frozenset[str]:
    """The series that an expression names."""
    return frozenset(_NAMES.findall(re.sub(r'"[^"]*"', '""', expression)))
