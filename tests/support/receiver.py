"""A real HTTP receiver with habits, good and bad, that records what it got.

    with Receiver() as receiver:
        receiver.habits = [Status(503), Status(429, retry_after="2"), Accept()]   # the last one stays
        ... POST to receiver.url ...
        receiver.wait_for(3)
        receiver.got[0].headers["webhook-id"]

It runs in threads of its own and speaks plain sockets, so that it can also break off, drip and stall.
"""

import contextlib
import json
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Got:
    """One request as it arrived."""

    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def delivery_id(self) -> str:
        """The header `webhook-id`."""
        return self.headers["webhook-id"]


Write = Callable[[bytes], None]


class Habit:
    """What the receiver does with a request after it has recorded it."""

    @property
    def takes(self) -> bool:
        """Whether it has the alert then, whatever the sender hears of it."""
        return True

    def answer(self, write: Write, receiver: "Receiver") -> None:
        """Writes an answer, or does something worse."""
        raise NotImplementedError


@dataclass(frozen=True)
class Status(Habit):
    """Answers with a status."""

    status: int = 200
    retry_after: str | None = None
    location: str | None = None
    body: bytes = b"ok"

    @property
    def takes(self) -> bool:
        return 200 <= self.status < 300

    def answer(self, write: Write, receiver: "Receiver") -> None:
        extra = f"Retry-After: {self.retry_after}\r\n" if self.retry_after else ""
        extra += f"Location: {self.location}\r\n" if self.location else ""
        head = f"HTTP/1.1 {self.status} Said\r\nContent-Length: {len(self.body)}\r\n{extra}\r\n"
        write(head.encode() + self.body)


@dataclass(frozen=True)
class Slow(Habit):
    """Answers 200 after a while."""

    seconds: float

    def answer(self, write: Write, receiver: "Receiver") -> None:
        receiver.closing.wait(self.seconds)
        Status().answer(write, receiver)


@dataclass(frozen=True)
class Drip(Habit):
    """Sends its head at once or in drips, and a byte of the rest every ``every`` seconds, for ever."""

    head_at_once: bool = True
    every: float = 0.1

    def answer(self, write: Write, receiver: "Receiver") -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
        if self.head_at_once:
            write(head)
            head = b""
        for byte in head or b"x" * 1_000_000:
            if receiver.closing.wait(self.every):
                return
            write(bytes([byte]))


@dataclass(frozen=True)
class Reset(Habit):
    """Processes the request and resets the connection instead of answering."""

    def answer(self, write: Write, receiver: "Receiver") -> None:
        raise ConnectionResetError


@dataclass(frozen=True)
class Huge(Habit):
    """Answers 200 and a gigabyte."""

    total: int = 1 << 30

    def answer(self, write: Write, receiver: "Receiver") -> None:
        write(f"HTTP/1.1 200 OK\r\nContent-Length: {self.total}\r\n\r\n".encode())
        piece = b"x" * 65536
        for _ in range(self.total // len(piece)):
            if receiver.closing.is_set():
                return
            write(piece)
            receiver.written += len(piece)


@dataclass
class Receiver:
    """The receiver. ``habits`` are used up one per request; the last one stays."""

    habits: list[Habit] = field(default_factory=lambda: [Status()])
    port: int = 0
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.got: list[Got] = []
        self.taken: list[Got] = []
        self.closing = threading.Event()
        self.written = 0
        self.at_once = 0
        self.most_at_once = 0
        self._changed = threading.Condition()
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """Where to POST."""
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        """Every `webhook-id` in the order of arrival."""
        return [got.delivery_id for got in list(self.got)]

    def wait_for(self, count: int, seconds: float = 30.0) -> list[Got]:
        """Waits until ``count`` requests have arrived."""
        return self.wait_until(lambda: len(self.got) >= count, seconds)

    def wait_until(self, true: Callable[[], bool], seconds: float = 30.0) -> list[Got]:
        """Waits until ``true`` holds; looked at after every request."""
        with self._changed:
            assert self._changed.wait_for(true, seconds), f"only {len(self.got)} requests came in {seconds:g} s"
            return list(self.got)

    def take(self, got: Got) -> Habit:
        """Records a request; answers what is done with it."""
        with self._changed:
            self.got.append(got)
            habit = self.habits[0] if len(self.habits) == 1 else self.habits.pop(0)
            if habit.takes:
                self.taken.append(got)
            self._changed.notify_all()
            return habit

    def begin(self) -> None:
        """A request is being answered."""
        with self._changed:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)

    def end(self) -> None:
        """A request is done with."""
        with self._changed:
            self.at_once -= 1

    def __enter__(self) -> Self:
        self.closing.clear()
        self._server = _Server(("127.0.0.1", self.port), self)
        self.port = self._server.server_address[1]
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="receiver", daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(address, _Connection)


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        receiver = self.server.receiver
        try:
            while (got := self._read()) is not None:
                receiver.begin()
                try:
                    receiver.take(got).answer(self._write, receiver)
                finally:
                    receiver.end()
        except ConnectionResetError:
            # Linger 0 makes close() send RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except (OSError, ValueError):
            pass  # the sender has gone

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def _write(self, content: bytes) -> None:
        self.wfile.write(content)
        self.wfile.flush()

    def _read(self) -> Got | None:
        first = self.rfile.readline(65536)
        if not first.strip():
            return None
        method, path, _ = first.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while line := self.rfile.readline(65536).decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", "0")))
        return Got(time.time(), method, path, headers, body)
