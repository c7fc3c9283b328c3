"""The sink `webhook`: signatures, CloudEvents and targets. What it does with answers is in test_sinks.py."""

import base64
import json
import socket
import ssl
import subprocess

import pytest
from msgspec import structs

from router.posting import Poster
from router.retry import ACCEPTED
from router.sinks import Notice, open_sink
from router.sinks.webhook import body_of, key_of, signature
from schemas.codec import encode
from schemas.problems import BadDocument
from tests.support.alerts import OPENED_AT, opened, resolved
from tests.support.receiver import Receiver

OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()
NEW = "whsec_" + base64.b64encode(b"n" * 64).decode()


def notice(alert):
    return Notice(alert, encode(alert), "north")


def open_webhook(**entry):
    return open_sink({"name": "desk", "kind": "webhook"} | entry, "routes.yaml: sinks[0]", {})


async def delivered(sink, told=None):
    try:
        return await sink.deliver(told or notice(opened()))
    finally:
        await sink.close()


# Signatures


def test_the_signature_is_the_published_one():
    """Test vector of the Standard Webhooks libraries."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secrets[0]")
    made = signature([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_while_keys_change_a_delivery_is_signed_with_each_over_the_bytes_that_are_sent():
    with Receiver() as receiver:
        assert await delivered(open_webhook(url=receiver.url, secrets=[OLD, NEW])) == ACCEPTED
    (got,) = receiver.got
    name, at = got.headers["webhook-id"], int(got.headers["webhook-timestamp"])
    keys = [key_of(OLD, ""), key_of(NEW, "")]
    assert got.headers["webhook-signature"].split(" ") == [signature([key], name, at, got.body) for key in keys]
    assert keys[0] != keys[1]


async def test_without_secrets_nothing_is_signed():
    with Receiver() as receiver:
        await delivered(open_webhook(url=receiver.url))
    assert "webhook-signature" not in receiver.got[0].headers


@pytest.mark.parametrize(
    "secret", ["geheim", "whsec_geheim", OLD.removeprefix("whsec_"), "whsec_" + "QUFB" * 7, "whsec_" + "QUFB" * 22]
)  # fmt: skip
def test_a_secret_that_is_none_is_refused_with_its_place_and_never_repeated(secret):
    with pytest.raises(BadDocument) as refused:
        open_webhook(url="http://127.0.0.1:1/", secrets=[NEW, secret])
    assert "sinks[0].secrets[1]: expected whsec_" in str(refused.value)
    assert secret.removeprefix("whsec_") not in str(refused.value)


async def test_a_traced_alert_takes_its_trace_along():
    traced = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with Receiver() as receiver:
        await delivered(open_webhook(url=receiver.url), structs.replace(notice(opened()), traceparent=traced))
        await delivered(open_webhook(url=receiver.url))
    assert [got.headers.get("traceparent") for got in receiver.got] == [traced, None]


# CloudEvents


async def test_the_body_may_be_a_cloudevent():
    told = notice(resolved(opened()))
    with Receiver() as receiver:
        await delivered(open_webhook(url=receiver.url, format="cloudevents", secrets=[NEW]), told)
    (got,) = receiver.got
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert "webhook-signature" in got.headers
    event = got.json
    assert event.pop("data") == json.loads(encode(told.alert))
    assert event == {
        "specversion": "1.0",
        "id": told.delivery_id,
        "source": "/backsight/north",
        "type": "backsight.alert.resolved",
        "time": "2023-11-14T22:13:25.000Z",
        "datacontenttype": "application/json",
        "subject": f"{told.alert.camera_id}/{told.alert.roi}",
    }


def test_several_in_company_are_one_event_without_a_subject():
    told = notice(opened(0)).with_company([notice(opened(1))], folded=True)
    event = json.loads(body_of(told, "cloudevents"))
    assert event["type"] == "backsight.alerts.summary"
    assert "subject" not in event
    assert len(event["data"]["alerts"]) == 2
    assert event["time"].startswith("2023-11-14"), OPENED_AT


# Targets


@pytest.mark.parametrize(
    ("url", "listed", "said"),
    [
        ("http://10.0.0.7/geheim", ["192.168.0.0/16"], "url: is 10.0.0.7, which is not in allowed_targets"),
        ("http://desk.plant/geheim", ["other.plant"], "url: is not in allowed_targets"),
        ("http://169.254.169.254/geheim", None, "which is not public and not in allowed_targets"),
        ("http://10.0.0.7/geheim", ["10.0.0.7:80"], r"allowed_targets[0]: '10.0.0.7:80' is neither"),
    ],
)
def test_a_target_that_is_not_allowed_is_refused_with_its_place(url, listed, said):
    with pytest.raises(BadDocument) as refused:
        open_webhook(url=url, allowed_targets=listed)
    assert "routes.yaml: sinks[0]" in str(refused.value)
    assert said in str(refused.value)
    assert "geheim" not in str(refused.value)


@pytest.fixture
def dns(monkeypatch):
    """Names and the addresses they have now; the machine's own resolver is not asked."""
    names = {}

    def answer(host, *_rest, **_more):
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in names[host]]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return names


