"""The sink `redis`: an entry of a stream per alert and phase, or a message on a channel. See docs/sinks/redis.md.

An entry's fields are `id` (by which readers deduplicate), `type`, `timestamp`, `site`, `camera_id`, `roi`, `label`,
`severity`, `data`, the alert as JSON, and `evidence_url` where there is a link. A message is the record of
`router.records`.
"""

import re
import ssl
from typing import Any, ClassVar, Final, Literal, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, model_validator
from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import TimeoutError as NoAnswer

from router.outside import failure_of
from router.posting import trusting
from router.records import record_of
from router.retry import ACCEPTED, Answer
from router.sinks import Notice, iso
from schemas.documents.routes import SinkDocument

STREAM: Final = "backsight:alerts"

_PASSING: Final = ("MISCONF", "BUSY", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS", "LOADING", "READONLY", "OOM")
"""How a server begins a refusal that is about itself, not about what we asked."""
_WORD: Final = re.compile(r"(?:^|caused error: \(['\"])([A-Z]+)\b")
"""How a server's refusal begins; of several commands the client puts the command, with all it holds, before it."""


class RedisDocument(SinkDocument):
    """A Redis server, and either a ``stream`` (trimmed to about ``maxlen`` entries) or a ``channel``.

    The login may stand in the URL instead. ``nobody_listens``: whether a message that no subscriber got is tried again
    until somebody gets it, or is done.
    """

    kind: Literal["redis"]
    url: SecretStr
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None
    max_age_seconds: float = Field(default=72 * 3600.0, gt=0)
    stream: str | None = Field(default=None, min_length=1)
    channel: str | None = Field(default=None, min_length=1)
    maxlen: int | None = Field(default=100_000, ge=1, description="null: never trimmed")
    nobody_listens: Literal["wait", "done"] = "wait"

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.stream is not None and self.channel is not None:
            raise ValueError("stream, channel: expected one of them")
        return self


class Server(NamedTuple):
    """Where a URL points. ``password`` is a secret."""

    host: str
    port: int
    database: int
    tls: bool
    username: str | None
    password: str | None


class Redis:
    """Speaks to one server. Reconnects by itself; nothing is retried within an attempt."""

    kind: ClassVar[str] = "redis"
    actuates: ClassVar[bool] = False
    document = RedisDocument

    def __init__(self, document: RedisDocument, server: Server) -> None:
        self.name = document.name
        self.lanes = document.lanes
        self.deadline_seconds = document.timeout_seconds
        self.max_age_seconds: float | None = document.max_age_seconds
        self._document = document
        self._server = server
        self._client: Client | None = None

    @classmethod
    def from_document(cls, document: RedisDocument) -> Self:
        """Raises `ValueError` where URL, login or certificate do not check."""
        server = server_of(document.url.get_secret_value())
        if document.username is not None or document.password is not None:
            if server.username is not None or server.password is not None:
                raise ValueError("username, password: the url has a login already")
            secret = None if document.password is None else document.password.get_secret_value()
            server = server._replace(username=document.username, password=secret)
        if server.username is not None and server.password is None:
            raise ValueError("password: is missing")
        if document.ca_file is not None:
            if not server.tls:
                raise ValueError("ca_file: only rediss:// has certificates")
            trusting(document.ca_file)
        return cls(document, server)

    @property
    def hosts(self) -> tuple[str, ...]:
        """What it connects to."""
        return (self._server.host,)

    async def deliver(self, notice: Notice) -> Answer:
        """One round trip for all members."""
        if self._client is None:
            self._client = self._connected()
        try:
            if self._document.channel is not None:
                return await self._publish(self._client, self._document.channel, notice)
            return await self._add(self._client, self._document.stream or STREAM, notice)
        except (RedisError, OSError) as error:
            return answer_of(error)

    async def close(self) -> None:
        """Closes the connections. The sink may be told again afterwards."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _add(self, client: Client, stream: str, notice: Notice) -> Answer:
        # A transaction where there are several: after a failure none of them is there twice.
        async with client.pipeline(transaction=len(notice.members) > 1) as several:
            for member in notice.members:
                several.xadd(stream, _fields(member), maxlen=self._document.maxlen, approximate=True)
            await several.execute()
        return ACCEPTED

    async def _publish(self, client: Client, channel: str, notice: Notice) -> Answer:
        for member in notice.members:
            heard = await client.publish(channel, record_of(member))
            if not heard and self._document.nobody_listens == "wait":
                return Answer("later", "not_found", "nobody is subscribed to the channel")
        return ACCEPTED

    def _connected(self) -> Client:
        """Connects with the first command."""
        server, seconds = self._server, self.deadline_seconds
        return Client(
            host=server.host,
            port=server.port,
            db=server.database,
            username=server.username,
            password=server.password,
            ssl=server.tls,
            ssl_ca_certs=self._document.ca_file,
            ssl_min_version=ssl.TLSVersion.TLSv1_2,
            # Shorter than the attempt, so that the answer says which of the two it was.
            socket_connect_timeout=seconds / 3,
            socket_timeout=seconds * 0.9,
            retry=Retry(NoBackoff(), 0),
            client_name=f"backsight-{self.name}",
            protocol=2,
        )


def server_of(url: str) -> Server:
    """Where the URL points; raises `ValueError`, which never repeats it. Options after `?` are refused: some of them
    would turn the checking of certificates off."""
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        raise ValueError("url: is no URL") from None
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError("url: expected redis://host:port/0 or rediss://host:port/0")
    if parts.query or parts.fragment:
        raise ValueError("url: options after ? or # are not taken; expected redis://host:port/0")
    database = parts.path.removeprefix("/") or "0"
    if not (database.isascii() and database.isdigit()):
        raise ValueError("url: expected the number of a database after the host")
    login = [None if part is None else unquote(part) or None for part in (parts.username, parts.password)]
    return Server(unquote(parts.hostname), port, int(database), parts.scheme == "rediss", *login)


def answer_of(error: RedisError | OSError) -> Answer:
    """What a refusal or a failed connection means. The texts are ours."""
    if isinstance(
        error, AuthenticationError | AuthorizationError | NoPermissionError | AuthenticationWrongNumberOfArgsError
    ):
        what = "the user may not write there" if isinstance(error, NoPermissionError) else "the login was refused"
        return Answer("later", "unauthorized", what)
    if isinstance(error, BusyLoadingError | ReadOnlyError | OutOfMemoryError | ClusterDownError):
        return Answer("later", "server_error", type(error).__name__)
    if isinstance(error, NoAnswer):
        return Answer("later", "timeout", "no answer in time")
    if isinstance(error, ConnectionFailed | OSError):
        return failure_of(error)
    said = _WORD.search(str(error))
    word = said[1] if said else type(error).__name__
    if isinstance(error, ResponseError) and word in _PASSING:
        return Answer("later", "server_error", word)
    return Answer("never", "rejected", word)


def _fields(notice: Notice) -> dict[Any, Any]:  # the client's own types are wider
    alert = notice.alert
    link = {} if notice.evidence_url is None else {"evidence_url": notice.evidence_url}
    return {
        "id": notice.delivery_id,
        "type": notice.kind,
        "timestamp": iso(notice.instant),
        "site": notice.site,
        "camera_id": alert.camera_id,
        "roi": alert.roi,
        "label": alert.label,
        "severity": alert.severity,
        "data": notice.line,
        **link,
    }


SINK = Redis
