"""One connection to an MQTT broker: paho's client in a thread of its own, heard in an event loop."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from router.outside import failure_of
from router.retry import Answer

KEEP_ALIVE_SECONDS: Final = 30
LOST: Final = Answer("later", "broken", "the connection ended before an answer")

_UNAUTHORIZED: Final = ("Bad user name or password", "Not authorized", "Banned", "Bad authentication method")
_REFUSED: Final = ("Topic name invalid", "Topic filter invalid", "Payload format invalid", "Retain not supported")


class LinkFailed(RuntimeError):
    """It did not come about, or ended; carries what that means for an attempt."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(answer.detail)


class Broker(NamedTuple):
    """Where it is and who we are there. ``trusted`` None: no TLS. ``password`` is a secret."""

    host: str
    port: int
    username: str | None
    password: str | None
    trusted: ssl.SSLContext | None
    version: Literal["v3.1.1", "v5"]


class Message(NamedTuple):
    """What is published, at QoS 1."""

    topic: str
    payload: bytes
    retain: bool = False


Ack = asyncio.Future[ReasonCode | None]
"""None: the connection ended before there was one."""

Heard = Callable[[str, bytes, bool], None]
"""Called in the event loop with topic, payload, and whether the broker had retained it."""


class _ClosedOnFailure(ssl.SSLSocket):
    """paho leaves a socket open whose handshake failed."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


class Link:
    """Made in an event loop; opened once, and of no more use when ``lost`` is set."""

    def __init__(self, broker: Broker, client_id: str, will: Message, heard: Heard) -> None:
        self._loop = asyncio.get_running_loop()
        self._broker = broker
        self._heard = heard
        self._acks: dict[int, Ack] = {}
        self._greeted: Ack = self._loop.create_future()
        self.lost = asyncio.Event()
        v5 = broker.version == "v5"
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if v5 else True,
            protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        if broker.trusted is not None:
            broker.trusted.sslsocket_class = _ClosedOnFailure
            client.tls_set_context(broker.trusted)
        client.on_connect = lambda _client, _data, _flags, code, _properties: self._soon(self._greet, code)
        client.on_disconnect = lambda *_: self._soon(self._lose)
        client.on_publish = lambda _client, _data, mid, code, _properties: self._soon(self._settle, mid, code)
        client.on_subscribe = lambda _client, _data, mid, codes, _properties: self._soon(self._settle, mid, codes[0])
        client.on_message = self._take

    async def open(self, seconds: float) -> None:
        """Connects and logs in. Raises `LinkFailed`."""
        self._client.connect_timeout = max(0.1, seconds / 2)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.to_thread(self._client.connect, self._broker.host, self._broker.port, KEEP_ALIVE_SECONDS)
                self._client.loop_start()
                code = await self._greeted
        except OSError as error:  # a TimeoutError too
            raise LinkFailed(failure_of(error)) from None
        problem = problem_of(code)
        if problem is not None:
            raise LinkFailed(problem)

    async def subscribe(self, topics: Sequence[str]) -> bool:
        """Whether the broker grants the first of them. Raises `LinkFailed` where it does not answer."""
        if self._broker.version == "v5":
            error, mid = self._client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in topics])
        else:
            error, mid = self._client.subscribe([(topic, 1) for topic in topics])
        code = await self._ack(error, mid)
        if code is None:
            raise LinkFailed(LOST)
        return not code.is_failure

    def publish(self, message: Message) -> Ack:
        """Sends at once; `problem_of` what is awaited says whether the broker has it."""
        info = self._client.publish(message.topic, message.payload, qos=1, retain=message.retain)
        return self._ack(info.rc, info.mid)

    async def close(self, goodbye: Message | None = None, seconds: float = 1.0) -> None:
        """Says goodbye if there is anybody to say it to, and ends the thread."""
        if goodbye is not None and not self.lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.publish(goodbye)
        self._client.disconnect()
        self._lose()
        await asyncio.to_thread(self._client.loop_stop)

    def _ack(self, error: MQTTErrorCode, mid: int | None) -> Ack:
        """Is there before the loop can hear of it, so none is missed."""
        ack: Ack = self._loop.create_future()
        if error != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None or self.lost.is_set():
            ack.set_result(None)
        else:
            self._acks[mid] = ack
            ack.add_done_callback(lambda _: self._acks.pop(mid, None))
        return ack

    def _take(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._soon(self._heard, message.topic, message.payload, message.retain)

    def _soon(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(call, *arguments)

    def _greet(self, code: ReasonCode) -> None:
        if not self._greeted.done():
            self._greeted.set_result(code)

    def _settle(self, mid: int, code: ReasonCode) -> None:
        ack = self._acks.get(mid)
        if ack is not None and not ack.done():
            ack.set_result(code)

    def _lose(self) -> None:
        self.lost.set()
        for waiting in (self._greeted, *self._acks.values()):  # done callbacks run later, so none is popped meanwhile
            if not waiting.done():
                waiting.set_result(None)


def problem_of(code: ReasonCode | None) -> Answer | None:
    """What an acknowledgement means, by the name that MQTT 5 gives it; None for a success."""
    if code is None:
        return LOST
    if not code.is_failure:
        return None
    name = code.getName()
    if name in _UNAUTHORIZED:
        return Answer("later", "unauthorized", name)
    if name == "Packet too large":
        return Answer("never", "too_large", name)
    if name in _REFUSED:
        return Answer("never", "rejected", name)
    return Answer("later", "rate_limited" if "rate" in name or "Quota" in name else "server_error", name)
