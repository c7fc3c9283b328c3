"""The sink `apprise`: mail, Slack, Teams, Telegram, ntfy and a hundred other services. See docs/sinks/apprise.md.

One Apprise URL per sink: of several it could only say that some of them failed. Trying again is the router's, so
Apprise's own is off, and so are redirects (it would take one for a success). Apprise runs in a thread and cannot be
stopped: after the deadline the message may still be delivered, and is told again. That is why the text holds the id.
"""

import asyncio
import importlib
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

import httpx
from pydantic import Field, SecretStr

from router.posting import trusting
from router.retry import ACCEPTED, Answer
from router.sinks import Notice, iso
from schemas.documents.routes import SinkDocument
from schemas.messages import Alert, Severity

DENIED: Final = frozenset({"dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows", "file"})
"""Schemas that reach this machine instead of somebody, and would answer that it went well."""

MOST_PICTURES: Final = 3
"""Of several alerts in company as many are attached; the rest are links."""
MAX_PICTURE_BYTES: Final = 8 * 1024 * 1024
PICTURE_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 0.25
"""A picture is kept some hundredths of a second after its alert, so the first look may be too early."""

_TYPES: Final[dict[Severity, str]] = {"critical": "failure", "warning": "warning", "info": "info"}


class AppriseDocument(SinkDocument):
    """The Apprise URL of one destination. It holds its tokens: it is never shown.

    ``attach``: the picture of an alert that opened is attached, where the service takes one and alerts carry links.
    """

    kind: Literal["apprise"]
    target: SecretStr
    max_age_seconds: float = Field(default=72 * 3600.0, gt=0)
    timeout_seconds: float = Field(default=30.0, gt=0, le=300, description="for a whole attempt")
    lanes: int = Field(default=2, ge=1, le=16, description="attempts under way at once, each in a thread")
    attach: bool = True


class Apprise:
    """Tells one destination in words; a message per notice, however many alerts it holds."""

    kind: ClassVar[str] = "apprise"
    actuates: ClassVar[bool] = False
    document = AppriseDocument

    def __init__(self, document: AppriseDocument) -> None:
        """Raises `ValueError` where Apprise is not installed or makes nothing of the target."""
        self.name = document.name
        self.lanes = document.lanes
        self.deadline_seconds = document.timeout_seconds
        self.max_age_seconds: float | None = document.max_age_seconds
        self._service = service_of(document.target.get_secret_value())
        self._attaches = document.attach and self._service[0].attachment_support
        self._trusted = trusting()
        self._threads: ThreadPoolExecutor | None = None

    @classmethod
    def from_document(cls, document: AppriseDocument) -> Self:
        """Raises `ValueError` where Apprise is not installed or makes nothing of the target."""
        return cls(document)

    async def deliver(self, notice: Notice) -> Answer:
        """One message. Apprise says whether it went well, not why."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.lanes, thread_name_prefix=f"apprise-{self.name}")
        title, text = words(notice)
        severity: Severity = min((member.alert.severity for member in notice.members), key=list(_TYPES).index)
        kind = "success" if notice.kind == "alert.resolved" else _TYPES[severity]
        pictures = await self._pictures(notice) if self._attaches else []
        telling = asyncio.get_running_loop().run_in_executor(self._threads, self._tell, title, text, kind, pictures)
        return await telling

    async def close(self) -> None:
        """Waits for no message under way. The sink may begin again afterwards."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    async def _pictures(self, notice: Notice) -> list[tuple[str, bytes]]:
        """Name and JPEG of what opened. One that is not to be had in time holds up no message: it has the link."""
        wanted = [each for each in notice.members if each.alert.phase == "opened" and each.evidence_url is not None]
        if not wanted:
            return []
        found: list[tuple[str, bytes]] = []
        until = time.monotonic() + min(PICTURE_SECONDS, self.deadline_seconds / 3)
        async with httpx.AsyncClient(verify=self._trusted, trust_env=False, follow_redirects=False) as client:
            for each in wanted[:MOST_PICTURES]:
                picture = await _picture(client, each.evidence_url or "", until)
                if picture is not None:
                    found.append((f"{each.alert.alert_id}.jpg", picture))
        return found

    def _tell(self, title: str, text: str, kind: str, pictures: Sequence[tuple[str, bytes]]) -> Answer:
        try:
            memory = importlib.import_module("apprise.attachment.memory").AttachMemory
            attached = [memory(content=content, name=name, mimetype="image/jpeg") for name, content in pictures]
            told = self._service.notify(
                body=text, title=title, notify_type=kind, body_format="text", attach=attached or None
            )
        except Exception as error:  # a plugin's mistake, and its text may hold the target
            return Answer("later", "broken", f"{type(error).__name__} in Apprise")
        return ACCEPTED if told else Answer("later", "broken", "Apprise could not deliver it")


