"""What we depend on: pinned, audited as far as can be, and listed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import audit

ROOT = Path(__file__).resolve().parents[2]
HASH = "--hash=sha256:" + "0" * 64


def test_every_lock_stands_up_to_what_can_be_held_offline():
    assert len(audit.LOCKS) >= 3
    for lock in audit.LOCKS:
        text = lock.read_text(encoding="utf-8")
        assert text.count("==") >= 90, lock
        assert list(audit.offline(text)) == [], lock


@pytest.mark.parametrize(
    ("lock", "fault"),
    [
        (f"ultralytics==8.3.41 \\\n    {HASH}\n", "ultralytics 8.3.41: a miner in the wheel, December 2024"),
        (f"torch==2.5.1 ; sys_platform == 'linux' \\\n    {HASH}\n", "torch 2.5.1: expected 2.6.0 or newer"),
        (f"starlette==0.39.9 {HASH}\n", "starlette 0.39.9: expected 0.40.0"),
        (f"idna==3.10\nrich==15.0.0 {HASH}\n", "idna 3.10: has no hash"),
    ],
)
def test_what_is_known_to_be_bad_is_found_without_asking(lock, fault):
    (found,) = audit.offline(lock)
    assert found.startswith(fault)


ANSWER = {
    "dependencies": [
        {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}]},
        {"name": "b", "version": "2", "vulns": []},
        {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited: c (3)"},
    ]
}


def test_what_a_service_answers_is_told_whole():
    words, audited, unknown = audit.found(json.dumps(ANSWER))
    assert words == ["a 1: PYSEC-1, mended in 1.1"]
    assert (audited, unknown) == (2, 1)


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ({}, 0, "NOT ASKED"),
        (
            {"osv": (["a 1: PYSEC-1, mended in 1.1"], 90, 6)},
            1,
            "90 dependencies known to osv, 6 not, 1 vuln",
        ),
        ({"pypi": ([], 96, 0)}, 0, "96 dependencies known to pypi, 0 not, 0 vulnerabilities"),
    ],
)
def test_only_what_was_found_fails_and_nobody_to_ask_is_said(monkeypatch, capsys, answers, code, said):
    monkeypatch.setattr(audit, "_ask", lambda service, _requirements: answers.get(service, ([], 0, 0)))
    assert audit.main() == code
    assert said in capsys.readouterr().out


def test_the_bill_of_materials_lists_every_pinned_dependency(tmp_path):
    made = tmp_path / "sbom.cdx.json"
    command = ["-m", "cyclonedx_py", "requirements", "--no-validate", "--output-reproducible", "--of", "JSON"]
    lock = ROOT / "requirements" / "run.lock"
    subprocess.run([sys.executable, *command, "-o", str(made), str(lock)], check=True, capture_output=True)
    document = json.loads(made.read_text())
    assert document["bomFormat"] == "CycloneDX"
    listed = {(each["name"], each["version"]) for each in document["components"]}
    assert listed == {(name, version) for name, version, _ in audit._pins(lock.read_text(encoding="utf-8"))}
    assert all(each["purl"].startswith("pkg:pypi/") for each in document["components"])
