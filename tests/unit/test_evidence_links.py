"""Signed links: they work for a while, for one alert, and nobody can make one up."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.settings import Settings, load_settings
from runtime.signing import BadLink, check_link, evidence_link, sign
from schemas.documents.services import EvidenceSettings, Services
from schemas.problems import BadDocument
from tests.support.alerts import OPENED_AT, opened

SECRET = "correct horse battery"
ALERT = opened().alert_id
HOUR_MS = 3_600_000
SIGNED = "a3c52ab24be9a46ecbd17bbb4d6c47f5780c20fce13a1996a0a0cd36e047555b"


def settings(**told: object) -> Settings:
    return Settings(services=Services(evidence=EvidenceSettings(**told)))


def link(now: int = OPENED_AT, **told: object) -> tuple[str, int, str]:
    """Path, expiry and signature of a link."""
    made = evidence_link(settings(base_url="https://plant.example/api/", sign_secret=SECRET, **told), ALERT, now)
    parts = urlsplit(made)
    query = parse_qs(parts.query)
    return f"{parts.scheme}://{parts.netloc}{parts.path}", int(query["expires"][0]), query["signature"][0]


def test_a_link_names_the_alert_under_the_address_that_receivers_reach():
    path, expires, signature = link()
    assert path == f"https://plant.example/api/alerts/{ALERT}/evidence.jpg"
    check_link(SECRET, ALERT, expires, signature, OPENED_AT)


def test_a_link_works_as_long_as_was_promised_and_an_hour_more_at_most():
    _, expires, signature = link(link_hours=2)
    check_link(SECRET, ALERT, expires, signature, OPENED_AT + 2 * HOUR_MS)
    with pytest.raises(BadLink, match="time is over"):
        check_link(SECRET, ALERT, expires, signature, OPENED_AT + 3 * HOUR_MS + 1)


def test_a_delivery_that_is_tried_again_carries_the_same_link():
    begin = OPENED_AT - OPENED_AT % HOUR_MS + 1000
    assert link(begin) == link(begin + 30 * 60_000)


@given(
    st.sampled_from(["alert", "expiry", "signature", "secret"]),
    st.integers(1, 10**9),
    st.text(max_size=70),
)
def test_a_link_of_which_anything_was_changed_is_refused(changed, by, text):
    _, expires, signature = link()
    with pytest.raises(BadLink, match="not ours"):
        check_link(
            SECRET + "!" if changed == "secret" else SECRET,
            opened(1).alert_id if changed == "alert" else ALERT,
            expires + by if changed == "expiry" else expires,
            text if changed == "signature" else signature,
            OPENED_AT,
        )


def test_the_signature_is_this_for_ever():
    """Links that were sent must work after an update."""
    assert sign(SECRET, "a4ccee1c-73c7-502a-a0ba-b85428f1e926", 1_700_000_000) == SIGNED


def test_without_an_address_there_is_no_link():
    assert evidence_link(settings(sign_secret=SECRET), ALERT, OPENED_AT) is None


def test_an_address_without_a_secret_is_refused_with_what_is_missing(tmp_path):
    (tmp_path / "services.yaml").write_text("evidence: {base_url: 'https://plant.example'}\n")
    with pytest.raises(BadDocument) as bad:
        load_settings(tmp_path, {})
    assert "EVIDENCE_SIGN_SECRET" in str(bad.value)
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    told = load_settings(tmp_path, {"EVIDENCE_SIGN_SECRET_FILE": str(tmp_path / "secret")})
    assert evidence_link(told, ALERT, OPENED_AT).startswith("https://plant.example/alerts/")
    assert SECRET not in repr(told)


@pytest.mark.parametrize("wrong", ["ftp://x", "plant.example", "https://x/?a=1"])
def test_an_address_that_is_none_is_refused(tmp_path, wrong):
    with pytest.raises(BadDocument, match="EVIDENCE_BASE_URL"):
        load_settings(tmp_path, {"EVIDENCE_BASE_URL": wrong, "EVIDENCE_SIGN_SECRET": SECRET})


def test_a_short_secret_is_refused_and_not_repeated(tmp_path):
    with pytest.raises(BadDocument, match="EVIDENCE_SIGN_SECRET") as bad:
        load_settings(tmp_path, {"EVIDENCE_SIGN_SECRET": "geheim"})
    assert "geheim" not in str(bad.value)
