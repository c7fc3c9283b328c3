"""No credential survives, in whatever text it stands."""

import pytest

from runtime.redact import camera_place, redact

SECRETS = [
    "rtsp://admin:s3cretX@192.0.2.10:554/Streaming/Channels/101",
    "rtsp://cam.admin:s3cretX@192.0.2.10/1",
    "rtsp://user%40x:s3cretX@192.0.2.10/1",
    "rtsp://admin:p@s3cretX@192.0.2.10/1",
    "rtsp://admin:p/s3cretX@192.0.2.10/1",
    "rtsp://:s3cretX@192.0.2.10/1",
    "rtsp://admin:s3cretX@[2001:db8::1]:554/1",
    "rtsp://192.0.2.10/live?usr=admin&pwd=s3cretX",
    "https://hooks.example/in?token=s3cretX&x=1",
    "https://hooks.example/in?api_key=s3cretX",
]


@pytest.mark.parametrize("url", SECRETS)
@pytest.mark.parametrize(
    "text",
    ["{0}", "[Errno 1] could not open '{0}': denied", "{0} and {0}", "tcp://x?listen {0}\n{0}", '{{"url": "{0}"}}'],
)
def test_a_password_in_a_url_never_survives(url: str, text: str) -> None:
    assert "s3cretX" not in redact(text.format(url))


@pytest.mark.parametrize("url", SECRETS)
def test_a_camera_s_place_shows_its_host_and_no_secret(url: str) -> None:
    shown = camera_place(url)
    assert "s3cretX" not in shown
    assert "admin" not in shown
    assert any(host in shown for host in ("192.0.2.10", "2001:db8::1", "hooks.example"))


def test_an_authorization_header_is_hidden() -> None:
    assert "s3cretX" not in redact("sent Authorization: Bearer s3cretX, got 401")
    assert "s3cretX" not in redact("authorization=Basic s3cretX")


@pytest.mark.parametrize("text", ["plain words", "rtsp://192.0.2.10/1 is away", "/videos/a@b.mp4", "3 hits within 2 s"])
def test_text_without_credentials_stays_as_it_is(text: str) -> None:
    assert redact(text) == text
