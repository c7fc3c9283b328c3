"""The queries of the dashboards in deploy/grafana/dashboards."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"


class Target(NamedTuple):
    """One query of a panel, as Grafana sends it when everything is chosen."""

    board: str
    panel: str
    expression: str
    legend: str


def targets() -> Iterator[Target]:
    """Every query."""
    for file in sorted(FOLDER.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", ()):
                expression = re.sub(r"\$(camera|sink)", ".*", target["expr"]).replace("$__rate_interval", "1m")
                assert "$" not in expression, expression
                yield Target(file.stem, panel["title"], expression, target["legendFormat"])
