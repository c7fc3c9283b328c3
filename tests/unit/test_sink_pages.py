"""The examples of the sinks' pages are taken as they stand."""

from pathlib import Path

import pytest

from router.sinks import open_sink
from schemas.documents.reading import read_document, read_yaml
from schemas.documents.routes import Routes

PAGES = Path(__file__).parents[2] / "docs" / "sinks"
ENVIRON = {"BUS_PASSWORD": "x", "HQ_PASSWORD": "x", "HALL_PASSWORD": "x"}
CERTIFICATES = ("ca_file", "ssl_ca_location")
"""Files that a reader has and we have not."""


@pytest.mark.parametrize("kind", ["file", "kafka", "mqtt", "redis", "stdout"])
def test_the_example_of_a_page_is_taken(kind):
    page = (PAGES / f"{kind}.md").read_text(encoding="utf-8")
    routes = read_document(Routes, read_yaml(page.split("```yaml\n")[1].split("```")[0], f"{kind}.md"), "routes.yaml")
    assert routes.problems() == []
    (entry,) = routes.sinks
    written = {key: value for key, value in entry.items() if key not in CERTIFICATES}
    assert open_sink(written, "sinks[0]", ENVIRON).kind == kind
