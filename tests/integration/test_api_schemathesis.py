"""The OpenAPI document against the application: what it allows is answered as it says, never with a fault, and never
without the token where it says that one is needed."""

import atexit
import tempfile
import tomllib
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from api.tokens import TokenFile
from tests.support.api import Seeing, encoded, guarding, jpeg, make_app, write_configs

ROOT = Path(__file__).resolve().parents[2]
PICTURES = {"image/jpeg": jpeg(), "image/png": encoded(".png"), "image/webp": encoded(".webp")}

# Half of the bodies are pictures, the other half begin as pictures do.
for kind, picture in PICTURES.items():
    schemathesis.openapi.media_type(kind, st.just(picture) | st.binary(max_size=200).map(picture[:30].__add__))


def _schema():
    """Made when the module is read: the tests are one per operation."""
    folder = tempfile.TemporaryDirectory(prefix="backsight-api-")
    atexit.register(folder.cleanup)
    configs = write_configs(Path(folder.name))
    token = TokenFile(configs / "tokens.json").create("schemathesis", ["admin"], None, None, 0)
    app, looking = make_app(configs, Seeing, guard=guarding(configs, failures_per_minute=1_000_000))
    looking.start().result(10)
    atexit.register(looking.close)
    told = tomllib.loads((ROOT / "schemathesis.toml").read_text(encoding="utf-8"))
    config = schemathesis.Config.from_dict({**told, "auth": {"openapi": {"token": {"bearer": token}}}})
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config)


schema = _schema()


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_api_answers_as_its_openapi_document_says(case):
    case.call_and_validate()
