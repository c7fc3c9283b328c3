"""The examples of the pages about routes and sinks are taken as they stand."""

from pathlib import Path

import pytest

from router.configuration import load_router
from router.routing import legs
from router.sinks import open_sink
from runtime.settings import load_settings
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


def test_the_example_of_the_routes_page_does_what_the_page_says(tmp_path: Path) -> None:
    page = (PAGES.parent / "routes.md").read_text(encoding="utf-8")
    (tmp_path / "routes.yaml").write_text(page.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    environ = {"DESK_URL": "https://desk.example/x", "DESK_SECRET": f"whsec_{'a' * 32}", "NVR_PASSWORD": "x"}
    told = load_router(load_settings(tmp_path, environ), environ)
    assert told.warnings == ()
    siren = {"kind": "alert", "severity": "critical", "camera": "gate_1", "roi": "dock"}
    assert [leg.sink for leg in legs(told.tree, siren)] == ["record", "desk", "nvr"]
    assert [leg.sink for leg in legs(told.tree, siren | {"roi": "car park"})] == ["record", "desk"]
    assert [leg.sink for leg in legs(told.tree, siren | {"kind": "system", "camera": "x"})] == ["desk"]
