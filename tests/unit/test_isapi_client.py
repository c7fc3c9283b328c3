"""Logging in to a device that is as difficult as devices are, and finding out what it can do."""

import asyncio
import threading
import time

import pytest

from router.isapi import client as client_module
from router.isapi.client import Device, address_of
from router.isapi.discovery import Capabilities, capabilities_of, discover, failed
from router.isapi.profile import Profile, Request
from router.posting import trusting
from router.retry import ACCEPTED
from tests.support.fake_nvr import BUSY_ANSWERS, NAMESPACES, FakeNvr

INFO = Request("GET", "/ISAPI/System/deviceInfo")
HIGH = Profile().output.request(1, True)


@pytest.fixture(autouse=True)
def _nobody_was_refused_before(monkeypatch):
    """Ports are used again; who was refused at one is remembered for the life of the process."""
    monkeypatch.setattr(client_module, "_DOORS", {})


async def ask(nvr, *requests, url=None, **options):
    device = Device(address_of(url or nvr.full_url), **options)
    try:
        return [await device.ask(request) for request in requests]
    finally:
        await device.close()


def verdicts(replies):
    return [reply.verdict for reply in replies]


@pytest.mark.parametrize("challenge", ["MD5", "SHA-256", "MD5-and-SHA-256", "none"])
async def test_a_login_works_however_it_is_asked_for(challenge):
    with FakeNvr(challenge=challenge) as nvr:
        assert verdicts(await ask(nvr, INFO, HIGH)) == ["ok", "ok"]
        assert nvr.on == {"output 1"}


@pytest.mark.parametrize("challenge", ["SHA-1024", "basic"])
async def test_a_login_that_we_do_not_know_is_said_and_sends_no_password(challenge):
    with FakeNvr(challenge=challenge) as nvr:
        (reply,) = await ask(nvr, INFO)
        assert (reply.answer.verdict, reply.answer.reason) == ("later", "unauthorized")
        assert "a login is wanted that we do not have" in reply.answer.detail
        assert nvr.logins == 0


@pytest.mark.parametrize("dead", ["stale", "stale false", "no challenge"])
@pytest.mark.parametrize("habit", [{"nonce_uses": 1}, {"nonce_uses": 2}, {"nonce_seconds": 0.4}])
async def test_nonces_that_end_are_never_used_up(habit, dead):
    with FakeNvr(at_a_dead_nonce=dead, **habit) as nvr:
        replies = []
        device = Device(address_of(nvr.full_url))
        for _ in range(3):
            replies.append(await device.ask(INFO))
            await asyncio.sleep(nvr.nonce_seconds or 0)
        await device.close()
        assert verdicts(replies) == ["ok"] * 3
        assert nvr.logins == 3


async def test_a_stale_nonce_is_made_good_at_once():
    with FakeNvr(stale_next=1) as nvr:
        assert verdicts(await ask(nvr, HIGH)) == ["ok"]
        assert nvr.logins == 2
        assert nvr.switched("output 1") == [True]


@pytest.mark.parametrize("dead", ["stale false", "no challenge"])
async def test_a_login_that_was_taken_before_is_tried_once_more_and_not_twice(dead):
    with FakeNvr(at_a_dead_nonce=dead) as nvr:
        device = Device(address_of(nvr.full_url))
        assert (await device.ask(INFO)).verdict == "ok"
        nvr.stale_next = 1
        assert (await device.ask(INFO)).verdict == "ok"
        nvr.stale_next = 9
        assert (await device.ask(INFO)).verdict == "login"
        assert nvr.logins == 5
        await device.close()


async def test_a_refused_login_is_tried_once_and_nothing_is_sent_for_minutes():
    with FakeNvr() as nvr:
        replies = await ask(nvr, *[INFO] * 10, url=nvr.url.replace("://", "://admin:wrong@"))
        assert set(verdicts(replies)) == {"login"}
        assert nvr.logins == 1
        assert all(reply.answer.verdict == "later" for reply in replies)
        assert 290_000 < replies[-1].answer.retry_after_ms <= 300_000
        assert "4 tries left" in replies[-1].answer.detail
        assert "wrong" not in str([reply.answer for reply in replies])


