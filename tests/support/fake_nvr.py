"""A recorder that is not there: ISAPI with digest login, real state, and the bad habits that were written down.

Every shape below is from a recording, a vendor's text or a report about a device, and names it; none is from what our
client sends. The sources (none of their code is here):

  [hn]    maciej-or/hikvision_next, tests/fixtures: recorded answers of 15 devices
  [hn70]  its issues 70 and 103: soft inputs of a DS-7608NXI-I2 stay on until they are turned off
  [dev]   findings, section A4, and the status codes of the HCNetSDK developer guides that it quotes
  [io]    the vendor's I/O chapter (stored text 62898940734): paths and methods of alarm outputs
  [soft]  a deployed client of softInputs (45547747443): body, verb, the word `stop`
  [rec]   clients of manual recording: PUT (54265951206), POST (68423822546); track 101 = channel 1, main stream
  [lock]  parsers of a locked device's answer (71378521957, 66011235485) and captures of it (57582011302, 68603120152)
  [k1t]   measurements of a DS-K1T342MWX, firmware 4.48.40 (65744977698): a nonce's third use is answered 401 without
          a challenge; requests without a login do not count for the lock-out
  [nonce] a simulator after a video intercom on site (71047087928): nonces end by use and by time, `stale` in capitals,
          or FALSE though the password is right; a newer nonce ends the older one
  [busy]  devices that are busy: 403 and code 4 (71088479046), 400 (51841991157), 503 (70223989323), 200 (51851194174),
          code 2 (61432622619)
  [ok4]   refusals under HTTP 200 (57481377933)
  [psia]  old cameras: /IO/outputs and the namespace of PSIA (9636565427, 68325273113)
"""

import asyncio
import hashlib
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self
from xml.etree import ElementTree

NAMESPACES = (
    "http://www.hikvision.com/ver10/XMLSchema",  # [psia]
    "http://www.hikvision.com/ver20/XMLSchema",  # [hn] 12 devices
    "http://www.isapi.org/ver20/XMLSchema",  # [hn] DS-7608NXI-I2, DS-7732NI-M4, DS-2TD1228-2-QA
    "urn:psialliance-org",  # [dev]
    "urn:selfextension:psiaext-ver10-xsd",  # [dev]
    "http://www.std-cgi.org/ver20/XMLSchema",  # stored text 7291946698
)
OK, BUSY, FAULT, INVALID, BAD_CONTENT, REBOOT = (  # [dev]; the words of 3 and 6 as in [hn] Streaming.channels.x0y
    (1, "OK", "ok"),
    (2, "Device Busy", "deviceBusy"),
    (3, "Device Error", "deviceError"),
    (4, "Invalid Operation", "notSupport"),
    (6, "Invalid XML Content", "badXmlContent"),
    (7, "Reboot Required", "rebootRequired"),
)
BUSY_ANSWERS = [(403, (4, "Invalid Operation", "deviceBusy")), (503, BUSY), (200, BUSY), (400, BUSY)]  # [busy]


class Change(NamedTuple):
    """Something was turned on or off: monotonic seconds, what (`output 1`), and which."""

    at: float
    what: str
    on: bool


