"""The OpenAPI document against the application: whatever it allows is answered as it says, and never with a fault."""

import atexit
import tempfile
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.support.api import Seeing, encoded, jpeg, make_app, write_configs

PICTURES = {"image/jpeg": jpeg(), "image/png": encoded(".png"), "image/webp": encoded(".webp")}

# Bytes of these kinds are pictures: random bytes are a case for the tests of bad uploads, and are drawn here as well.
for kind, picture in PICTURES.items():
    schemathesis.openapi.media_type(kind, st.just(picture) | st.binary(max_size=200).map(picture[:30].__add__))

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]


def _schema():
    """Made when the module is read: the tests are one per operation."""
    folder = tempfile.TemporaryDirectory(prefix="backsight-api-")
    atexit.register(folder.cleanup)
    app, looking = make_app(write_configs(Path(folder.name)), Seeing)
    looking.start().result(10)
    atexit.register(looking.close)
    return schemathesis.openapi.from_asgi("/openapi.json", app)


schema = _schema()


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_api_answers_as_its_openapi_document_says(case):
    case.call_and_validate(checks=CHECKS)
