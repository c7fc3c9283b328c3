"""The sink `hikvision`: something of a Hikvision recorder or camera is on while an alert is open.

The best of a soft alarm input, an alarm output and a manual recording that the device has, or the one that is asked
for. See docs/sinks/hikvision.md; the parts are in `router.isapi`. Verified against a simulator only.
"""

from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from router.isapi.client import ASK_SECONDS, Address, Device, address_of
from router.isapi.outputs import Limits
from router.isapi.profile import Action, Profile
from router.isapi.switchboard import Switchboard, Wiring
from router.posting import trusting
from router.retry import ACCEPTED, Answer
from router.sinks import Notice
from schemas.documents.routes import SinkDocument


class HikvisionDocument(SinkDocument):
    """A device, and what of it is turned on.

    ``port`` is the soft input's or the output's number, ``track`` the recording's; ``ports`` and ``tracks`` say it for
    single cameras. ``tls_name``: the name in the device's certificate, where that is not the URL's host.
    """

    kind: Literal["hikvision"]
    url: SecretStr
    username: str | None = None
    password: SecretStr | None = None
    max_age_seconds: float = Field(default=120.0, gt=0)
    action: Literal["auto", Action] = "auto"
    port: int = Field(default=1, ge=1, le=1024)
    track: int = Field(default=101, ge=1, le=99_999)
    ports: dict[str, int] = Field(default_factory=dict)
    tracks: dict[str, int] = Field(default_factory=dict)
    max_on_seconds: float = Field(default=60.0, ge=1, le=3600)
    min_on_seconds: float = Field(default=2.0, ge=0, le=60)
    ca_file: str | None = None
    tls_name: str | None = None
    profile: Profile = Profile()


class Hikvision:
    """Turns on while an alert is open, for ``max_on_seconds`` at most; off when it resolves, and at start and stop."""

    kind: ClassVar[str] = "hikvision"
    actuates: ClassVar[bool] = True
    document = HikvisionDocument

    def __init__(self, document: HikvisionDocument, address: Address) -> None:
        """Raises `ValueError` for a certificate file that cannot be read."""
        self.name = document.name
        self.lanes = document.lanes
        self.deadline_seconds = document.timeout_seconds
        self.max_age_seconds: float | None = document.max_age_seconds
        self._document = document
        self._address = address
        self._trusted = trusting(document.ca_file)
        self._board: Switchboard | None = None

    @classmethod
    def from_document(cls, document: HikvisionDocument) -> Self:
        """Raises `ValueError` where URL, login, certificate or times do not check."""
        secret = None if document.password is None else document.password.get_secret_value()
        address = address_of(document.url.get_secret_value(), document.username, secret)
        if not document.min_on_seconds < document.max_on_seconds:
            raise ValueError("min_on_seconds: must be less than max_on_seconds")
        if not document.min_on_seconds < document.timeout_seconds:
            raise ValueError("min_on_seconds: must be less than timeout_seconds, which an attempt may take")
        for key, numbers in (("ports", document.ports), ("tracks", document.tracks)):
            if any(number < 1 for number in numbers.values()):
                raise ValueError(f"{key}: a number below 1")
        return cls(document, address)

    @property
    def hosts(self) -> tuple[str, ...]:
        """What it connects to."""
        return (urlsplit(self._address.origin).hostname or "",)

    async def begin(self) -> None:
        """Turns off what a router that was killed may have left on."""
        if self._board is None:
            document = self._document
            wiring = Wiring(
                action=None if document.action == "auto" else document.action,
                port=document.port,
                track=document.track,
                ports=document.ports,
                tracks=document.tracks,
            )
            limits = Limits(round(document.min_on_seconds * 1000), round(document.max_on_seconds * 1000))
            device = Device(
                self._address,
                ask_seconds=min(ASK_SECONDS, document.timeout_seconds),
                trusted=self._trusted,
                tls_name=document.tls_name,
            )
            self._board = Switchboard(self.name, device, document.profile, wiring, limits)
            self._board.begin()

    async def deliver(self, notice: Notice) -> Answer:
        """Turns on for what opens, off for what resolves. Every step may be repeated: a level is set, not a pulse."""
        await self.begin()
        assert self._board is not None
        for member in notice.members:
            alert = member.alert
            if alert.phase == "opened":
                answer = await self._board.turn_on(alert.camera_id, alert.alert_id)
            else:
                answer = await self._board.turn_off(alert.alert_id)
            if answer.verdict != "done":
                return answer
        return ACCEPTED

    async def close(self) -> None:
        """Turns off what is on. The sink may begin again afterwards."""
        board, self._board = self._board, None
        if board is not None:
            await board.release()


SINK = Hikvision
