"""Credentials never leave: they are taken out of every text before it is logged, answered or kept.

Error texts of FFmpeg, PyAV and HTTP clients hold whole URLs, passwords included, so this works on any text, not only
on URLs that we hold in hand. It errs on the side of hiding.
"""

import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

HIDDEN: Final = "***"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>`|]+")
# A password may itself hold '@', '/' or ':' unencoded, so userinfo reaches to the last '@' before white space.
_USERINFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)(.*)@", re.DOTALL)
_SECRET_NAME = r"(?:[A-Za-z0-9_.-]*(?:pass|pwd|secret|token|signature|credential|api[_-]?key|auth)[A-Za-z0-9_.-]*|usr|user|username|login|key|sig)"  # noqa: S105, E501
_SECRET_PAIR = re.compile(rf"(?i)([?&;]{_SECRET_NAME}=)[^&#;\s'\"]*")
_TOKEN = re.compile(r"\bbst_[A-Za-z0-9_-]{20,}")
"""Of our API (`api.tokens`)."""
_HEADER = re.compile(r"(?i)\b((?:proxy-)?authorization\s*[:=]\s*(?:basic|bearer|digest)?\s*)[^\s'\",}]+")


def redact_url(url: str) -> str:
    """The URL without user, password and secret query values."""
    hidden = _USERINFO.sub(rf"\1{HIDDEN}@", url)
    return _SECRET_PAIR.sub(rf"\1{HIDDEN}", hidden)


def redact(text: str) -> str:
    """The text with the credentials of every URL in it, and of Authorization headers, hidden."""
    if "://" in text:
        text = _URL.sub(lambda found: redact_url(found.group()), text)
    text = _SECRET_PAIR.sub(rf"\1{HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, _HEADER.sub(rf"\1{HIDDEN}", text))


def camera_place(url: str) -> str:
    """Where a camera is, for a person: scheme, host, port and path; no user, password or query. A path stays itself."""
    shown = redact_url(url)
    parts = urlsplit(shown) if "://" in shown else None
    if parts is None:
        return shown
    host = parts.netloc.rsplit("@", 1)[-1]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
