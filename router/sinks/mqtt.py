"""The sink `mqtt`: every alert as an event, and what is open in each ROI as a retained state. See docs/sinks/mqtt.md.

Everything is published at QoS 1 and delivered when the broker has acknowledged it.
"""

import asyncio
import time
import uuid
from typing import ClassVar, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr

from router.mqtt.discovery import Sensor, config_payload, config_topic
from router.mqtt.link import Broker, LinkFailed, Message, problem_of
from router.mqtt.session import Session
from router.mqtt.states import States
from router.mqtt.topics import Place, Topics, wrong_prefix
from router.posting import trusting
from router.records import record_of
from router.retry import ACCEPTED, Answer
from router.sinks import Notice
from schemas.documents.routes import SinkDocument


class MqttDocument(SinkDocument):
    """A broker, and the ``prefix`` of every topic. The login may stand in the URL instead.

    ``discovery``: the prefix under which Home Assistant looks for sensors, usually `homeassistant`.
    """

    kind: Literal["mqtt"]
    url: SecretStr
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None
    max_age_seconds: float = Field(default=72 * 3600.0, gt=0)
    version: Literal["v5", "v3.1.1"] = "v5"
    prefix: str = "backsight"
    discovery: str | None = None


class Mqtt:
    """Speaks to one broker, over one connection that is kept."""

    kind: ClassVar[str] = "mqtt"
    actuates: ClassVar[bool] = False
    document = MqttDocument

    def __init__(self, document: MqttDocument, broker: Broker) -> None:
        self.name = document.name
        self.lanes = document.lanes
        self.deadline_seconds = document.timeout_seconds
        self.max_age_seconds: float | None = document.max_age_seconds
        self._broker = broker
        self._topics = Topics(document.prefix)
        self._discovery = document.discovery
        self._by = uuid.uuid4().hex[:8]
        self._states = States(self._by)
        self._sensors: set[Sensor] = set()
        self._session: Session | None = None

    @classmethod
    def from_document(cls, document: MqttDocument) -> Self:
        """Raises `ValueError` where URL, login, certificate or prefixes do not check."""
        for key, prefix in (("prefix", document.prefix), ("discovery", document.discovery)):
            if prefix is not None and (wrong := wrong_prefix(prefix)) is not None:
                raise ValueError(f"{key}: {wrong}")
        return cls(document, broker_of(document))

    @property
    def hosts(self) -> tuple[str, ...]:
        """What it connects to."""
        return (self._broker.host,)

    async def begin(self) -> None:
        """Connects on its own: so that we are online before there is an alert."""
        if self._session is None:
            self._session = Session(
                self._broker,
                f"backsight-{self.name}-{self._by}",
                self._topics,
                seconds=self.deadline_seconds / 2,
                heard=self._heard,
                greets=self._known,
            )

    async def deliver(self, notice: Notice) -> Answer:
        """An event for each member and the states of their places."""
        await self.begin()
        assert self._session is not None
        try:
            link = await self._session.link()
        except LinkFailed as failed:
            return failed.answer
        # Nothing is awaited between these: the broker gets states in the order in which they came about.
        acks = await asyncio.gather(*[link.publish(message) for message in self._messages(notice)])
        problems = [problem for problem in map(problem_of, acks) if problem is not None]
        return problems[0] if problems else ACCEPTED

    async def close(self) -> None:
        """Says that we are gone. The sink may be told again afterwards."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _messages(self, notice: Notice) -> list[Message]:
        now = round(time.time() * 1000)
        messages: list[Message] = []
        places: dict[Place, None] = {}
        for member in notice.members:
            place = self._states.tell(member.alert, now)
            places[place] = None
            sensor = Sensor(place, member.alert.label)
            if self._discovery is not None and sensor not in self._sensors:
                self._sensors.add(sensor)
                messages.append(self._described(self._discovery, sensor))
        messages += [Message(self._topics.events, record_of(member)) for member in notice.members]
        return messages + [self._state(place) for place in places]

    def _known(self) -> list[Message]:
        """What a broker that keeps nothing forgets when it is begun again."""
        described = [self._described(self._discovery, each) for each in self._sensors] if self._discovery else []
        return described + [self._state(place) for place in self._states.told]

    def _heard(self, topic: str, payload: bytes, retained: bool) -> None:
        place = self._topics.place(topic)
        if place is not None and self._states.hear(place, payload, retained=retained) and self._session is not None:
            self._session.publish_soon(self._state(place))

    def _state(self, place: Place) -> Message:
        return Message(self._topics.state(place), self._states.payload(place), retain=True)

    def _described(self, discovery: str, sensor: Sensor) -> Message:
        return Message(config_topic(discovery, self._topics, sensor), config_payload(self._topics, sensor), retain=True)


def broker_of(document: MqttDocument) -> Broker:
    """Where the document points; raises `ValueError`, which names the key and never repeats the URL."""
    try:
        parts = urlsplit(document.url.get_secret_value())
        port = parts.port
    except ValueError:
        raise ValueError("url: is no URL") from None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError("url: expected mqtt://host:1883 or mqtts://host:8883")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("url: expected nothing after the port; topics are told by prefix")
    username, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
    if document.username is not None or document.password is not None:
        if username is not None or password is not None:
            raise ValueError("username, password: the url has a login already")
        username = document.username
        password = None if document.password is None else document.password.get_secret_value()
    if password is not None and not username:
        raise ValueError("username: is missing")
    tls = parts.scheme == "mqtts"
    if document.ca_file is not None and not tls:
        raise ValueError("ca_file: only mqtts:// has certificates")
    trusted = trusting(document.ca_file) if tls else None
    return Broker(parts.hostname, port or (8883 if tls else 1883), username, password, trusted, document.version)


SINK = Mqtt
