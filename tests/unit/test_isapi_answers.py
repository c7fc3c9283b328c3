"""What devices answer, as recorded or documented (sources: tests/support/fake_nvr.py), and what is made of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.isapi.answers import (
    MOST_BYTES,
    Lock,
    lock_of,
    login_refused,
    reply_of,
    text_at,
    tree_of,
    values_of,
)
from router.retry import ACCEPTED
from tests.support.fake_nvr import BUSY_ANSWERS, NAMESPACES


def status(
    code: int | str, sub: str = "", text: str = "Words", namespace: str = NAMESPACES[1], url: str = "/x"
) -> bytes:
    inner = f"<subStatusCode>{sub}</subStatusCode>" if sub else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8" ?>\n<ResponseStatus version="1.0" xmlns="{namespace}">\n'
        f"<requestURL>{url}</requestURL><statusCode>{code}</statusCode><statusString>{text}</statusString>{inner}"
        "</ResponseStatus>"
    ).encode()


@pytest.mark.parametrize("namespace", [*NAMESPACES, ""])
def test_an_answer_is_read_in_every_namespace(namespace):
    assert reply_of(200, status(1, "ok", namespace=namespace)).answer == ACCEPTED
    assert reply_of(403, status(4, "notSupport", namespace=namespace)).verdict == "unsupported"


@pytest.mark.parametrize(("http", "words"), BUSY_ANSWERS)
def test_a_busy_device_is_busy_whatever_its_http_status_and_code(http, words):
    code, text, sub = words
    reply = reply_of(http, status(code, sub, text))
    assert (reply.verdict, reply.answer.verdict, reply.answer.reason) == ("busy", "later", "rate_limited")


@pytest.mark.parametrize(
    ("code", "verdict", "again"),
    [
        (0, "ok", "done"),
        (1, "ok", "done"),
        (2, "busy", "later"),
        (3, "faulty", "later"),
        (4, "invalid", "never"),
        (5, "invalid", "never"),
        (6, "invalid", "never"),
        (7, "reboot", "later"),
        (9, "ok", "done"),  # "additional error" says nothing by itself: HTTP decides
    ],
)
def test_a_status_code_without_a_word_of_its_own(code, verdict, again):
    reply = reply_of(200, status(code))
    assert (reply.verdict, reply.answer.verdict) == (verdict, again)


def test_a_refusal_under_http_200_is_a_refusal():
    reply = reply_of(200, status(4, "notSupported", "Invalid Operation"))
    assert (reply.verdict, reply.answer.verdict) == ("unsupported", "never")


def test_a_feature_that_is_missing_is_told_from_a_right_that_is():
    assert reply_of(403, status(4, "notSupport")).verdict == "unsupported"
    assert reply_of(403, status(4, "methodNotAllowed")).verdict == "unsupported"
    assert reply_of(403, status(4, "lowPrivilege")).verdict == "forbidden"
    assert reply_of(400, status(4, "badAuthorization")).verdict == "forbidden"
    assert reply_of(403, b"").verdict == "forbidden"


def test_a_word_of_success_does_not_mend_a_failure():
    assert reply_of(500, status(1, "ok")).verdict == "faulty"


def test_json_is_read_as_well():
    bad = b'{"statusCode": 6, "statusString": "Invalid Content", "subStatusCode": "badJsonContent"}'
    assert reply_of(400, bad).verdict == "invalid"
    assert reply_of(200, b'{"ResponseStatus": {"statusCode": 2, "subStatusCode": "deviceBusy"}}').verdict == "busy"
    assert reply_of(200, b'{"statusCode": 1, "statusString": "OK", "subStatusCode": "ok"}').answer == ACCEPTED


@pytest.mark.parametrize(
    ("http", "verdict"),
    [(200, "ok"), (204, "ok"), (302, "redirect"), (404, "unsupported"), (405, "unsupported"), (400, "invalid"),
     (429, "busy"), (503, "busy"), (500, "faulty"), (401, "login")],
)  # fmt: skip
@pytest.mark.parametrize("body", [b"", b"OK", b"<html>502</html>", b"{broken"])
def test_without_a_status_of_its_own_http_decides(http, verdict, body):
    assert reply_of(http, body).verdict == verdict


def test_a_bare_ampersand_does_not_hide_the_answer():
    reply = reply_of(403, status(4, "notSupport", url="/ISAPI/x?format=json&devIndex=1"))
    assert reply.verdict == "unsupported"
    assert values_of(status(1, text="A&amp;B & C"))["statusstring"] == "A&B & C"


def test_entities_are_not_expanded_and_what_is_too_large_is_not_read():
    bomb = b'<!DOCTYPE a [<!ENTITY x "y">]><ResponseStatus><statusCode>4</statusCode>&x;</ResponseStatus>'
    assert tree_of(bomb) is None
    large = b"<ResponseStatus><statusCode>4</statusCode>" + b" " * MOST_BYTES + b"</ResponseStatus>"
    assert tree_of(large) is None
    assert values_of(b'{"statusCode": 4, "x": "' + b"y" * MOST_BYTES + b'"}') == {}


def test_a_device_that_wants_a_restart_is_asked_again_slowly():
    answer = reply_of(200, status(7, "rebootRequired", "Reboot Required")).answer
    assert (answer.verdict, answer.retry_after_ms) == ("later", 60_000)


USER_CHECK = (
    '<userCheck version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema"><statusValue>401</statusValue>'
    "<statusString>Unauthorized</statusString><isActivated>true</isActivated><lockStatus>{}</lockStatus>"
    "<unlockTime>{}</unlockTime><retryLoginTime>{}</retryLoginTime></userCheck>"
)


def test_a_refused_login_says_how_long_nobody_should_try():
    locked = USER_CHECK.format("lock", 1800, 0).encode()
    assert lock_of(locked) == Lock(True, 1800, 0)
    reply, seconds = login_refused(401, locked)
    assert seconds == 1800
    assert reply.answer.verdict == "later"
    assert reply.answer.retry_after_ms == 1_800_000
    assert "locked for 1800 s" in reply.answer.detail
    wrong = USER_CHECK.format("unlock", 0, 4).encode()
    assert lock_of(wrong) == Lock(False, 0, 4)
    reply, seconds = login_refused(401, wrong)
    assert seconds == 300
    assert "4 tries left" in reply.answer.detail
    assert login_refused(401, b"")[1] == 300
    assert login_refused(401, USER_CHECK.format("locked", "9" * 30, 0).encode())[1] == 86_400


@given(st.integers(100, 599), st.binary(max_size=300))
def test_no_body_raises(http, body):
    reply = reply_of(http, body)
    assert (reply.answer.verdict == "done") == (reply.verdict == "ok")
    lock_of(body)


@given(st.sampled_from(["utf-8", "utf-16", "gb2312", "big5", "no-such"]), st.text(max_size=50))
def test_no_encoding_and_no_words_raise(encoding, words):
    head = f'<?xml version="1.0" encoding="{encoding}"?><ResponseStatus><statusString>'
    reply = reply_of(500, (head + words + "</statusString></ResponseStatus>").encode())
    assert reply.verdict == "faulty"
    assert reply.answer.detail.isprintable()


def test_values_are_found_by_local_names_and_nothing_is_no_error():
    root = tree_of(b'<a:DeviceCap xmlns:a="urn:psialliance-org"><a:SysCap><a:n> 8 </a:n></a:SysCap></a:DeviceCap>')
    assert text_at(root, "SysCap", "n") == "8"
    assert text_at(root, "SysCap", "m", "n") == text_at(None, "n") == ""


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/hostname">]>',
    ],
)
def test_a_document_that_would_unfold_or_read_files_is_none(head):
    body = f"{head}<ResponseStatus><statusCode>1</statusCode><statusString>&a;</statusString></ResponseStatus>".encode()
    assert tree_of(body) is None
    assert values_of(body) == {}