async def _picture(client: httpx.AsyncClient, link: str, until: float) -> bytes | None:
    """What the link leads to, or None: not there by ``until`` (monotonic seconds), too large, or no picture."""
    while (left := until - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(left), client.stream("GET", link) as response:
                content = b""
                async for piece in response.aiter_bytes():
                    content += piece
                    if len(content) > MAX_PICTURE_BYTES:
                        return None
                if response.status_code == 200:
                    return content if response.headers.get("content-type") == "image/jpeg" else None
                if response.status_code not in (404, 503):
                    return None  # 404 and 503: not kept yet
        except (httpx.HTTPError, httpx.InvalidURL, OSError):  # a TimeoutError, too
            return None
        await asyncio.sleep(AGAIN_SECONDS)
    return None


def service_of(target: str) -> Any:
    """Apprise's object for a target. Raises `ValueError`, which never repeats the target."""
    try:
        apprise = importlib.import_module("apprise")
    except ImportError:
        raise ValueError("needs Apprise, which is not installed: pip install 'apprise>=2.2,<3'") from None
    try:
        schema = urlsplit(target).scheme.lower()
    except ValueError:
        schema = ""
    if schema in DENIED:
        raise ValueError(f"target: {schema}:// reaches only this machine")
    if target.count("://") > 1:
        raise ValueError("target: expected one URL; make a sink of each")
    asset = apprise.AppriseAsset(
        http_redirects=False, secure_logging=True, plugin_paths=[], storage_mode=apprise.PersistentStoreMode.MEMORY
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its plugins import what Python is about to drop
        service = apprise.Apprise.instantiate(target, asset=asset)
    if service is None:
        raise ValueError("target: Apprise makes nothing of it; expected a URL such as mailto://, slack:// or json://")
    service.retry, service.redirects = 0, False  # whatever the URL asks for
    only = apprise.Apprise(asset=asset)
    only.add(service)
    return only


def words(notice: Notice) -> tuple[str, str]:
    """Title and text: camera, ROI, label, severity, time and id of every alert."""
    members = notice.members
    first = members[0].alert
    if len(members) == 1 and not notice.folded:
        what = {"alert.repeated": "STILL OPEN"}.get(notice.kind, first.phase.upper())
        title = f"{first.severity.upper()} {what}: {first.label} in {first.roi} of {first.camera_id}"
    else:
        title = f"{len(members)} alerts" + (f" at {notice.site}" if notice.site else "")
    return _clean(title), "\n\n".join(_told(member) for member in members)


def _told(notice: Notice) -> str:
    alert: Alert = notice.alert
    lines = [
        f"{alert.severity}: {alert.label} ({alert.evidence.confidence:.0%}), {alert.phase}",
        f"camera {alert.camera_id}, ROI {alert.roi}" + (f", site {notice.site}" if notice.site else ""),
        f"opened {iso(alert.opened_at)}",
    ]
    if alert.resolved_at is not None:
        lines.append(f"resolved {iso(alert.resolved_at)} ({alert.reason})")
    if notice.evidence_url is not None:
        lines.append(notice.evidence_url)
    lines.append(f"alert {alert.alert_id}")
    return "\n".join(map(_clean, lines))


def _clean(text: str) -> str:
    """Names come from outside; a line stays one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


SINK = Apprise
