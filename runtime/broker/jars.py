"""The jars Kafka runs with: named with their sha256 in deploy/kafka/jars.lock, kept in the user's cache folder.

A bundle for a machine without internet (docs/offline.md) brings them along.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from runtime.broker.errors import BrokerError, install_hint

KAFKA_VERSION = "4.4.0"
LOCK_FILE = Path(__file__).resolve().parents[2] / "deploy" / "kafka" / "jars.lock"
POM_FILE = LOCK_FILE.with_name("pom.xml")
BUNDLED = LOCK_FILE.parents[2] / "offline" / "jars"
REPOSITORY_VARIABLE = "BACKSIGHT_MAVEN_REPOSITORY"
FETCH_SECONDS = 600.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Jar:
    """One line of the lock file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name in the cache folder; artifact and version, which are unique within the lock."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def repository_path(self) -> str:
        """Where a Maven repository keeps it, below the repository's own address."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.file_name}"


def read_lock(path: Path = LOCK_FILE) -> tuple[Jar, ...]:
    """The jars in the order of the lock, which is also the order of the class path."""
    jars = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.strip().split(":")
        if len(parts) != 4 or not re.fullmatch(r"[0-9a-f]{64}", parts[3]):
            raise BrokerError(f"{path}:{number}: not `group:artifact:version:sha256`: {line.strip()!r}")
        jars.append(Jar(*parts))
    return tuple(jars)


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """This Kafka version's folder in BACKSIGHT_CACHE, else XDG_CACHE_HOME/backsight, else ~/.cache/backsight."""
    environment = os.environ if environment is None else environment
    if own := environment.get("BACKSIGHT_CACHE"):
        root = Path(own)
    elif shared := environment.get("XDG_CACHE_HOME"):
        root = Path(shared) / "backsight"
    else:
        root = Path.home() / ".cache" / "backsight"
    return root.expanduser().absolute() / f"kafka-{KAFKA_VERSION}"


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check(jar: Jar, path: Path) -> None:
    """Refuse a jar that is not the locked one, naming it with the sum expected and the sum found."""
    found = sha256_of(path)
    if found != jar.sha256:
        raise BrokerError(
            f"{jar.file_name} is not the jar that {LOCK_FILE.name} names: sha256 expected {jar.sha256}, found {found}. "
            "It was not kept. Look at where it came from (a proxy or a mirror may have changed it)."
        )


def provide_jars(
    cache: Path | None = None,
    jars: Sequence[Jar] | None = None,
    environment: Mapping[str, str] | None = None,
    say: Say = lambda _: None,
    bundled: Path = BUNDLED,
) -> list[Path]:
    """Paths of all locked jars, in lock order; what is missing is fetched (bundle, Maven, BACKSIGHT_MAVEN_REPOSITORY).

    Every sum is checked at every call: 45 MB take 0.04 s, and a damaged cache is noticed here instead of as a
    ClassNotFoundException later. Two processes may call at once: one fetches, the other waits. A complete cache is
    only read, so it may be part of an image.
    """
    environment = os.environ if environment is None else environment
    cache = cache_folder(environment) if cache is None else cache
    jars = read_lock() if jars is None else jars
    folder = cache / "jars"
    kept = [folder / jar.file_name for jar in jars]
    if all(_is_kept(jar, path) for jar, path in zip(jars, kept, strict=True)):
        return kept
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BrokerError(f"The cache folder {folder} cannot be made: {error.strerror}. Set BACKSIGHT_CACHE.") from None
    with exclusive(cache / "fetch.lock"):
        missing = [jar for jar in jars if not _is_kept(jar, folder / jar.file_name)]
        missing = _take(missing, bundled, folder)
        if missing:
            _fetch(missing, folder, environment, say)
    return kept


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file: one process at a time, released by the kernel when its holder dies."""
    import fcntl  # POSIX only, like process groups and signals here

    with path.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def _is_kept(jar: Jar, path: Path) -> bool:
    return path.is_file() and sha256_of(path) == jar.sha256


def _take(missing: Sequence[Jar], bundled: Path, folder: Path) -> list[Jar]:
    """Copies what the bundle has; answers what it lacks."""
    lacking = []
    for jar in missing:
        if (bundled / jar.file_name).is_file():
            check(jar, bundled / jar.file_name)
            shutil.copyfile(bundled / jar.file_name, folder / jar.file_name)
        else:
            lacking.append(jar)
    return lacking


def _fetch(missing: Sequence[Jar], folder: Path, environment: Mapping[str, str], say: Say) -> None:
    maven = shutil.which("mvn", path=environment.get("PATH", ""))
    repository = environment.get(REPOSITORY_VARIABLE, "").strip()
    if maven is None and not repository:
        raise BrokerError(
            f"The jars of Kafka {KAFKA_VERSION} are not in {folder}, and there is no Maven (`mvn`) to fetch them. "
            + install_hint("maven", "Apache Maven 3.6+")
            + f" Or set {REPOSITORY_VARIABLE} to the address of a Maven repository that you trust."
        )
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as made:
        place = Path(made)
        if maven is not None:
            say(f"fetching Kafka {KAFKA_VERSION} ({len(missing)} jars) with Maven, once")
            _fetch_with_maven(maven, place, environment)
        else:
            say(f"fetching Kafka {KAFKA_VERSION} ({len(missing)} jars) from {REPOSITORY_VARIABLE}, once")
            _fetch_with_httpx(repository, missing, place)
        for jar in missing:
            if not (place / jar.file_name).is_file():
                raise BrokerError(f"{jar.file_name} was not among what was fetched: does pom.xml agree with jars.lock?")
            check(jar, place / jar.file_name)
        for jar in missing:
            (place / jar.file_name).replace(folder / jar.file_name)
    for archive in folder.parent.glob("kafka-*.jsa"):  # Java refuses one whose jars have another time stamp
        archive.unlink(missing_ok=True)


def _fetch_with_maven(maven: str, place: Path, environment: Mapping[str, str]) -> None:
    command = [maven, "-B", "-q", "-f", str(POM_FILE), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={place}"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BrokerError(f"Maven did not finish within {FETCH_SECONDS:.0f} s; is its repository reachable?") from None
    if done.returncode:
        said = without_credentials(re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)).strip()
        lines = "\n".join(f"  {line[:300]}" for line in said.splitlines()[:6])
        raise BrokerError(f"Maven could not bring the jars of Kafka {KAFKA_VERSION} (exit {done.returncode}):\n{lines}")


def _fetch_with_httpx(repository: str, missing: Sequence[Jar], place: Path) -> None:
    shown = without_credentials(repository)
    with httpx.Client(follow_redirects=True, timeout=60.0) as client:
        for jar in missing:
            address = f"{repository.rstrip('/')}/{jar.repository_path}"
            try:
                with client.stream("GET", address) as answer, (place / jar.file_name).open("wb") as opened:
                    if answer.status_code != httpx.codes.OK:
                        raise BrokerError(f"{jar.file_name}: {shown} answered {answer.status_code}.")
                    for piece in answer.iter_bytes():
                        opened.write(piece)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                # The error's own text may hold the whole address, password included: name its kind only.
                raise BrokerError(f"{jar.file_name}: {shown} cannot be read ({type(error).__name__}).") from None


def without_credentials(text: str) -> str:
    """The same text with `user:password@` taken out of every address in it."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)
