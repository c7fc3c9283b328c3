"""Wire shapes are data: what is written is what is sent, and what could not work is refused when it is read."""

import json

import pytest

from router.isapi.profile import Profile
from schemas.documents.reading import read_document
from schemas.problems import BadDocument


def profile(**written):
    return read_document(Profile, written, "routes.yaml: sinks[0].profile")


def test_the_defaults_are_the_documented_shapes():
    request = profile().output.request(3, True)
    assert (request.method, request.path) == ("PUT", "/ISAPI/System/IO/outputs/3/trigger")
    assert b"<outputState>high</outputState>" in request.body
    request = profile().soft_input.request(2, False)
    assert request.path == "/ISAPI/System/IO/softInputs/trigger?format=json"
    assert json.loads(request.body) == {"SoftIO": [{"id": 2, "triggerType": "stop"}]}
    assert request.content_type == "application/json"
    assert profile().record.request(101, True).path == "/ISAPI/ContentMgmt/record/control/manual/start/tracks/101"
    assert profile().record.request(101, False).path == "/ISAPI/ContentMgmt/record/control/manual/stop/tracks/101"


def test_a_device_s_own_shape_takes_the_place_of_a_part():
    own = profile(
        record={"method": "POST"},
        output={"path": "/ISAPI/ContentMgmt/IOProxy/outputs/{number}/trigger", "on": "active", "off": "inactive"},
    )
    assert own.record.request(101, True).method == "POST"
    request = own.output.request(33, False)
    assert request.path == "/ISAPI/ContentMgmt/IOProxy/outputs/33/trigger"
    assert b"<outputState>inactive</outputState>" in request.body
    assert own.soft_input == profile().soft_input


@pytest.mark.parametrize(
    ("written", "place", "wrong"),
    [
        ({"output": {"path": "http://elsewhere/{number}"}}, r"profile: output.path", "expected an absolute path"),
        ({"output": {"path": "//elsewhere/{number}"}}, r"profile: output.path", "expected an absolute path"),
        ({"output": {"path": "/../{number}"}}, r"profile: output.path", "expected an absolute path"),
        ({"output": {"path": "/{number}/{channel}"}}, r"profile: output", "channel"),
        ({"output": {"body": "<x/>"}}, r"profile: output", "holds {state}"),
        ({"record": {"path": "/record/{state}"}}, r"profile: record", "holds {number}"),
        ({"output": {"on": "low"}}, r"profile: output", "both 'low'"),
        ({"output": {"method": "GET"}}, r"profile: output.method", "PUT"),
        ({"device_info": "System"}, r"profile: device_info", "expected an absolute path"),
        ({"siren": {}}, r"profile: siren", ""),
    ],
)
def test_what_could_not_work_is_refused_with_its_place(written, place, wrong):
    with pytest.raises(BadDocument) as refused:
        profile(**written)
    assert place in str(refused.value)
    assert wrong in str(refused.value)
