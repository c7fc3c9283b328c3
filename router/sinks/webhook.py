"""The sink `webhook`: a JSON POST per alert and phase, with the ids and times of Standard Webhooks 1.0.

Body: ``{"type": "alert.opened" | "alert.resolved" | "alert.repeated", "timestamp": "<event time, ISO 8601>", "data":
<Alert>}``; of several in company ``alerts.grouped`` | ``alerts.summary`` with ``"data": {"alerts": [<Alert>, …]}``.
Headers: ``webhook-id`` (the same on every retry: what the receiver deduplicates by) and ``webhook-timestamp``
(of this attempt, Unix seconds). A 2xx is a success, whatever its body does afterwards; a redirect is a failure and is
not followed. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import asyncio
import contextlib
import email.utils
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC
from typing import ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

import httpx
import msgspec
from pydantic import Field, SecretStr

from router.retry import ACCEPTED, Answer, Reason
from router.sinks import Notice, iso
from schemas.documents.routes import SinkDocument

CONNECT_SECONDS: Final = 5.0
BODY_SECONDS: Final = 1.0
"""The answer's body only serves to use the connection again, so it gets no longer."""
MAX_BODY_BYTES: Final = 64 * 1024

PERMANENT: Final[dict[int, Reason]] = {
    400: "rejected",
    401: "unauthorized",
    403: "unauthorized",
    404: "not_found",
    405: "rejected",
    410: "gone",
    413: "too_large",
    415: "rejected",
    422: "rejected",
}
"""Answers that trying again does not change. Everything else that is no success is tried again."""


class WebhookDocument(SinkDocument):
    """Where to POST. The URL may hold a token: it is never shown."""

    kind: Literal["webhook"]
    url: SecretStr
    max_age_seconds: float = Field(default=72 * 3600.0, gt=0)


class Webhook:
    """POSTs to one URL. No proxy from the environment, TLS verified, at most 64 KiB of an answer read."""

    kind: ClassVar[str] = "webhook"
    actuates: ClassVar[bool] = False
    document = WebhookDocument

    def __init__(self, url: str, *, deadline_seconds: float = 15.0, max_age_seconds: float | None = 72 * 3600) -> None:
        self.name = "webhook"
        self.lanes = 16
        self._url = url
        self.deadline_seconds = deadline_seconds
        self.max_age_seconds = max_age_seconds
        trusted = httpx.create_ssl_context()
        trusted.load_default_certs()  # the machine's own authorities beside those that httpx brings
        # Only connecting has a limit of its own: a limit per read does not stop a receiver that drips,
        # so the whole attempt has a deadline, kept by the caller.
        # A third: the TLS handshake has as much again, and httpcore leaves a socket open whose handshake is cancelled.
        timeout = httpx.Timeout(None, connect=min(CONNECT_SECONDS, deadline_seconds / 3))
        self._client = httpx.AsyncClient(verify=trusted, trust_env=False, follow_redirects=False, timeout=timeout)

    @classmethod
    def from_document(cls, document: WebhookDocument) -> Self:
        """Raises `ValueError` where the URL is none."""
        url = document.url.get_secret_value()
        wrong = check_url(url)
        if wrong is not None:
            raise ValueError(f"url: {wrong}")
        sink = cls(url, deadline_seconds=document.timeout_seconds, max_age_seconds=document.max_age_seconds)
        sink.name, sink.lanes = document.name, document.lanes
        return sink

    async def deliver(self, notice: Notice) -> Answer:
        """One POST. The status decides; a body that hangs or breaks after a 2xx does not undo the success."""
        headers = {
            "content-type": "application/json",
            "user-agent": "backsight",
            "webhook-id": notice.delivery_id,
            "webhook-timestamp": str(int(time.time())),
        }
        try:
            async with self._client.stream("POST", self._url, content=body_of(notice), headers=headers) as response:
                answer = answer_of(response.status_code, response.headers.get("retry-after"), now=time.time())
                with contextlib.suppress(TimeoutError, httpx.HTTPError):
                    await _read_some(response)
                return answer
        except httpx.HTTPError as error:
            return failure_of(error)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def check_url(url: str) -> str | None:
    """What is wrong with a webhook's URL, or None. The answer never repeats the URL."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises on a port that is no number
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        return "is no URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "expected https://host/path or http://host/path"
    return None


def body_of(notice: Notice) -> bytes:
    """The POST's body; ``data`` is the alert as it stands on the topic, or ``{"alerts": […]}`` of several."""
    data: object = msgspec.Raw(notice.line)
    if notice.company or notice.folded:
        data = {"alerts": [msgspec.Raw(member.line) for member in notice.members]}
    return msgspec.json.encode({"type": notice.kind, "timestamp": iso(notice.instant), "data": data})


def answer_of(status: int, retry_after: str | None, *, now: float) -> Answer:
    """What an HTTP status says of the attempt. ``now``: Unix seconds, for a `Retry-After` that is a date."""
    shown = str(status)
    if 200 <= status < 300:
        return ACCEPTED
    if 300 <= status < 400:
        return Answer("never", "redirect", shown)
    if status in PERMANENT:
        return Answer("never", PERMANENT[status], shown)
    reason: Reason = "rate_limited" if status == 429 else "server_error" if status >= 500 else "client_error"
    return Answer("later", reason, shown, retry_after_ms(retry_after, now=now))


def retry_after_ms(value: str | None, *, now: float) -> int | None:
    """`Retry-After` (seconds, or an HTTP date) as milliseconds from ``now``; None where it says nothing."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return int(value[:9]) * 1000  # nine digits are thirty years
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0, round((date.timestamp() - now) * 1000))


def failure_of(error: httpx.HTTPError) -> Answer:
    """An attempt without an answer. The texts are ours: a client's error may hold the whole URL."""
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Answer("later", "dns", "the host name is not known")
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Answer("later", "tls", f"certificate refused: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError):
            return Answer("later", "tls", cause.reason or "TLS failed")
    if isinstance(error, httpx.TimeoutException):
        return Answer("later", "timeout", "no connection in time")
    if isinstance(error, httpx.ConnectError):
        return Answer("later", "unreachable", "no connection")
    return Answer("later", "broken", f"{type(error).__name__} before an answer")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


async def _read_some(response: httpx.Response) -> None:
    read = 0
    async with asyncio.timeout(BODY_SECONDS):
        async for piece in response.aiter_raw():
            read += len(piece)
            if read >= MAX_BODY_BYTES:
                return


SINK = Webhook