async def test_a_name_that_comes_to_resolve_to_this_plant_is_not_followed(dns, monkeypatch):
    """DNS rebinding: public when the configuration was read, ours when it is told."""
    dns["desk.example"] = ["93.184.216.34"]
    with Receiver() as receiver:
        sink = open_webhook(url=f"http://desk.example:{receiver.port}/hook")
        dns["desk.example"] = ["127.0.0.1"]
        answer = await delivered(sink)
    assert (answer.verdict, answer.reason) == ("later", "forbidden_target")
    assert answer.detail == "resolves to 127.0.0.1, which is not public and not in allowed_targets"
    assert receiver.got == []


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(dns):
    with Receiver() as receiver:
        dns["desk.plant"] = ["127.0.0.9", "127.0.0.1"]  # nobody listens at the first
        sink = open_webhook(
            url=f"http://desk.plant:{receiver.port}/hook", allowed_targets=["desk.plant", "127.0.0.0/8"]
        )
        assert await sink.deliver(notice(opened())) == ACCEPTED
        dns.clear()  # kept for a while: a receiver is not lost with every answer that the DNS does not give
        assert await delivered(sink) == ACCEPTED
    assert receiver.got[0].headers["host"] == f"desk.plant:{receiver.port}"


async def test_a_name_that_is_gone_is_tried_again(dns):
    answer = await delivered(open_webhook(url="http://desk.example/"))
    assert (answer.verdict, answer.reason) == ("later", "dns")


# Certificates


def certificate(folder, *options):
    key, made = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", made]
    subprocess.run([*command, *options], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return str(made), context


async def test_an_authority_of_ones_own_is_trusted_for_its_names_only(dns, tmp_path):
    own, context = certificate(
        tmp_path, "-days", "1", "-subj", "/CN=desk.plant", "-addext", "subjectAltName=DNS:desk.plant"
    )
    dns["desk.plant"] = dns["other.plant"] = ["127.0.0.1"]
    listed = ["*.plant", "127.0.0.0/8"]
    with Receiver(tls=context) as receiver:
        for host, verdict in (("desk.plant", "done"), ("other.plant", "later")):
            url = f"https://{host}:{receiver.port}/hook"
            sink = open_webhook(url=url, ca_file=own, allowed_targets=listed, timeout_seconds=30)
            answer = await delivered(sink)
            assert answer.verdict == verdict, answer
    assert answer.reason == "tls"
    assert len(receiver.got) == 1


def test_a_ca_file_that_is_none_is_refused():
    with pytest.raises(BadDocument, match="ca_file: cannot be read"):
        open_webhook(url="https://127.0.0.1/", ca_file="/no-such-file.pem")


async def test_closed_it_may_begin_again():
    with Receiver() as receiver:
        poster = Poster(receiver.url, deadline_seconds=5)
        for _ in range(2):
            assert await poster.post(b"{}", {}) == ACCEPTED
            await poster.close()


async def test_a_login_in_the_url_is_sent_as_a_header_and_never_in_the_path():
    with Receiver() as receiver:
        url = receiver.url.replace("://", "://gate%40plant:p%3Aw@")
        assert await delivered(open_webhook(url=url)) == ACCEPTED
        assert receiver.got[0].headers["authorization"] == "Basic " + base64.b64encode(b"gate@plant:p:w").decode()
        assert "plant" not in receiver.got[0].path + receiver.got[0].headers["host"]
