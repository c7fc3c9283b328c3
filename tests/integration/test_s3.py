"""Evidence and pictures on S3: a real server (moto's), the real driver, and credentials that never show."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import boto3
import pytest
import s3fs
from moto.server import ThreadedMotoServer

from evidence.store import Account, EvidenceStore
from runtime.picture_memory import PictureMemory
from runtime.store import BadStore, Store, StoreTrouble
from schemas.topics import DAY
from tests.support.alerts import OPENED_AT, opened
from tests.support.api import jpeg

SECRET = "s3cretX/+word"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty bucket; the driver finds server and credentials in the environment, as in production."""
    s3fs.S3FileSystem.clear_instance_cache()  # another test's server was another
    name = f"plant-{secrets.token_hex(4)}"
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-south-2")
    try:
        place = {"LocationConstraint": "eu-south-2"}
        boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=place)  # type: ignore[arg-type]
        yield f"s3://{name}"
    finally:
        server.stop()


def test_evidence_is_kept_found_replaced_and_forgotten(bucket: str) -> None:
    store, other = EvidenceStore(f"{bucket}/evidence", "p."), EvidenceStore(f"{bucket}/evidence", "p.")
    alert = opened()
    assert store.find(alert.alert_id, alert.opened_at, "evidence.jpg") is None
    store.put(alert.alert_id, alert.opened_at, "evidence.jpg", jpeg(10, 10))
    store.put(alert.alert_id, alert.opened_at, "evidence.jpg", jpeg(20, 20))
    store.write_account(Account(alert, alert.opened_at))
    assert other.find(alert.alert_id, alert.opened_at, "evidence.jpg") == jpeg(20, 20)
    assert other.account(alert.alert_id, alert.opened_at) == Account(alert, alert.opened_at)
    assert other.forget(alert.opened_at) == 0
    assert other.forget(alert.opened_at + 2 * DAY) == 2
    assert other.find(alert.alert_id, alert.opened_at, "evidence.jpg") is None


def test_pictures_are_kept_found_nearest_and_forgotten_by_day(bucket: str) -> None:
    memory, other = PictureMemory(f"{bucket}/pictures"), PictureMemory(f"{bucket}/pictures")
    for seconds in (0, 2, 4):
        memory.keep("gate", OPENED_AT + 1000 * seconds, jpeg(10 + seconds, 10))
    found = other.find("gate", OPENED_AT + 1900, 5000)
    assert found is not None
    assert (found.captured_at, found.jpeg()) == (OPENED_AT + 2000, jpeg(12, 10))
    memory.keep("gate", OPENED_AT + 6000, jpeg(16, 10))
    assert len(other.between("gate", OPENED_AT, OPENED_AT + 10_000)) == 4, "what another wrote is seen"
    assert other.forget(OPENED_AT + 2 * DAY) == 4
    assert memory.between("gate", OPENED_AT, OPENED_AT + 10_000) == []


@pytest.mark.parametrize("url", ["s3://AKIDEXAMPLE:{}@plant/pictures", "s3a://AKIDEXAMPLE:{}@plant"])
def test_credentials_in_the_url_are_refused_at_once_and_not_repeated(url: str) -> None:
    with pytest.raises(BadStore) as refused:
        Store(url.format(SECRET))
    assert "from the environment" in str(refused.value)
    assert not any(secret in str(refused.value) for secret in ("s3cretX", "word", "AKIDEXAMPLE"))


@pytest.mark.usefixtures("bucket")
def test_what_goes_wrong_says_no_credentials(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    store = Store("s3://nowhere/pictures")
    with pytest.raises(StoreTrouble) as trouble:
        store.put("gate/1.jpg", jpeg(), "keep a picture")
    said = str(trouble.value) + repr(trouble.value) + caplog.text
    for secret in ("s3cretX", "word", "AKIDEXAMPLE"):
        assert secret not in said, said
    assert trouble.value.__cause__ is None
