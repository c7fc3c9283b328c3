"""The one error of the local broker."""

from __future__ import annotations


class BrokerError(RuntimeError):
    """The local broker cannot do what was asked. The text says what is wrong and what to do about it."""


def install_hint(debian: str, elsewhere: str) -> str:
    """One sentence that says what to install: `debian` is an apt package list, `elsewhere` what the thing is called."""
    return f"Install it (Debian/Ubuntu: `apt-get install {debian}`; elsewhere: {elsewhere})."
