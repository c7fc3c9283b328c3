"""The sink `webhook`: a JSON POST per alert and phase, as Standard Webhooks 1.0 has it. See docs/sinks/webhook.md.

Body: ``{"type": "alert.opened" | "alert.resolved" | "alert.repeated", "timestamp": "<event time, ISO 8601>", "data":
<Alert>}``; of several in company ``alerts.grouped`` | ``alerts.summary`` with ``"data": {"alerts": [<Alert>, …]}``.
Headers: ``webhook-id`` (the same on every retry: what the receiver deduplicates by), ``webhook-timestamp`` (of this
attempt, Unix seconds) and, where there are secrets, ``webhook-signature``. A 2xx is a success, whatever its body does
afterwards; a redirect is a failure and is not followed.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal, Self
from urllib.parse import quote

import msgspec
from pydantic import Field, SecretStr

from router.posting import Poster
from router.retry import Answer
from router.sinks import Notice, iso
from router.targets import Allowed, allowed_of
from schemas.documents.routes import SinkDocument

Format = Literal["standard", "cloudevents"]
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - no secret, what one begins with
SECRET_BYTES: Final = range(24, 65)


class WebhookDocument(SinkDocument):
    """Where to POST, and how. The URL may hold a token: it is never shown.

    ``secrets`` sign, each on its own, so that a receiver may know the old or the new one while they change.
    """

    kind: Literal["webhook"]
    url: SecretStr
    max_age_seconds: float = Field(default=72 * 3600.0, gt=0)
    secrets: tuple[SecretStr, ...] = Field(default=(), max_length=8)
    format: Format = "standard"
    ca_file: str | None = None
    allowed_targets: tuple[str, ...] | None = None


class Webhook:
    """POSTs to one URL. No proxy from the environment, TLS verified, at most 64 KiB of an answer read."""

    kind: ClassVar[str] = "webhook"
    actuates: ClassVar[bool] = False
    document = WebhookDocument

    def __init__(
        self,
        url: str,
        *,
        deadline_seconds: float = 15.0,
        max_age_seconds: float | None = 72 * 3600,
        keys: Sequence[bytes] = (),
        form: Format = "standard",
        ca_file: str | None = None,
        allowed: Allowed | None = None,
    ) -> None:
        """Raises `ValueError` where URL, target or CA file do not check."""
        self.name = "webhook"
        self.lanes = 16
        self.deadline_seconds = deadline_seconds
        self.max_age_seconds = max_age_seconds
        self._keys = tuple(keys)
        self._form: Format = form
        self._poster = Poster(url, deadline_seconds=deadline_seconds, allowed=allowed, ca_file=ca_file)

    @classmethod
    def from_document(cls, document: WebhookDocument) -> Self:
        """Raises `ValueError` where URL, target, secrets or CA file do not check."""
        sink = cls(
            document.url.get_secret_value(),
            deadline_seconds=document.timeout_seconds,
            max_age_seconds=document.max_age_seconds,
            keys=[
                key_of(secret.get_secret_value(), f"secrets[{number}]")
                for number, secret in enumerate(document.secrets)
            ],
            form=document.format,
            ca_file=document.ca_file,
            allowed=allowed_of(document.allowed_targets),
        )
        sink.name, sink.lanes = document.name, document.lanes
        return sink

    async def deliver(self, notice: Notice) -> Answer:
        """One POST."""
        body = body_of(notice, self._form)
        now = int(time.time())
        cloud = self._form == "cloudevents"
        headers = {
            "content-type": "application/cloudevents+json" if cloud else "application/json",
            "webhook-id": notice.delivery_id,
            "webhook-timestamp": str(now),
        }
        if self._keys:
            headers["webhook-signature"] = signature(self._keys, notice.delivery_id, now, body)
        if notice.traceparent:
            headers["traceparent"] = notice.traceparent
        return await self._poster.post(body, headers)

    async def close(self) -> None:
        """Closes the connections."""
        await self._poster.close()


def key_of(secret: str, place: str) -> bytes:
    """The bytes of a secret as Standard Webhooks writes it. Raises `ValueError`, which never repeats it."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise ValueError(f"{place}: expected {SECRET_PREFIX} and the base64 of 24 to 64 random bytes")
    return key


def signature(keys: Sequence[bytes], name: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one `v1` signature per key over the exact bytes that are sent."""
    signed = f"{name}.{timestamp}.".encode() + body
    made = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)
    return " ".join(f"v1,{each}" for each in made)


def body_of(notice: Notice, form: Format = "standard") -> bytes:
    """The POST's body; ``data`` is the alert as it stands on the topic, or ``{"alerts": […]}`` of several."""
    data: object = msgspec.Raw(notice.line)
    several = bool(notice.company) or notice.folded
    if several:
        data = {"alerts": [msgspec.Raw(member.line) for member in notice.members]}
    links = [member.evidence_url for member in notice.members]
    shown: dict[str, Any] = (
        {} if links[0] is None else {"evidence_urls": links} if several else {"evidence_url": links[0]}
    )
    if form == "standard":
        return msgspec.json.encode({"type": notice.kind, "timestamp": iso(notice.instant), "data": data, **shown})
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": notice.delivery_id,
        "source": f"/backsight/{quote(notice.site, safe='')}".rstrip("/"),
        "type": f"backsight.{notice.kind}",
        "time": iso(notice.instant),
        "datacontenttype": "application/json",
    }
    if not several:
        event["subject"] = f"{notice.alert.camera_id}/{notice.alert.roi}"
    # CloudEvents has its own attributes beside data, lower case and without underscores.
    links_of_event = {name.replace("_", ""): value for name, value in shown.items() if isinstance(value, str)}
    return msgspec.json.encode({**event, **links_of_event, "data": data})


SINK = Webhook
