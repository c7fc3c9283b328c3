"""A real RTSP server that plays video files as cameras would: for the demo and for tests.

Two halves in one file. `RtspServer` is what the rest of the program uses. Run as a script, the file is the server
itself: a program of its own under Debian's Python, since GStreamer's bindings (`gi`) are only there. The script
therefore imports nothing of ours.

Debian packages: gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
gstreamer1.0-plugins-bad python3-gi.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, Self
from urllib.parse import quote

SYSTEM_PYTHON: Final = "/usr/bin/python3"
START_SECONDS: Final = 20.0

_PROBE: Final = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('Gst', '1.0')\n"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None)\n"
    "names = ('qtdemux', 'h264parse', 'rtph264pay', 'appsrc')\n"
    "raise SystemExit(0 if all(Gst.ElementFactory.find(name) for name in names) else 1)\n"
)


class RtspServer:
    """Plays files over RTSP, in real time, from the first picture for every client. ``host`` is where it listens.

    ``files`` maps a mount (``yard-1``) to an MP4 file with H.264. With ``user`` and ``password`` a client must
    authenticate (digest or basic). ``loop`` begins a file again at its end without a break in the timestamps;
    otherwise the stream ends with the file.
    """

    def __init__(
        self,
        files: Mapping[str, Path],
        user: str | None = None,
        password: str | None = None,
        *,
        loop: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._files = {mount.strip("/"): str(Path(file).resolve()) for mount, file in files.items()}
        self._user = user
        self._password = password
        self._loop = loop
        self._host = host
        self._asked_port = port
        self._process: subprocess.Popen[str] | None = None
        self.port = port

    @staticmethod
    @cache
    def available() -> bool:
        """Whether GStreamer's RTSP server can be had on this machine."""
        if not Path(SYSTEM_PYTHON).exists():
            return False
        probe = subprocess.run([SYSTEM_PYTHON, "-c", _PROBE], capture_output=True, timeout=60, check=False)
        return probe.returncode == 0

    def start(self) -> Self:
        """Starts the server; raises `RuntimeError` with its own words when it does not come up."""
        asked = {
            "files": self._files,
            "user": self._user,
            "password": self._password,
            "loop": self._loop,
            "host": self._host,
            "port": self._asked_port,
        }
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # Through stdin, since every process of the machine can read a command line. The pipe stays open: when this
        # process dies without a word the server reads its end, and ends too.
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = _line_within(self._process.stdout, START_SECONDS)
        try:
            self.port = int(json.loads(answer)["port"])
        except (ValueError, KeyError):
            self.kill()
            raise RuntimeError(f"the RTSP server did not start: {answer.strip() or 'no answer'}") from None
        return self

    def url(self, mount: str, *, credentials: bool = True) -> str:
        """The camera URL of a mount, with user and password where the server wants them."""
        if self._user is None or not credentials:
            return f"rtsp://127.0.0.1:{self.port}/{mount}"
        return (
            f"rtsp://{quote(self._user, safe='')}:{quote(self._password or '', safe='')}@127.0.0.1:{self.port}/{mount}"
        )

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        return self._process is not None and self._process.poll() is None

    def freeze(self) -> None:
        """The server stops answering while its connections stay open, as a hung camera does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """The end of `freeze`."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends the server."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the server without a goodbye to its clients, as a power cut does. `start` brings it back."""
        self._end(signal.SIGKILL)

    def restart_on_same_port(self) -> Self:
        """Starts again where it was, so that clients find it."""
        self.kill()
        self._asked_port = self.port
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _line_within(pipe: IO[str], seconds: float) -> str:
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.append(pipe.readline()), daemon=True)
    reading.start()
    reading.join(seconds)
    return lines[0] if lines else ""


# ---- the script -----------------------------------------------------------------------------------------------------


def _serve() -> None:
    """Reads what to serve from stdin, prints the port, serves until stdin ends."""
    asked = json.loads(sys.stdin.readline())
    import gi  # type: ignore[import-not-found]

    gi.require_version("Gst", "1.0")
    gi.require_version("GstApp", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # type: ignore[import-not-found]

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(asked["host"])
    server.set_service(str(asked["port"]))
    if asked["user"] is not None:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_digest(asked["user"], asked["password"], token)
        server.set_auth(auth)
    for mount, file in asked["files"].items():
        caps, units = _access_units(Gst, file)
        factory = GstRtspServer.RTSPMediaFactory()
        # Every client gets a pipeline of its own and so begins at the file's first picture.
        factory.set_shared(False)
        # No config-interval: GStreamer 1.22 would put SPS and PPS before every slice and so cut a picture of two slices
        # in half. The SDP carries both.
        factory.set_launch(
            "( appsrc name=clip format=time is-live=false max-bytes=2000000 block=false ! rtph264pay name=pay0 pt=96 )"
        )
        if asked["user"] is not None:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role("viewer", "media.factory.access", True)
            permissions.add_permission_for_role("viewer", "media.factory.construct", True)
            factory.set_permissions(permissions)
        factory.connect("media-configure", _play(Gst, caps, units, asked["loop"]))
        server.get_mount_points().add_factory("/" + mount, factory)
    if server.attach(None) == 0:
        print(json.dumps({"error": "the port is taken"}), flush=True)
        raise SystemExit(1)
    loop = GLib.MainLoop()

    def until_stdin_ends() -> None:
        sys.stdin.read()
        loop.quit()

    threading.Thread(target=until_stdin_ends, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print(json.dumps({"port": server.get_bound_port()}), flush=True)
    loop.run()
    os._exit(0)


def _access_units(Gst: Any, file: str) -> tuple[Any, list[tuple[bytes, int, int, int, bool]]]:  # noqa: N803
    """The file's H.264 in decoding order: caps, and (bytes, pts, dts, duration, key) in nanoseconds from 0.

    In memory whole (a minute of 3 Mbit/s is 23 MB), so that a loop needs no seeking.
    """
    pipeline = Gst.parse_launch(
        "filesrc name=file ! qtdemux ! h264parse"
        " ! video/x-h264,stream-format=avc,alignment=au ! appsink name=units sync=false"
    )
    pipeline.get_by_name("file").set_property("location", file)
    sink = pipeline.get_by_name("units")
    pipeline.set_state(Gst.State.PLAYING)
    caps = None
    units: list[tuple[bytes, int, int, int, bool]] = []
    while (sample := sink.emit("pull-sample")) is not None:
        caps = sample.get_caps()
        buffer = sample.get_buffer()
        key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        dts = buffer.dts if buffer.dts != Gst.CLOCK_TIME_NONE else buffer.pts
        units.append((buffer.extract_dup(0, buffer.get_size()), buffer.pts, dts, buffer.duration, key))
    pipeline.set_state(Gst.State.NULL)
    if not units:
        print(json.dumps({"error": f"no H.264 in {file}"}), flush=True)
        raise SystemExit(1)
    first = min(pts for _, pts, _, _, _ in units)
    return caps, [(octets, pts - first, max(0, dts - first), length, key) for octets, pts, dts, length, key in units]


def _play(Gst: Any, caps: Any, units: list[tuple[bytes, int, int, int, bool]], loop: bool) -> Any:  # noqa: N803
    """What feeds a new client's pipeline: access units as they are asked for, timestamps running on over a loop."""
    last = max(pts for _, pts, _, _, _ in units)
    step = units[0][3] if 0 < units[0][3] < Gst.SECOND else last // max(1, len(units) - 1)
    length = last + step

    def configure(_factory: Any, media: Any) -> None:
        source = media.get_element().get_child_by_name("clip")
        source.set_property("caps", caps)
        turn = {"next": 0, "offset": 0}

        def need(_source: Any, _octets: int) -> None:
            if turn["next"] == len(units):
                if not loop:
                    source.emit("end-of-stream")
                    return
                turn["next"], turn["offset"] = 0, turn["offset"] + length
            octets, pts, dts, duration, key = units[turn["next"]]
            turn["next"] += 1
            buffer = Gst.Buffer.new_wrapped(octets)
            buffer.pts, buffer.dts = pts + turn["offset"], dts + turn["offset"]
            buffer.duration = duration
            if not key:
                buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
            source.emit("push-buffer", buffer)

        source.connect("need-data", need)

    return configure


if __name__ == "__main__":
    _serve()
