"""What every sink owes, and what each does of its own."""

import asyncio
import io
import json
import shutil
import ssl
import subprocess
import sys

import httpx
import msgspec
import pytest

from router.posting import answer_of, check_url, failure_of, retry_after_ms
from router.retry import ACCEPTED, Answer
from router.sinks import Notice, SinkGone, iso, known_sinks, one_line_sink, open_sink
from router.sinks.stdout import Stdout, readable_line
from router.sinks.webhook import Webhook, body_of
from schemas.codec import encode
from schemas.documents.services import AlertingSettings
from schemas.messages import Alert, delivery_id
from schemas.problems import BadDocument
from tests.support.alerts import OPENED_AT, opened, resolved
from tests.support.receiver import Drip, Huge, Receiver, Reset, Status

SECRET = "hunter2"


def notice(alert: Alert) -> Notice:
    return Notice(alert, encode(alert))


# Every sink


@pytest.fixture(params=sorted(known_sinks()))
def kind(request):
    return known_sinks()[request.param]


EXAMPLES = {
    "url": "http://127.0.0.1:1/hook",
    "redis.url": "redis://127.0.0.1:1",
    "mqtt.url": "mqtt://127.0.0.1:1",
    "path": "alerts.jsonl",
    "bootstrap_servers": "127.0.0.1:1",
    "topic": "alerts",
    "target": "json://127.0.0.1:1/hook",
}
"""For every key that some kind of sink cannot do without; as `kind.key` where one kind wants another value."""


def entry(kind):
    needed = {name for name, field in kind.document.model_fields.items() if field.is_required()}
    examples = {key: EXAMPLES.get(f"{kind.kind}.{key}", EXAMPLES.get(key)) for key in needed - {"name", "kind"}}
    return {"name": "ours", "kind": kind.kind} | examples


def test_a_sink_is_found_by_its_file(kind):
    assert kind.__module__ == f"router.sinks.{kind.kind}"
    assert "ALERTING_PROTOCOL" not in (kind.__doc__ or "ALERTING_PROTOCOL"), "a sink says what it does"


async def test_a_sink_bounds_its_attempts_and_closes_unused(kind):
    sink = open_sink(entry(kind), "routes.yaml: sinks[0]", {})
    assert sink.name == "ours"
    assert 0 < sink.deadline_seconds <= 300
    assert sink.max_age_seconds is None or sink.max_age_seconds > 0
    assert sink.lanes >= 1
    await sink.close()


async def test_a_sink_can_be_told_what_every_sink_can(kind):
    sink = open_sink(entry(kind) | {"max_age_seconds": 60, "timeout_seconds": 3, "lanes": 2}, "sinks[0]", {})
    assert sink.max_age_seconds == 60
    await sink.close()


def test_a_key_that_a_sink_does_not_know_is_refused_with_its_place(kind):
    with pytest.raises(BadDocument, match=r"routes.yaml: sinks\[0\].colour"):
        open_sink(entry(kind) | {"colour": "red"}, "routes.yaml: sinks[0]", {})


def test_a_secret_that_is_not_set_is_named_and_a_sink_of_no_kind_is_refused():
    with pytest.raises(BadDocument, match=r"sinks\[0\].url: \$\{HOOK\} is not set"):
        open_sink({"name": "desk", "kind": "webhook", "url": "${HOOK}"}, "sinks[0]", {})
    with pytest.raises(BadDocument, match=r"sinks\[0\].kind: expected one of .*stdout.*webhook"):
        open_sink({"name": "desk", "kind": "pigeon"}, "sinks[0]", {})


def test_the_protocol_of_the_settings_names_a_sink_by_its_kind():
    sink = one_line_sink(AlertingSettings(protocol="webhook", webhook_url="http://host/", max_age_seconds=60))
    assert (sink.kind, sink.name, sink.max_age_seconds) == ("webhook", "webhook", 60)
    assert one_line_sink(AlertingSettings()).kind == "stdout"
    with pytest.raises(BadDocument, match=r"expected one of .*stdout.*webhook"):
        one_line_sink(AlertingSettings(protocol="pigeon"))


# Notices


def test_a_notice_has_one_id_per_alert_and_phase():
    alert = opened()
    assert notice(alert).delivery_id == f"{alert.alert_id}_0" == delivery_id(alert)
    assert notice(resolved(alert)).delivery_id == f"{alert.alert_id}_1"
    assert "." not in notice(alert).delivery_id


def test_a_notice_is_of_the_instant_of_its_phase():
    alert = opened()
    assert notice(alert).instant == OPENED_AT
    assert notice(resolved(alert, after_ms=5000)).instant == OPENED_AT + 5000
    assert iso(OPENED_AT + 123) == "2023-11-14T22:13:20.123Z"