async def test_a_second_sink_with_the_same_wrong_password_costs_no_second_login():
    with FakeNvr() as nvr:
        wrong = nvr.url.replace("://", "://admin:wrong@")
        await ask(nvr, INFO, url=wrong)
        assert verdicts(await ask(nvr, INFO, url=wrong)) == ["login"]
        assert nvr.logins == 1
        assert verdicts(await ask(nvr, INFO)) == ["ok"], "the right password is another matter"


async def test_a_locked_device_gets_no_further_login_until_it_said_so():
    with FakeNvr(lock_after=1) as nvr:
        (reply,) = await ask(nvr, INFO, url=nvr.url.replace("://", "://admin:wrong@"))
        assert "locked for 1800 s" in reply.answer.detail
        assert reply.answer.retry_after_ms == 1_800_000
        # The right password now meets the lock, before a password is even asked for.
        replies = await ask(nvr, INFO, INFO)
        assert verdicts(replies) == ["login", "login"]
        assert nvr.logins == 1


async def test_a_lock_while_we_are_trusted_is_not_answered_with_another_try():
    with FakeNvr() as nvr:
        device = Device(address_of(nvr.full_url))
        assert (await device.ask(INFO)).verdict == "ok"
        nvr.locked_until = time.monotonic() + 600
        assert verdicts([await device.ask(INFO) for _ in range(3)]) == ["login"] * 3
        assert nvr.logins == 1
        await device.close()


@pytest.mark.parametrize("answer", BUSY_ANSWERS)
async def test_busy_is_later(answer):
    with FakeNvr(answers_next=[answer]) as nvr:
        assert verdicts(await ask(nvr, HIGH, HIGH)) == ["busy", "ok"]


async def test_a_device_that_stalls_is_given_up_in_time():
    stall = threading.Event()
    with FakeNvr(stall=stall) as nvr:
        begun = time.monotonic()
        (reply,) = await ask(nvr, HIGH, ask_seconds=0.6)
        assert (reply.answer.verdict, reply.answer.reason) == ("later", "timeout")
        assert time.monotonic() - begun < 1.6
        stall.set()


async def test_a_reset_after_it_obeyed_is_no_answer():
    with FakeNvr(reset_next=1) as nvr:
        (reply,) = await ask(nvr, HIGH)
        assert (reply.answer.verdict, reply.answer.reason) == ("later", "broken")
        assert nvr.on == {"output 1"}


async def test_of_a_huge_answer_little_is_read():
    with FakeNvr(huge=True) as nvr:
        (reply,) = await ask(nvr, INFO)
        assert len(reply.body) < 1_000_000


async def test_a_success_may_have_no_body():
    with FakeNvr(without_body=True) as nvr:
        assert (await ask(nvr, HIGH))[0].answer == ACCEPTED


async def test_one_request_at_a_time_from_all_who_ask():
    with FakeNvr() as nvr:
        devices = [Device(address_of(nvr.full_url)) for _ in range(3)]
        await asyncio.gather(*[device.ask(INFO) for device in devices * 4])
        for device in devices:
            await device.close()
        assert nvr.most_at_once == 1
        assert len(nvr.asked) == 12


async def test_nobody_there_is_unreached_and_says_no_secret():
    with FakeNvr() as nvr:
        url = nvr.full_url
    (reply,) = await ask(nvr, INFO, url=url)
    assert (reply.verdict, reply.answer.verdict) == ("unreached", "later")
    assert nvr.password not in reply.answer.detail
    assert "127.0.0.1" not in reply.answer.detail


async def test_a_certificate_is_checked_by_the_file_and_the_name_that_are_given(self_signed):
    context, certificate = self_signed
    with FakeNvr(tls=context) as nvr:
        (reply,) = await ask(nvr, INFO)
        assert (reply.verdict, reply.answer.reason) == ("unreached", "tls")
        trusted = trusting(str(certificate))
        (reply,) = await ask(nvr, INFO, trusted=trusted)
        assert reply.answer.reason == "tls", "the name in it is not the host's"
        assert verdicts(await ask(nvr, INFO, trusted=trusted, tls_name="nvr.example")) == ["ok"]
        assert nvr.wrong_logins == 0


