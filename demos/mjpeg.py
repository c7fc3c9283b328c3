"""A page with moving pictures, for a machine without a display: motion JPEG over HTTP."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

_PAGE: Final = (
    b"<!doctype html><meta charset=utf-8><title>Backsight</title>"
    b"<style>body{margin:0;background:#111}img{display:block;max-width:100vw;max-height:100vh;margin:auto}</style>"
    b'<img src="/stream.mjpg" alt="what the camera sees">'
)
_BOUNDARY: Final = "picture"
WAIT_SECONDS: Final = 10.0


class Page:
    """Serves `/` (a page), `/stream.mjpg` (every picture from now on) and `/picture.jpg` (the newest)."""

    def __init__(self, host: str, port: int) -> None:
        self._changed = threading.Condition()
        self._jpeg = b""
        self._number = 0
        self._closed = False
        self._server = ThreadingHTTPServer((host, port), self._handler())
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="page", daemon=True).start()

    def show(self, jpeg: bytes) -> None:
        """The picture to be seen from now on."""
        with self._changed:
            self._jpeg, self._number = jpeg, self._number + 1
            self._changed.notify_all()

    def close(self) -> None:
        """Ends every stream, and serving."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def _after(self, number: int) -> tuple[bytes, int] | None:
        """The newest picture once there is one after ``number``; None at the end."""
        with self._changed:
            came = self._changed.wait_for(lambda: self._closed or self._number > number, WAIT_SECONDS)
            return None if self._closed or not came else (self._jpeg, self._number)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        page = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/":
                    self._answer("text/html; charset=utf-8", _PAGE)
                elif self.path == "/picture.jpg":
                    found = page._after(0)
                    self._answer("image/jpeg", found[0]) if found else self.send_error(503)
                elif self.path == "/stream.mjpg":
                    self._stream()
                else:
                    self.send_error(404)

            def _answer(self, kind: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def _stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                number = 0
                try:
                    while found := page._after(number):
                        jpeg, number = found
                        head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:
                    return  # the viewer went away

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Answering