@dataclass
class FakeNvr:
    """Runs from `with` to its end. Change the fields while it runs; look at `changes`, `on`, `logins`."""

    username: str = "admin"
    password: str = "pa:ss@word/1"
    namespace: str = NAMESPACES[2]
    soft_inputs: int = 8  # [hn] DS-7608NXI-I2: 8 soft inputs, 1 output, 4 inputs
    outputs: int = 1
    records: bool = True
    record_method: str = "PUT"
    old_firmware: bool = False  # no /ISAPI/System/capabilities; [hn] DS-2CD2532F has next to nothing in it
    starts_soft_input_with: str = "start"
    challenge: str = "MD5"  # or SHA-256, MD5-and-SHA-256, SHA-1024 (unknown), basic, none
    nonce_uses: int | None = None
    nonce_seconds: float | None = None
    at_a_dead_nonce: Literal["stale", "no challenge", "stale false"] = "stale"
    stale_next: int = 0  # so many right logins are answered as if the nonce had ended
    lock_after: int = 5
    lock_seconds: int = 1800  # [lock] 57582011302
    answers_next: list[tuple[int, tuple[int, str, str]]] = field(default_factory=list)  # to triggers, not obeyed
    raw_next: list[tuple[int, bytes]] = field(default_factory=list)
    without_body: bool = False
    forbidden: bool = False
    stall: threading.Event | None = None  # triggers are not answered until it is set
    obeys_before_stall: bool = False
    reset_next: int = 0  # so many triggers are obeyed and the connection reset before the answer
    huge: bool = False
    tls: ssl.SSLContext | None = None
    port: int = 0

    def __post_init__(self) -> None:
        self.changes: list[Change] = []
        self.on: set[str] = set()
        self.asked: list[tuple[str, str, bytes]] = []  # every request that was let in: method, path, body
        self.logins = 0  # requests that bore a password
        self.wrong_logins = 0
        self.at_once = self.most_at_once = 0
        self.locked_until = 0.0
        self._nonces: dict[str, tuple[float, int]] = {}
        self._told = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None

    # What a test asks

    @property
    def url(self) -> str:
        """Without the login."""
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def full_url(self) -> str:
        """With it, as it is configured."""
        quoted = "".join(f"%{ord(letter):02X}" if not letter.isalnum() else letter for letter in self.password)
        return self.url.replace("://", f"://{self.username}:{quoted}@")

    def triggers(self, on: bool | None = None) -> list[str]:
        """Requests that wanted something turned on (or off), obeyed or not: `PUT path`."""
        words = {True: ("high", "start"), False: ("low", "stop"), None: ("high", "start", "low", "stop")}[on]
        return [
            f"{method} {path}"
            for method, path, body in list(self.asked)
            if method != "GET" and any(word in path or word.encode() in body for word in words)
        ]

    def spells(self, what: str) -> list[float]:
        """How long it was on, each time, in seconds; up to now where it still is."""
        found, since = [], None
        for change in list(self.changes):
            if change.what != what:
                continue
            if change.on and since is None:
                since = change.at
            elif not change.on and since is not None:
                found.append(change.at - since)
                since = None
        return found if since is None else [*found, time.monotonic() - since]

    def switched(self, what: str) -> list[bool]:
        """Every change of it, in order."""
        return [change.on for change in list(self.changes) if change.what == what]

    def wait_until(self, true: Callable[[], bool], seconds: float = 20.0) -> None:
        """Looked at after every request."""
        with self._told:
            assert self._told.wait_for(true, seconds), f"not within {seconds:g} s: {self.changes} {self.asked[-5:]}"

    # Its running

    def __enter__(self) -> Self:
        ready = threading.Event()

        def serve() -> None:
            asyncio.set_event_loop(self._loop)
            self._server = self._loop.run_until_complete(
                asyncio.start_server(self._connection, "127.0.0.1", self.port, ssl=self.tls)
            )
            self.port = self._server.sockets[0].getsockname()[1]
            ready.set()
            self._loop.run_forever()
            for task in (left := asyncio.all_tasks(self._loop)):
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._server.wait_closed())
            self._loop.close()

        self._thread = threading.Thread(target=serve, name="fake-nvr", daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._server is not None
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").split("\r\n")
                method, path, _ = first.split(" ", 2)
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    status, more, content = await self._answer(method, path, headers, body)
                finally:
                    self.at_once -= 1
                    with self._told:
                        self._told.notify_all()
                if status == 0:
                    writer.transport.abort()
                    return
                reply = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", *more]
                writer.write("\r\n".join(reply).encode() + b"\r\n\r\n" + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    # Login

    async def _answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[str], bytes]:
        refused = self._refused(method, path, headers.get("authorization", ""))
        if refused is not None:
            return 401, *refused
        with self._told:
            self.asked.append((method, path, body))
            self._told.notify_all()
        if self.huge:
            return 200, [], b"<" * (32 * 1024 * 1024)
        if method == "GET":
            return self._read(path)
        return await self._trigger(method, path, body)

    def _refused(self, method: str, path: str, given: str) -> tuple[list[str], bytes] | None:
        if self.challenge == "none":
            return None
        wanted = self._challenge()
        if not given.startswith("Digest "):
            # [k1t] costs nothing. [lock] a locked device says so here already, and offers no login.
            return ([], self._user_check()) if time.monotonic() < self.locked_until else (wanted, self._user_check())
        self.logins += 1
        said = {name: value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|[^,\s]+)', given)}
        if time.monotonic() < self.locked_until or not self._digest_is_right(method, path, said):
            self.wrong_logins += 1
            if self.wrong_logins >= self.lock_after:
                self.locked_until = time.monotonic() + self.lock_seconds
            return wanted, self._user_check()
        issued, uses = self._nonces.get(said["nonce"], (0.0, 10**6))
        self._nonces[said["nonce"]] = (issued, uses + 1)
        dead = (self.nonce_uses is not None and uses >= self.nonce_uses) or (
            self.nonce_seconds is not None and time.monotonic() - issued > self.nonce_seconds
        )
        if self.stale_next:
            self.stale_next, dead = self.stale_next - 1, True
        if dead:
            # [k1t] 401 of an old nonce is a ResponseStatus; [nonce] the three ways to say it
            text = self._status(path, (4, "Invalid Operation", "invalidOperation"))
            stale = {"stale": ', stale="TRUE"', "stale false": ', stale="FALSE"', "no challenge": ""}
            more = [line + stale[self.at_a_dead_nonce] for line in self._challenge()]
            return ([] if self.at_a_dead_nonce == "no challenge" else more), text
        self.wrong_logins = 0
        return None

    def _challenge(self) -> list[str]:
        nonce = secrets.token_hex(16)
        self._nonces[nonce] = (time.monotonic(), 0)
        start = f'WWW-Authenticate: Digest qop="auth", realm="DS-6e392e44", nonce="{nonce}"'  # realm as in [k1t]
        offers = {
            "MD5": [start],
            "SHA-256": [f"{start}, algorithm=SHA-256"],
            "MD5-and-SHA-256": [f"{start}, algorithm=SHA-256", f"{start}, algorithm=MD5"],
            "SHA-1024": [f"{start}, algorithm=SHA-1024"],
            "basic": ['WWW-Authenticate: Basic realm="DS-6e392e44"'],
        }
        return offers[self.challenge]

    def _digest_is_right(self, method: str, path: str, said: dict[str, str]) -> bool:
        hashed = hashlib.sha256 if said.get("algorithm") == "SHA-256" else hashlib.md5

        def digest(text: str) -> str:
            return hashed(text.encode()).hexdigest()

        whole = digest(f"{self.username}:{said.get('realm')}:{self.password}")
        asked = digest(f"{method}:{path}")
        middle = f"{said.get('nonce')}:{said.get('nc')}:{said.get('cnonce')}:{said.get('qop')}"
        right = said.get("username") == self.username and said.get("uri") == path and said.get("nonce") in self._nonces
        return right and said.get("response") == digest(f"{whole}:{middle}:{asked}")

    def _user_check(self) -> bytes:
        left = self.locked_until - time.monotonic()  # [lock] names and order as in 57582011302
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<userCheck version="2.0" xmlns="{self.namespace}">\n'
            "<statusValue>401</statusValue>\n<statusString>Unauthorized</statusString>\n"
            f"<isActivated>true</isActivated>\n<lockStatus>{'lock' if left > 0 else 'unlock'}</lockStatus>\n"
            f"<unlockTime>{max(0, round(left))}</unlockTime>\n"
            f"<retryLoginTime>{max(0, self.lock_after - self.wrong_logins)}</retryLoginTime>\n</userCheck>\n"
        ).encode()

    # What it can do

    def _read(self, path: str) -> tuple[int, list[str], bytes]:
        if path == "/ISAPI/System/deviceInfo":  # [hn] DS-7608NXI-I2, its private values replaced
            return (
                200,
                [],
                self._xml(
                    "DeviceInfo",
                    "<deviceName>nvr</deviceName><deviceID>48443030-0000-0000-0000-000000000000</deviceID>"
                    "<model>DS-7608NXI-I2/8P/S</model><serialNumber>DS-7608NXI-I20000SECRET</serialNumber>"
                    "<macAddress>00:00:5e:00:53:01</macAddress><firmwareVersion>V4.62.210</firmwareVersion>",
                ),
            )
        if path == "/ISAPI/System/capabilities" and not self.old_firmware:  # [hn]
            soft = f"<SoftIOInputPortNums>{self.soft_inputs}</SoftIOInputPortNums>" if self.soft_inputs else ""
            ports = f"<IOInputPortNums>4</IOInputPortNums><IOOutputPortNums>{self.outputs}</IOOutputPortNums>{soft}"
            records = "<RacmCap><inputProxyNums>8</inputProxyNums></RacmCap>" if self.records else ""
            return 200, [], self._xml("DeviceCap", f"<SysCap><IOCap>{ports}</IOCap></SysCap>{records}")
        if path == "/ISAPI/System/IO/outputs" and self.outputs:  # [io]
            each = "".join(f"<IOOutputPort><id>{n}</id></IOOutputPort>" for n in range(1, self.outputs + 1))
            return 200, [], self._xml("IOOutputPortList", each)
        found = re.fullmatch(r"/ISAPI/System/IO/outputs/(\d+)/status", path)
        if found and int(found[1]) <= self.outputs:  # [hn]
            state = "active" if f"output {found[1]}" in self.on else "inactive"
            return (
                200,
                [],
                self._xml(
                    "IOPortStatus",
                    f"<ioPortID>{found[1]}</ioPortID><ioPortType>output</ioPortType><ioState>{state}</ioState>",
                ),
            )
        return 403, [], self._status(path, INVALID)  # [hn] all 15 devices say 403 for what they do not have

    async def _trigger(self, method: str, path: str, body: bytes) -> tuple[int, list[str], bytes]:
        if self.answers_next:
            status, words = self.answers_next.pop(0)
            return status, [], self._status(path, words)
        if self.raw_next:
            status, content = self.raw_next.pop(0)
            return status, [], content
        if self.forbidden:  # stored text 71592578391
            return 403, [], self._status(path, (4, "Invalid Operation", "lowPrivilege"))
        status, words, change = self._meant(method, path, body)
        if self.stall is not None and not self.obeys_before_stall:
            await self._stalled()
            return 0, [], b""
        if change is not None:
            what, on = change
            (self.on.add if on else self.on.discard)(what)
            self.changes.append(Change(time.monotonic(), what, on))
        if self.stall is not None:
            await self._stalled()
        if self.reset_next:
            self.reset_next -= 1
            return 0, [], b""
        if self.without_body and status == 200:
            return 200, [], b""
        if path.endswith("format=json"):
            return status, [], json.dumps(dict(zip(STATUS_NAMES, words, strict=True))).encode()
        return status, [], self._status(path, words)

    async def _stalled(self) -> None:
        while self.stall is not None and not self.stall.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def _meant(self, method: str, path: str, body: bytes) -> tuple[int, tuple[int, str, str], tuple[str, bool] | None]:
        """Status, words and change of a well-meant request."""
        if path == "/ISAPI/System/IO/softInputs/trigger?format=json" and self.soft_inputs and method == "PUT":  # [soft]
            try:
                (wanted,) = json.loads(body)["SoftIO"]
                number, word = int(wanted["id"]), wanted["triggerType"]
            except (ValueError, KeyError, TypeError):
                return 400, (6, "Invalid Content", "badJsonContent"), None
            if word not in (self.starts_soft_input_with, "stop") or not 1 <= number <= self.soft_inputs:
                return 400, (6, "Invalid Content", "badJsonContent"), None
            return 200, OK, (f"soft_input {number}", word != "stop")
        output = re.fullmatch(r"/ISAPI/System/IO/outputs/(\d+)/trigger", path)  # [io]
        if output and method == "PUT" and 1 <= int(output[1]) <= self.outputs:
            try:
                root = ElementTree.fromstring(body)
            except ElementTree.ParseError:
                return 400, (5, "Invalid XML Format", "badXmlFormat"), None
            states = [each.text for each in root.iter() if each.tag.rpartition("}")[2] == "outputState"]
            if root.tag.rpartition("}")[2] != "IOPortData" or states not in (["high"], ["low"]):
                return 400, BAD_CONTENT, None
            return 200, OK, (f"output {output[1]}", states == ["high"])
        record = re.fullmatch(r"/ISAPI/ContentMgmt/record/control/manual/(start|stop)/tracks/(\d+)", path)  # [rec]
        if record and self.records:
            if method != self.record_method:
                return 403, (4, "Invalid Operation", "methodNotAllowed"), None
            return 200, OK, (f"record {record[2]}", record[1] == "start")
        return 403, INVALID, None

    def _status(self, path: str, words: tuple[int, str, str]) -> bytes:
        code, text, sub = words  # requestURL with a bare & where the path has one: A4.5 of the findings
        return self._xml(
            "ResponseStatus",
            f"<requestURL>{path}</requestURL><statusCode>{code}</statusCode><statusString>{text}</statusString>"
            f"<subStatusCode>{sub}</subStatusCode>",
        )

    def _xml(self, root: str, inside: str) -> bytes:
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} version="2.0" xmlns="{self.namespace}">\n'
            f"{inside}\n</{root}>\n"
        ).encode()


STATUS_NAMES = ("statusCode", "statusString", "subStatusCode")
