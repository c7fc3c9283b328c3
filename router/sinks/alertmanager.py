"""The sink `alertmanager`: alerts as Prometheus Alertmanager has them, over its API v2. See docs/sinks/alertmanager.md.

Labels are the identity there, so they hold neither ids nor times, and alerts of the same camera, ROI, label and
severity are one: active while any of them is open. Alertmanager resolves what nobody posts again, so what is open is
posted again before `hold_seconds` are over. https://prometheus.io/docs/alerting/latest/alerts_api/
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, Literal, Self

import msgspec
from pydantic import Field, SecretStr

from router.posting import Poster
from router.retry import Answer
from router.sinks import Notice, iso
from router.targets import allowed_of
from runtime.logs import get_logger
from schemas.documents.routes import SinkDocument

PATH: Final = "/api/v2/alerts"
MOST_AT_ONCE: Final = 500
LONGEST_OPEN_MS: Final = 24 * 3_600_000
"""What nobody resolved for as long is not posted again: its resolve was lost, or is not told on this route."""
AGAIN_PER_HOLD: Final = 4
_LABEL_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

log = get_logger(__name__)

Labels = tuple[tuple[str, str], ...]


class AlertmanagerDocument(SinkDocument):
    """Where Alertmanager is (without `/api/v2/alerts`), and further labels for every alert.

    ``hold_seconds``: an alert resolves there when the router has not posted it for as long.
    """

    kind: Literal["alertmanager"]
    url: SecretStr
    max_age_seconds: float = Field(default=72 * 3600.0, gt=0)
    lanes: int = Field(default=1, ge=1, le=256, description="attempts under way at once")
    alertname: str = Field(default="Backsight", min_length=1, max_length=100)
    labels: dict[str, str] = Field(default_factory=dict)
    hold_seconds: float = Field(default=300.0, ge=1, le=86_400)
    ca_file: str | None = None
    allowed_targets: tuple[str, ...] | None = None


class Alertmanager:
    """Posts what opens and what resolves, and what is open again and again."""

    kind: ClassVar[str] = "alertmanager"
    actuates: ClassVar[bool] = False
    document = AlertmanagerDocument

    def __init__(self, document: AlertmanagerDocument) -> None:
        """Raises `ValueError` where URL, target, CA file or labels do not check."""
        for name in document.labels:
            if not _LABEL_NAME.fullmatch(name) or name == "alertname":
                raise ValueError(f"labels: {name!r} cannot be a label's name")
        self.name = document.name
        self.lanes = document.lanes
        self.deadline_seconds = document.timeout_seconds
        self.max_age_seconds: float | None = document.max_age_seconds
        self._hold_ms = round(document.hold_seconds * 1000)
        self._labels = {"alertname": document.alertname, **document.labels}
        self._poster = Poster(
            document.url.get_secret_value().rstrip("/") + PATH,
            deadline_seconds=document.timeout_seconds,
            allowed=allowed_of(document.allowed_targets),
            ca_file=document.ca_file,
        )
        self._open: dict[str, Notice] = {}
        self._again: asyncio.Task[None] | None = None

    @classmethod
    def from_document(cls, document: AlertmanagerDocument) -> Self:
        """Raises `ValueError` where URL, target, CA file or labels do not check."""
        return cls(document)

    async def begin(self) -> None:
        """From now on what is open is posted again."""
        if self._again is None:
            self._again = asyncio.get_running_loop().create_task(self._post_again())

    def know_open(self, notice: Notice) -> None:
        """See `router.sinks.Sink`."""
        self._open.setdefault(notice.alert.alert_id, notice)

    def forget(self, concerned: Callable[[Notice], bool]) -> None:
        """See `router.sinks.Sink`."""
        for name in [name for name, notice in self._open.items() if concerned(notice)]:
            del self._open[name]

    async def deliver(self, notice: Notice) -> Answer:
        """One POST with every member. What opens counts as open only when it was taken."""
        await self.begin()
        new: list[str] = []
        for member in notice.members:
            name = member.alert.alert_id
            if member.alert.phase == "resolved":
                self._open.pop(name, None)
            elif name not in self._open:
                new.append(name)
                self._open[name] = member
        answer = await self._post(self._told(notice.members, _now()))
        if answer.verdict != "done":
            for name in new:
                self._open.pop(name, None)
        return answer

    async def close(self) -> None:
        """Posts nothing again, and forgets what is open. The sink may begin again afterwards."""
        again, self._again = self._again, None
        if again is not None:
            again.cancel()
            await asyncio.gather(again, return_exceptions=True)
        self._open.clear()
        await self._poster.close()

    async def _post_again(self) -> None:
        while True:
            await asyncio.sleep(self._hold_ms / 1000 / AGAIN_PER_HOLD)
            now = _now()
            self.forget(lambda notice: now - notice.alert.opened_at > LONGEST_OPEN_MS)  # noqa: B023 - called at once
            told = self._told(self._open.values(), now)
            for some in (told[at : at + MOST_AT_ONCE] for at in range(0, len(told), MOST_AT_ONCE)):
                try:
                    async with asyncio.timeout(self.deadline_seconds):
                        answer = await self._post(some)
                except TimeoutError:
                    answer = Answer("later", "timeout")
                if answer.verdict != "done":
                    log.debug("not_posted_again", sink=self.name, reason=answer.reason, alerts=len(some))

    async def _post(self, posted: Iterable[dict[str, Any]]) -> Answer:
        content = msgspec.json.encode(list(posted))
        return await self._poster.post(content, {"content-type": "application/json"})

    def _told(self, notices: Iterable[Notice], now: int) -> list[dict[str, Any]]:
        """One entry for every identity among the notices, active where any alert of it is open."""
        company: dict[Labels, list[Notice]] = {}
        for notice in self._open.values():
            company.setdefault(self._identity(notice), []).append(notice)
        newest = {self._identity(notice): notice for notice in notices}
        return [
            posted(dict(labels), company.get(labels, []), notice, now + self._hold_ms)
            for labels, notice in newest.items()
        ]

    def _identity(self, notice: Notice) -> Labels:
        return tuple(sorted((self._labels | {key: value for key, value in notice.labels.items() if value}).items()))


def posted(labels: dict[str, str], still_open: list[Notice], newest: Notice, until: int) -> dict[str, Any]:
    """An entry of the POST. ``still_open``: alerts with these labels; ``until``: when it ends if nobody says more."""
    latest = max(still_open, key=lambda notice: notice.alert.opened_at, default=newest)
    shown, resolved_at = latest.alert, newest.alert.resolved_at
    begin = min(notice.alert.opened_at for notice in [*still_open, newest])
    end = until if still_open or resolved_at is None else max(resolved_at, begin + 1)
    link = {} if latest.evidence_url is None else {"evidence_url": latest.evidence_url}
    return {
        "labels": labels,
        "annotations": {
            "summary": f"{shown.label} in {shown.roi} of {shown.camera_id}",
            "alert_id": " ".join(notice.alert.alert_id for notice in still_open) or newest.alert.alert_id,
            "opened_at": iso(shown.opened_at),
            "confidence": f"{shown.evidence.confidence:.2f}",
            "hits": str(shown.hits),
            "roi_revision": shown.roi_revision,
            **link,
        },
        "startsAt": iso(begin),
        "endsAt": iso(end),
    }


def _now() -> int:
    return round(time.time() * 1000)


SINK = Alertmanager
