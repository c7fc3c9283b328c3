"""A small SMTP receiver in threads of its own: takes every mail, or refuses as it is told.

with MailReceiver() as mail:
    ... send to 127.0.0.1:mail.port ...
    mail.wait_for(1)[0]["Subject"]
"""

import contextlib
import email
import email.policy
import socketserver
import threading
from email.message import EmailMessage
from typing import Self


class MailReceiver:
    """Records mails. ``refusal``: the answer to the end of a mail instead of taking it."""

    def __init__(self, refusal: str | None = None) -> None:
        self.refusal = refusal
        self.mails: list[EmailMessage] = []
        self.port = 0
        self._changed = threading.Condition()
        self._server: _Server | None = None

    def wait_for(self, count: int, seconds: float = 30.0) -> list[EmailMessage]:
        """Waits until ``count`` mails have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.mails) >= count, seconds), f"{len(self.mails)} mails came"
            return list(self.mails)

    def take(self, content: bytes) -> str:
        """Records a mail; answers what is said of it."""
        if self.refusal is not None:
            return self.refusal
        with self._changed:
            self.mails.append(email.message_from_bytes(content, EmailMessage, policy=email.policy.default))
            self._changed.notify_all()
        return "250 taken"

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="mail", daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], receiver: MailReceiver) -> None:
        self.receiver = receiver
        super().__init__(address, _Connection)


class _Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        with contextlib.suppress(OSError):
            self._say("220 here")
            while line := self.rfile.readline(1024):
                verb = line[:4].upper()
                if verb == b"DATA":
                    self._say("354 go on")
                    self._say(self.server.receiver.take(self._mail()))
                elif verb == b"QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 well")

    def _mail(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
