"""Certificates for tests, made by openssl; without it the tests are skipped, in CI they fail."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def self_signed(certificate: Path, key: Path) -> None:
    """Writes a certificate for localhost and 127.0.0.1 that is its own authority, and its key; PEM, one day."""
    if shutil.which("openssl") is None and not os.environ.get("CI"):
        pytest.skip("openssl is not there to make a certificate")
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = [*words.split(), "-addext", names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
