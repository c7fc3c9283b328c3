"""Links to evidence that work for a while, for people who have no account: signed, so that nobody can make one up."""

import hashlib
import hmac

from runtime.settings import Settings


class BadLink(Exception):
    """The link was not made here, or its time is over; says which."""


def sign(secret: str, alert_id: str, expires: int) -> str:
    """What proves that a link to the alert's evidence until ``expires`` (seconds UTC) was made with the secret."""
    said = f"evidence/1\n{alert_id}\n{expires}".encode()
    return hmac.new(secret.encode(), said, hashlib.sha256).hexdigest()


def check_link(secret: str, alert_id: str, expires: int, signature: str, now: int) -> None:
    """Raises `BadLink` unless the signature is the alert's and ``now`` (milliseconds UTC) is within its time."""
    if not hmac.compare_digest(sign(secret, alert_id, expires).encode(), signature.encode()):
        raise BadLink("the link's signature is not ours; was it cut off, or the secret changed?")
    if now > expires * 1000:
        raise BadLink("the link's time is over")


def evidence_link(settings: Settings, alert_id: str, now: int, file: str = "evidence.jpg") -> str | None:
    """The link to a file of the alert's evidence, from ``now`` (milliseconds UTC) on for `evidence.link_hours`.

    None where no `evidence.base_url` says under which address receivers reach the API. All links made within an hour
    are the same, so that a delivery that is tried again says the same.
    """
    told = settings.services.evidence
    if told.base_url is None or told.sign_secret is None:
        return None
    hour = 3600
    # Rounded up: never shorter than was promised.
    expires = -(-(now // 1000 + round(told.link_hours * hour)) // hour) * hour
    signature = sign(told.sign_secret.get_secret_value(), alert_id, expires)
    return f"{told.base_url.rstrip('/')}/alerts/{alert_id}/{file}?expires={expires}&signature={signature}"
