"""Real servers for tests: Redis and Mosquitto, each on a free port with a folder of its own.

    with RedisServer(tmp_path, password="s") as server:
        ... server.port ...
        server.kill()         # as a power cut
        server.start()        # on the same port

Where the program is not there the test is skipped; with CI=true it fails.
"""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

START_SECONDS = 20.0


def need(program: str, package: str) -> str:
    """The program's path; skips the test where it is not there, and fails it in CI."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"needs Debian's {package}", pytrace=False)
    pytest.skip(f"needs Debian's {package}")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class Certificates:
    """An authority of our own, and a certificate that it gave to 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        openssl = need("openssl", "openssl")
        folder.mkdir(exist_ok=True)
        self.authority = folder / "authority.pem"
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        authority_key, request, extra = folder / "authority.key", folder / "server.csr", folder / "extra.cnf"
        extra.write_text("subjectAltName=IP:127.0.0.1\n")
        ours = f"-x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-authority -out {self.authority}"
        asked = f"-new -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -out {request}"
        given = f"-req -in {request} -CA {self.authority} -CAkey {authority_key} -CAcreateserial -days 2"
        for arguments in (
            f"req {ours} -keyout {authority_key}",
            f"req {asked} -keyout {self.key}",
            f"x509 {given} -extfile {extra} -out {self.certificate}",
        ):
            subprocess.run([openssl, *arguments.split()], check=True, capture_output=True)

    @property
    def trusted(self) -> ssl.SSLContext:
        """For a client that trusts this authority."""
        return ssl.create_default_context(cafile=str(self.authority))


class Server:
    """A process that listens on one port of 127.0.0.1, and can be ended and begun again there."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What is run."""
        raise NotImplementedError

    def start(self) -> None:
        """Begins, and returns when it takes connections."""
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"it did not start:\n{(self.folder / 'log').read_text()}")

    def stop(self) -> None:
        """Ends it cleanly."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """It hangs from now on: connections are taken by the kernel and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends a pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, by: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(by)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class RedisServer(Server):
    """Debian's redis-server. What it holds survives a clean stop; with ``certificates`` it speaks TLS only."""

    def __init__(
        self, folder: Path, *, password: str | None = None, certificates: Certificates | None = None, extra: str = ""
    ) -> None:
        super().__init__(folder)
        self._program = need("redis-server", "redis-server")
        lines = ["bind 127.0.0.1", "appendonly yes", "appendfsync always", 'save ""', extra]
        if password is not None:
            lines.append(f"requirepass {password}")
        if certificates is None:
            lines.append(f"port {self.port}")
        else:
            lines += ["port 0", f"tls-port {self.port}", "tls-auth-clients no"]
            lines += [f"tls-cert-file {certificates.certificate}", f"tls-key-file {certificates.key}"]
            lines.append(f"tls-ca-cert-file {certificates.authority}")
        (folder / "redis.conf").write_text("\n".join(lines))

    def command(self) -> list[str]:
        return [self._program, "redis.conf"]


class MosquittoServer(Server):
    """Debian's mosquitto. It keeps retained messages over a clean stop; ``users`` are names with passwords."""

    def __init__(
        self,
        folder: Path,
        *,
        users: dict[str, str] | None = None,
        access: str | None = None,
        certificates: Certificates | None = None,
        keeps: bool = True,
    ) -> None:
        super().__init__(folder)
        self._program = need("mosquitto", "mosquitto")
        lines = [f"listener {self.port} 127.0.0.1", "log_dest stderr", "allow_zero_length_clientid true"]
        if os.geteuid() == 0:
            lines.append("user root")
        if keeps:
            lines += ["persistence true", f"persistence_location {folder}/", "autosave_interval 1"]
        if users is None:
            lines.append("allow_anonymous true")
        else:
            passwords = folder / "passwords"
            passwords.touch(0o600)
            for name, secret in users.items():
                written = [need("mosquitto_passwd", "mosquitto"), "-b", passwords, name, secret]
                subprocess.run(written, check=True, capture_output=True)
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        if access is not None:
            (folder / "access").write_text(access)
            (folder / "access").chmod(0o600)
            lines.append(f"acl_file {folder}/access")
        if certificates is not None:
            lines += [f"certfile {certificates.certificate}", f"keyfile {certificates.key}"]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [self._program, "-c", "mosquitto.conf"]
