"""Connections of the sinks that POST: kept, made again, and given up without a trace."""

import asyncio
import contextlib

from router.posting import Poster
from router.retry import ACCEPTED

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """A receiver that shows each piece as it came from the socket. It gives its ``answers`` and then is silent, or
    ``ends`` the connection.
    """

    def __init__(self, *answers, ends=False):
        self.answers = answers
        self.ends = ends
        self.pieces = []
        self.connections = 0
        self._serving = []
        self.asked = asyncio.Event()
        self.ended = asyncio.Queue()

    async def _serve(self, reader, writer):
        self.connections += 1
        self._serving.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            for answer in self.answers:
                self.pieces.append(await reader.read(1 << 20))
                writer.write(answer)
            while not self.ends and (piece := await reader.read(1 << 20)):
                self.pieces.append(piece)
                self.asked.set()
        writer.close()
        self.ended.put_nowait(None)

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.poster = Poster(f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook", deadline_seconds=15)
        return self

    async def __aexit__(self, *_error):
        await self.poster.close()
        await asyncio.gather(*self._serving)
        self._server.close()
        await self._server.wait_closed()

    async def has_ended(self):
        """Waits until our side, too, has seen the end."""
        await self.ended.get()
        (connection,) = self.poster._idle
        while not connection.is_over:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)  # a turn of the one loop that both sides live in

    async def post(self, body=b"{}"):
        return await self.poster.post(body, {})


async def test_head_and_body_go_out_together():
    async with Peer(OK) as peer:
        assert await peer.post(b'{"type": "alert.opened"}') == ACCEPTED
    (piece,) = peer.pieces
    assert piece.startswith(b"POST /hook HTTP/1.1\r\nhost: 127.0.0.1:")
    assert piece.endswith(b'\r\ncontent-length: 24\r\n\r\n{"type": "alert.opened"}')


async def test_one_connection_serves_one_request_after_the_other():
    async with Peer(OK, OK, OK) as peer:
        for _ in range(3):
            assert await peer.post() == ACCEPTED
        assert peer.connections == 1


async def test_a_connection_that_the_receiver_ended_while_it_was_idle_costs_no_attempt():
    async with Peer(OK, ends=True) as peer:
        for _ in range(3):
            assert await peer.post() == ACCEPTED
            await peer.has_ended()
        assert peer.connections == 3


async def test_an_answer_that_nobody_has_asked_for_is_no_delivery():
    async with Peer(OK + OK, OK) as peer:
        assert await peer.post() == ACCEPTED
        answer = await peer.post(b"second")
        assert (answer.verdict, answer.reason) == ("later", "broken")
        assert await peer.post(b"second") == ACCEPTED
    assert [piece[-6:] for piece in peer.pieces if piece.endswith(b"second")] == [b"second"]
    assert peer.connections == 2


async def test_an_attempt_that_is_cancelled_holds_no_connection():
    async with Peer() as peer:
        attempt = asyncio.create_task(peer.post())
        await peer.asked.wait()
        attempt.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await attempt
        await asyncio.wait_for(peer.ended.get(), 15)