# stdout


async def test_piped_a_line_is_the_exact_alert():
    out = io.BytesIO()
    sink = Stdout(out, readable=False)
    alerts = [opened(), resolved(opened())]
    assert [await sink.deliver(notice(alert)) for alert in alerts] == [ACCEPTED, ACCEPTED]
    assert out.getvalue().splitlines() == [encode(alert) for alert in alerts]


async def test_a_key_that_a_newer_stage_wrote_is_printed_too():
    out = io.BytesIO()
    newer = {**json.loads(encode(opened())), "clip": "later"}
    await Stdout(out, readable=False).deliver(Notice(opened(), json.dumps(newer, indent=1).encode()))
    assert out.getvalue().count(b"\n") == 1
    assert json.loads(out.getvalue()) == newer


async def test_on_a_terminal_a_line_is_readable_and_holds_no_control_characters():
    sly = msgspec.structs.replace(opened(), label="object\x1b[2J\n", roi="zone")
    line = readable_line(sly)
    assert "cam_nave3_hornos · zone: object?[2J? 87%, 3 hits" in line
    assert "CRITICAL  opened" in line
    assert line.isprintable()
    assert "object, after 5.0 s (quiet)" in readable_line(resolved(opened()))
    out = io.BytesIO()
    await Stdout(out, readable=True).deliver(notice(sly))
    assert out.getvalue().decode() == line + "\n"


async def test_a_reader_that_went_away_ends_the_stage():
    class Broken(io.BytesIO):
        def flush(self):
            raise BrokenPipeError

    with pytest.raises(SinkGone, match="nobody reads"):
        await Stdout(Broken(), readable=False).deliver(notice(opened()))


# webhook


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("https://host/path?token=x", None),
        ("http://user:p%40ss@[::1]:8080/", None),
        ("", "expected https"),
        ("ftp://host/", "expected https"),
        ("https:///path", "expected https"),
        ("//host/path", "expected https"),
        ("http://host:port/", "is no URL"),
        ("http://[::1/", "is no URL"),
        (f"host/{SECRET}", "expected https"),
    ],
)
def test_a_url_is_checked_before_anything_is_sent_and_never_repeated(url, wrong):
    found = check_url(url)
    assert (found is None) == (wrong is None)
    assert SECRET not in (found or "")
    if wrong is not None:
        assert wrong in found
        with pytest.raises(BadDocument, match="ALERTING_WEBHOOK_URL"):
            one_line_sink(AlertingSettings(protocol="webhook", webhook_url=url))


def test_a_link_to_the_evidence_stands_beside_the_alert_where_there_is_one():
    told = msgspec.structs.replace(notice(opened()), evidence_url="https://host/alerts/1/evidence.jpg?expires=9")
    assert json.loads(body_of(told))["evidence_url"] == told.evidence_url
    assert json.loads(body_of(told, "cloudevents"))["evidenceurl"] == told.evidence_url
    assert json.loads(body_of(told.with_company([told], folded=False)))["evidence_urls"] == [told.evidence_url] * 2
    assert "evidence_url" not in json.loads(body_of(notice(opened())))


def test_the_body_holds_type_event_time_and_the_alert_as_it_stands_on_the_topic():
    alert = resolved(opened())
    assert json.loads(body_of(notice(alert))) == {
        "type": "alert.resolved",
        "timestamp": iso(alert.resolved_at),
        "data": json.loads(encode(alert)),
    }
    assert encode(alert) in body_of(notice(alert))


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_2xx_is_a_success(status):
    assert answer_of(status, None, now=0) == ACCEPTED


@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308, 400, 404, 405, 410, 413, 415, 422])
def test_these_answers_are_final(status):
    assert answer_of(status, "7", now=0).verdict == "never"


@pytest.mark.parametrize("status", [401, 402, 406, 408, 409, 418, 423, 425, 429, 500, 501, 502, 503, 504, 599])
def test_every_other_failure_is_tried_again(status):
    assert answer_of(status, None, now=0).verdict == "later"


