"""Keeps a connection to a broker for as long as it is wanted: says that we are there, reads back what was told."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from router.mqtt.link import LOST, Broker, Link, LinkFailed, Message, problem_of
from router.mqtt.topics import Topics
from router.retry import Answer

FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 30.0
READ_BACK_SECONDS: Final = 2.0
"""Brokers that send what they retained before what is published now need a moment; others get no longer."""

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"


class Session:
    """One at a time; in one event loop.

    ``heard(topic, payload, retained)`` is called with what the broker says of states, ``greets()`` says what is told
    again on every new connection.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        topics: Topics,
        *,
        seconds: float,
        heard: Callable[[str, bytes, bool], None],
        greets: Callable[[], Sequence[Message]],
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._topics = topics
        self._seconds = seconds
        self._heard = heard
        self._greets = greets
        self._link: Link | None = None
        self._failed: Answer | None = None
        self._decided = asyncio.Event()
        self._wanted = asyncio.Event()
        self._came_back = asyncio.Event()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def link(self) -> Link:
        """The connection, as soon as there is one. Raises `LinkFailed` when the next attempt at it fails.

        A refused login is not tried again before its time: that is an answer at once.
        """
        if self._link is None and not (self._failed is not None and self._failed.reason == "unauthorized"):
            self._decided.clear()
            self._wanted.set()
            await self._decided.wait()
        if self._link is not None:
            return self._link
        raise LinkFailed(self._failed or LOST)

    def publish_soon(self, message: Message) -> None:
        """Publishes if there is a connection now; nobody waits for it."""
        if self._link is not None:
            self._link.publish(message)

    async def close(self) -> None:
        """Says that we are gone, and ends."""
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)

    async def _keep(self) -> None:
        wait = FIRST_WAIT_SECONDS
        while True:
            link = Link(self._broker, self._client_id, self._status(OFFLINE), self._hear)
            try:
                try:
                    await link.open(self._seconds)
                    await self._greet(link)
                except LinkFailed as failed:
                    self._decide(None, failed.answer)
                else:
                    wait = FIRST_WAIT_SECONDS
                    self._decide(link, None)
                    await link.lost.wait()
                    self._decide(None, LOST)
            finally:
                self._link = None
                await link.close(self._status(OFFLINE))
            await self._pause(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    async def _greet(self, link: Link) -> None:
        self._came_back.clear()
        granted = await link.subscribe([self._topics.status, self._topics.states])
        problem = problem_of(await link.publish(self._status(ONLINE)))
        if problem is not None:
            raise LinkFailed(problem)
        if granted:
            # Our own word comes back after what the broker had retained: so that is read.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READ_BACK_SECONDS):
                    await self._came_back.wait()
        for message in self._greets():
            problem = problem_of(await link.publish(message))
            if problem is not None:
                raise LinkFailed(problem)

    def _hear(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic != self._topics.status:
            self._heard(topic, payload, retained)
        elif payload == ONLINE and not retained:
            self._came_back.set()
        elif payload == OFFLINE:
            # The last will of a connection of ours that the broker held for alive until now, or another router's.
            self.publish_soon(self._status(ONLINE))

    def _decide(self, link: Link | None, failed: Answer | None) -> None:
        self._link, self._failed = link, failed
        self._decided.set()

    async def _pause(self, seconds: float) -> None:
        """Waits; after a moment no longer than until somebody has something to tell."""
        if self._failed is not None and self._failed.reason == "unauthorized":
            await asyncio.sleep(LONGEST_WAIT_SECONDS)
            return
        self._wanted.clear()
        await asyncio.sleep(FIRST_WAIT_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0, seconds - FIRST_WAIT_SECONDS)):
                await self._wanted.wait()

    def _status(self, word: bytes) -> Message:
        return Message(self._topics.status, word, retain=True)