@pytest.fixture
def self_signed(tmp_path):
    """A recorder's own certificate, of another name than its address."""
    import shutil
    import ssl
    import subprocess

    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=nvr -addext subjectAltName=DNS:nvr.example"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


# Addresses


def test_user_and_password_stand_in_the_url_or_beside_it():
    assert address_of("http://user:p%40ss@[::1]:8080/nvr/") == ("http://[::1]:8080", "/nvr", "user", "p@ss")
    assert address_of("https://host", "user", "p@ss") == ("https://host", "", "user", "p@ss")
    assert address_of("http://host") == ("http://host", "", "", "")
    assert "p@ss" not in repr(address_of("https://host", "user", "p@ss"))


@pytest.mark.parametrize(
    ("url", "user", "password", "wrong"),
    [
        ("", None, None, "expected http"),
        ("ftp://host", None, None, "expected http"),
        ("http://user:hunter2@host/?x=1", None, None, "without a query"),
        ("http://user:hunter2@host:port/", None, None, "is no URL"),
        ("http://user:hunter/2@host/", None, None, "is no URL"),
        ("http://user@host/", None, None, "one without the other"),
        ("http://host/", "user", None, "one without the other"),
        ("http://user:hunter2@host/", "user", None, "stands in the url too"),
    ],
)
def test_an_address_that_cannot_work_is_refused_without_being_repeated(url, user, password, wrong):
    with pytest.raises(ValueError, match=wrong) as refused:
        address_of(url, user, password)
    assert "hunter" not in str(refused.value)


def test_a_certificate_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ca_file: cannot be read"):
        trusting(str(tmp_path / "no-such.pem"))
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ValueError, match="ca_file: cannot be read"):
        trusting(str(tmp_path / "empty.pem"))


# What a device can do


async def found(nvr, **options):
    device = Device(address_of(nvr.full_url), **options)
    try:
        return await discover(device, Profile())
    finally:
        await device.close()


@pytest.mark.parametrize("namespace", NAMESPACES)
async def test_capabilities_are_read_in_every_namespace(namespace):
    with FakeNvr(namespace=namespace) as nvr:
        capabilities, _ = await found(nvr)
    assert capabilities == Capabilities("DS-7608NXI-I2/8P/S", "V4.62.210", 4, 8, 1, records=True)
    assert capabilities.actions == ("soft_input", "output", "record")


async def test_a_camera_has_an_output_and_a_bare_one_nothing():
    with FakeNvr(soft_inputs=0, records=False) as camera:
        assert (await found(camera))[0].actions == ("output",)
    with FakeNvr(soft_inputs=0, outputs=0, records=False) as bare:
        capabilities, replies = await found(bare)
        assert capabilities.actions == ()
        assert failed(Profile(), replies) is None, "what is known is all there is"


async def test_firmware_without_capabilities_is_asked_for_its_list_of_outputs():
    with FakeNvr(old_firmware=True, outputs=2) as nvr:
        capabilities, replies = await found(nvr)
        assert capabilities.outputs == 2
        assert capabilities.actions == ("output",)
        assert failed(Profile(), replies) is None


async def test_a_refused_login_ends_the_discovery():
    with FakeNvr() as nvr:
        nvr.password, nvr.username = "another", "admin"
        device = Device(address_of(nvr.url, "admin", "wrong"))
        capabilities, replies = await discover(device, Profile())
        await device.close()
        assert capabilities == Capabilities()
        assert failed(Profile(), replies).verdict == "login"
        assert nvr.logins == 1


def test_numbers_that_are_none_count_nothing():
    from router.isapi.answers import tree_of

    said = tree_of(b"<DeviceCap><SysCap><IOCap><IOOutputPortNums>many</IOOutputPortNums></IOCap></SysCap></DeviceCap>")
    assert capabilities_of(None, said) == Capabilities()
