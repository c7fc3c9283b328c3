"""`make audit`: whether a locked dependency is known to be vulnerable.

pip-audit asks a vulnerability service: PyPI's, else OSV's. Where none answers it is said plainly and is no failure: a
machine without the internet can still check its work. What can be held offline is held everywhere: every dependency is
pinned with hashes, none is a release that is known to be bad, none lies below the version that mended what concerns us.

Exit codes: 0 nothing found (or nobody to ask), 1 something found.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from packaging.version import Version

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = tuple(sorted((ROOT / "requirements").glob("*.lock")))
ACCEPTED: Final = ROOT / "requirements" / "accepted-vulnerabilities.txt"
"""A line each: the id, and after it why it does not concern us."""
SERVICES: Final = ("pypi", "osv")
SECONDS: Final = 120

FLOORS: Final = {
    "starlette": ("0.40.0", "CVE-2024-47874: form fields without bound"),
    "python-multipart": ("0.0.18", "CVE-2024-53981: log lines without bound"),
    "torch": ("2.6.0", "CVE-2025-32434: code from weights"),
}
"""The first version without what concerns us."""
BAD: Final = {
    "ultralytics": ({"8.3.41", "8.3.42", "8.3.45", "8.3.46"}, "a miner in the wheel, December 2024"),
}

_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\n]+)(.*)$", re.MULTILINE)


def offline(lock: str) -> Iterator[str]:
    """What is wrong with a lock file's text without asking anybody."""
    for name, version, rest in _pins(lock):
        if "--hash=sha256:" not in rest:
            yield f"{name} {version}: has no hash"
        floor, why = FLOORS.get(name, ("0", ""))
        if Version(version) < Version(floor):
            yield f"{name} {version}: expected {floor} or newer ({why})"
        versions, why = BAD.get(name, (set(), ""))
        if version in versions:
            yield f"{name} {version}: {why}"


def found(answer: str) -> tuple[list[str], int, int]:
    """What pip-audit's JSON holds: the vulnerabilities in words, dependencies audited, dependencies not known there."""
    dependencies = json.loads(answer)["dependencies"]
    words = [
        f"{each['name']} {each['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for each in dependencies
        for flaw in each.get("vulns", ())
    ]
    unknown = sum("skip_reason" in each for each in dependencies)
    return words, len(dependencies) - unknown, unknown


def main() -> int:
    """Audits every lock offline and the one that is shipped with a service."""
    faults = [f"{lock.name}: {fault}" for lock in LOCKS for fault in offline(lock.read_text(encoding="utf-8"))]
    shipped = ROOT / "requirements" / "run.lock"
    name, version, _ = _pins(shipped.read_text(encoding="utf-8"))[0]
    for service in SERVICES:
        # One dependency first: where nobody answers, that is known in a second or two.
        if _ask(service, f"{name}=={version}\n")[1] == 0:
            continue
        words, audited, unknown = _ask(service, shipped.read_text(encoding="utf-8"))
        faults += words
        print(f"audit: {audited} dependencies known to {service}, {unknown} not, {len(words)} vulnerabilities")
        break
    else:
        print(f"audit: NOT ASKED: no vulnerability service answers here ({', '.join(SERVICES)}); offline checks alone")
    for fault in faults:
        print(f"audit: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _pins(lock: str) -> list[tuple[str, str, str]]:
    """Name, version and the rest of every requirement of a lock file."""
    return _PIN.findall(lock.replace("\\\n", " "))


def _ask(service: str, requirements: str) -> tuple[list[str], int, int]:
    """See `found`; nothing where the service does not answer."""
    accepted = [line.split()[0] for line in ACCEPTED.read_text(encoding="utf-8").splitlines() if line[:1].isalnum()]
    ignored = [word for each in accepted for word in ("--ignore-vuln", each)]
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "-f", "json", "-s", service, *ignored]
    try:
        ended = subprocess.run(
            [*command, "-r", "/dev/stdin"], input=requirements, capture_output=True, text=True, timeout=SECONDS
        )
        return found(ended.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return [], 0, 0


if __name__ == "__main__":
    sys.exit(main())
