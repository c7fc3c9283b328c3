"""What is said of a broker that died, from its log alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime.broker.properties import server_properties
from runtime.broker.state import BrokerState, is_alive, read_state, write_state
from runtime.broker.trouble import LOG_FILE, mark_start, why_it_died


class Usage(NamedTuple):
    free: int


ROOM = Usage(2**30)


@pytest.fixture(autouse=True)
def _room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: ROOM)


def log(data: Path, *lines: str) -> None:
    mark_start(data)
    with (data / LOG_FILE).open("a") as opened:
        opened.writelines(f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[ERROR] java.io.IOException: No space left on device", "is full (1024 MB free)"),
        ("[ERROR] java.net.BindException: Address already in use", "ports was taken"),
        ("[ERROR] KafkaException: Failed to acquire lock on file .lock in /x", "another broker runs"),
        ("java.lang.OutOfMemoryError: Java heap space", "heap of 256 MB"),
    ],
)
def test_a_known_end_is_put_into_words(tmp_path: Path, line: str, said: str) -> None:
    log(tmp_path, "[INFO] starting", line, "[INFO] shutting down")
    why = why_it_died(tmp_path)
    assert said in why.splitlines()[0]
    assert line in why


def test_an_unknown_end_shows_the_errors_before_the_chatter(tmp_path: Path) -> None:
    log(tmp_path, "[ERROR] the cause", *["[INFO] chatter"] * 50)
    why = why_it_died(tmp_path)
    assert "its log says why" in why
    assert "[ERROR] the cause" in why
    assert why.count("chatter") == 1


def test_an_end_from_outside_is_told_from_an_error(tmp_path: Path) -> None:
    log(tmp_path, "[INFO] all is well")
    assert "from outside (signal 9)" in why_it_died(tmp_path, -9)
    assert "from outside (kill -9, or no memory left)" in why_it_died(tmp_path)


def test_an_earlier_broker_does_not_explain_a_later_end(tmp_path: Path) -> None:
    log(tmp_path, "[ERROR] Address already in use")
    log(tmp_path, "[ERROR] something else")
    assert "taken" not in why_it_died(tmp_path)


def test_a_full_disk_is_seen_without_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0))
    assert "is full (0 MB free)" in why_it_died(tmp_path)


def test_a_pid_that_is_somebody_elses_is_not_the_broker(tmp_path: Path) -> None:
    state = BrokerState(os.getpid(), "not when this process began", 9092, 9093, 0, "17")
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert not is_alive(state)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_state_file_that_is_not_ours_is_no_broker(tmp_path: Path, text: str) -> None:
    (tmp_path / "broker.json").write_text(text)
    assert read_state(tmp_path) is None


def test_every_listener_is_on_loopback() -> None:
    properties = server_properties(1, 2)
    assert properties["listeners"] == "CLIENT://127.0.0.1:1,CONTROLLER://127.0.0.1:2"
    assert properties["advertised.listeners"] == "CLIENT://127.0.0.1:1"
    assert server_properties(1, 2, {"message.max.bytes": "5"})["message.max.bytes"] == "5"


def test_a_killed_broker_is_said_to_be_killed_whatever_its_log_held_before(tmp_path: Path) -> None:
    log(tmp_path, "[ERROR] something at the start that mended itself", *["[INFO] chatter"] * 5)
    assert "signal 9" in why_it_died(tmp_path, -9).splitlines()[0]
