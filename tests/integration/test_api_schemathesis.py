"""The OpenAPI document against the application: what it allows is answered as it says, and never with a fault."""

import atexit
import tempfile
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.support.api import Seeing, encoded, jpeg, make_app, write_configs

ROOT = Path(__file__).resolve().parents[2]
PICTURES = {"image/jpeg": jpeg(), "image/png": encoded(".png"), "image/webp": encoded(".webp")}

# Half of the bodies are pictures, the other half begin as pictures do.
for kind, picture in PICTURES.items():
    schemathesis.openapi.media_type(kind, st.just(picture) | st.binary(max_size=200).map(picture[:30].__add__))


def _schema():
    """Made when the module is read: the tests are one per operation."""
    folder = tempfile.TemporaryDirectory(prefix="backsight-api-")
    atexit.register(folder.cleanup)
    app, looking = make_app(write_configs(Path(folder.name)), Seeing, writable=True)
    looking.start().result(10)
    atexit.register(looking.close)
    config = schemathesis.Config.from_path(ROOT / "schemathesis.toml")
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config)


schema = _schema()


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_api_answers_as_its_openapi_document_says(case):
    case.call_and_validate()