def test_the_words_for_an_answer_come_from_a_short_list():
    assert answer_of(429, "7", now=0) == Answer("later", "rate_limited", "429", 7000)
    assert answer_of(503, None, now=0) == Answer("later", "server_error", "503")
    assert answer_of(401, None, now=0) == Answer("later", "unauthorized", "401")
    assert answer_of(403, None, now=0) == Answer("later", "unauthorized", "403")
    assert answer_of(410, None, now=0) == Answer("never", "gone", "410")
    assert answer_of(302, None, now=0) == Answer("never", "redirect", "302")


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (None, None),
        ("7", 7000),
        (" 0 ", 0),
        ("9" * 40, 999_999_999_000),
        ("-1", None),
        ("soon", None),
        ("٣", None),
        ("Wed, 21 Oct 2015 07:28:10 GMT", 10_000),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, wait):
    assert retry_after_ms(value, now=1445412480.0) == wait  # 2015-10-21 07:28:00 UTC


def test_a_refused_certificate_says_why():
    error = httpx.ConnectError("cannot connect to https://user:hunter2@host/")
    cause = ssl.SSLCertVerificationError()
    cause.verify_message = "certificate has expired"
    error.__cause__ = cause
    assert failure_of(error) == Answer("later", "tls", "certificate refused: certificate has expired")


def secret_url(receiver: Receiver) -> str:
    return receiver.url.replace("://", f"://user:{SECRET}@") + f"?token={SECRET}"


async def attempt(receiver_or_url, *, deadline=2.0) -> Answer:
    """One attempt under the deadline that `router.lanes` keeps."""
    url = receiver_or_url if isinstance(receiver_or_url, str) else secret_url(receiver_or_url)
    sink = Webhook(url, deadline_seconds=deadline)
    try:
        async with asyncio.timeout(deadline):
            return await sink.deliver(notice(opened()))
    finally:
        await sink.close()


async def test_a_delivery_carries_its_id_and_the_time_of_the_attempt():
    with Receiver() as receiver:
        assert await attempt(receiver) == ACCEPTED
    (got,) = receiver.got
    assert got.method == "POST"
    assert got.path == f"/hook?token={SECRET}"
    assert got.delivery_id == delivery_id(opened())
    assert abs(int(got.headers["webhook-timestamp"]) - got.at) <= 2
    assert got.headers["content-type"] == "application/json"
    assert got.headers["authorization"].startswith("Basic ")
    assert got.json["data"]["alert_id"] == opened().alert_id


async def test_a_redirect_is_not_followed():
    with Receiver() as elsewhere, Receiver([Status(302, location=elsewhere.url)]) as receiver:
        assert await attempt(receiver) == Answer("never", "redirect", "302")
        assert elsewhere.got == []


async def test_a_receiver_that_resets_after_processing_is_tried_again():
    with Receiver([Reset()]) as receiver:
        answer = await attempt(receiver)
    assert (answer.verdict, answer.reason) == ("later", "broken")
    assert SECRET not in answer.detail


async def test_nobody_listening_is_unreachable_and_an_unknown_host_is_dns():
    with Receiver() as receiver:
        url = secret_url(receiver)
    assert await attempt(url) == Answer("later", "unreachable", "no connection")
    answer = await attempt(f"http://user:{SECRET}@no-such-host.invalid/", deadline=10)
    assert (answer.verdict, answer.reason) == ("later", "dns")


@pytest.fixture
def self_signed(tmp_path):
    """The TLS side of a receiver whose certificate nobody vouches for."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_refused_and_nothing_is_sent(self_signed):
    with Receiver(tls=self_signed) as receiver:
        answer = await attempt(secret_url(receiver), deadline=10)
    assert (answer.verdict, answer.reason) == ("later", "tls")
    assert "self" in answer.detail
    assert SECRET not in answer.detail
    assert receiver.got == []


async def test_a_receiver_that_speaks_no_tls_is_not_waited_for():
    with Receiver() as receiver:
        answer = await attempt(secret_url(receiver).replace("http://", "https://"))
    assert answer.verdict == "later"
    assert answer.reason in ("tls", "timeout")
    assert SECRET not in answer.detail


async def test_a_dripping_head_ends_at_the_deadline():
    with Receiver([Drip(head_at_once=False)]) as receiver, pytest.raises(TimeoutError):
        await attempt(receiver, deadline=0.5)


async def test_a_body_that_drips_after_a_2xx_does_not_undo_the_success():
    with Receiver([Drip()]) as receiver:
        assert await attempt(receiver, deadline=5) == ACCEPTED


async def test_of_a_huge_answer_little_is_read():
    with Receiver([Huge()]) as receiver:
        assert await attempt(receiver) == ACCEPTED
    assert receiver.written < 16 * 1024 * 1024  # what lay in the sockets' buffers


@pytest.mark.skipif(sys.platform != "linux", reason="the proxy variables are read there")
async def test_no_proxy_is_taken_from_the_environment(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with Receiver() as receiver:
        assert await attempt(receiver) == ACCEPTED
