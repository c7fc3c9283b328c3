"""Where the jars come from: nothing but the locked bytes is ever kept."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from runtime.broker.errors import BrokerError
from runtime.broker.jars import (
    KAFKA_VERSION,
    POM_FILE,
    REPOSITORY_VARIABLE,
    Jar,
    cache_folder,
    provide_jars,
    read_lock,
    without_credentials,
)

GOOD, OTHER = b"the jar", b"another jar"
JAR = Jar("org.example", "thing", "1.0", hashlib.sha256(GOOD).hexdigest())
PATH_IN_REPOSITORY = "org/example/thing/1.0/thing-1.0.jar"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A Maven repository on loopback: its address and its folder."""
    folder = tmp_path / "repository"
    (folder / PATH_IN_REPOSITORY).parent.mkdir(parents=True)
    (folder / PATH_IN_REPOSITORY).write_bytes(GOOD)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    thread.join()
    server.server_close()


def environment(address: str = "") -> dict[str, str]:
    return {"PATH": "", REPOSITORY_VARIABLE: address}  # no mvn


def test_the_lock_names_every_jar_once_and_agrees_with_the_pom() -> None:
    jars = read_lock()
    assert len(jars) == 45
    assert len({jar.file_name for jar in jars}) == 45
    assert f"<version>{KAFKA_VERSION}</version>" in POM_FILE.read_text()
    assert [jar.version for jar in jars if jar.artifact == "kafka_2.13"] == [KAFKA_VERSION]


def test_no_download_host_is_named() -> None:
    for path in (POM_FILE, POM_FILE.with_name("jars.lock"), *Path("runtime/broker").glob("*.py")):
        hosts = re.findall(r"https?://([^/\s\"'<>]+)", path.read_text())
        assert set(hosts) <= {"maven.apache.org"}, path  # the namespace of a POM
        assert path.name == "pom.xml" or not hosts


def test_a_bad_line_in_the_lock_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "jars.lock"
    lock.write_text("# fine\ngroup:artifact:1.0:abc\n")
    with pytest.raises(BrokerError, match=r"jars\.lock:2"):
        read_lock(lock)


def test_a_jar_is_fetched_once_and_then_only_read(repository: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = repository
    said: list[str] = []
    first = provide_jars(tmp_path / "cache", [JAR], environment(address), said.append)
    assert first[0].read_bytes() == GOOD
    assert len(said) == 1
    (folder / PATH_IN_REPOSITORY).unlink()
    assert provide_jars(tmp_path / "cache", [JAR], environment(address), said.append) == first
    assert len(said) == 1


def test_a_wrong_jar_is_refused_with_both_sums_and_not_kept(repository: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = repository
    (folder / PATH_IN_REPOSITORY).write_bytes(OTHER)
    with pytest.raises(BrokerError) as refused:
        provide_jars(tmp_path / "cache", [JAR], environment(address))
    assert "thing-1.0.jar" in str(refused.value)
    assert f"expected {JAR.sha256}" in str(refused.value)
    assert f"found {hashlib.sha256(OTHER).hexdigest()}" in str(refused.value)
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.suffix == ".jar"] == []


def test_a_damaged_jar_in_the_cache_is_fetched_again(repository: tuple[str, Path], tmp_path: Path) -> None:
    (kept,) = provide_jars(tmp_path / "cache", [JAR], environment(repository[0]))
    kept.write_bytes(GOOD[:-1])
    assert provide_jars(tmp_path / "cache", [JAR], environment(repository[0])) == [kept]
    assert kept.read_bytes() == GOOD


def test_new_jars_make_the_class_data_archive_stale(repository: tuple[str, Path], tmp_path: Path) -> None:
    archive = tmp_path / "cache" / "kafka-00000000.jsa"
    archive.parent.mkdir()
    archive.touch()
    provide_jars(tmp_path / "cache", [JAR], environment(repository[0]))
    assert not archive.exists()


def test_a_missing_jar_is_named_without_the_password(repository: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = repository
    (folder / PATH_IN_REPOSITORY).unlink()
    with pytest.raises(BrokerError) as refused:
        provide_jars(tmp_path, [JAR], environment(address.replace("//", "//user:hunter2@")))
    assert "404" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_an_unreachable_repository_is_named_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(BrokerError) as refused:
        provide_jars(tmp_path, [JAR], environment("http://user:hunter2@127.0.0.1:1"))
    assert "ConnectError" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_without_maven_and_repository_the_text_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(BrokerError) as refused:
        provide_jars(tmp_path, [JAR], environment())
    assert "apt-get install maven" in str(refused.value)
    assert REPOSITORY_VARIABLE in str(refused.value)


def test_maven_that_fails_is_quoted_without_the_password(tmp_path: Path) -> None:
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\necho '[ERROR] could not reach https://user:hunter2@repository.invalid/x'\nexit 1\n")
    maven.chmod(0o755)
    with pytest.raises(BrokerError, match="could not reach") as refused:
        provide_jars(tmp_path / "cache", [JAR], {"PATH": f"{maven.parent}:/bin:/usr/bin"})
    assert "hunter2" not in str(refused.value)


def test_the_cache_folder_follows_the_environment() -> None:
    kafka = f"kafka-{KAFKA_VERSION}"
    assert cache_folder({"BACKSIGHT_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a") / kafka
    assert cache_folder({"XDG_CACHE_HOME": "/b"}) == Path("/b/backsight") / kafka
    assert cache_folder({}) == Path.home() / ".cache/backsight" / kafka


def test_credentials_are_taken_out_of_addresses() -> None:
    assert without_credentials("from https://a:b@c/d to http://e/f@g") == "from https://c/d to http://e/f@g"
