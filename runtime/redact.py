"""Credentials never leave: they are taken out of every text before it is logged, answered or kept.

Error texts of FFmpeg, PyAV and HTTP clients hold whole URLs, passwords included, so this works on any text, not only
on URLs that we hold in hand. It errs on the side of hiding.
"""

import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

HIDDEN: Final = "***"

# What strangers send is logged: every repetition before a fixed part is bounded, or it would cost the square of its
# length.
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,30}://"
_URL = re.compile(rf"{_SCHEME}[^\s'\"<>`|]+")
# A password may itself hold '@', '/' or ':' unencoded, so userinfo reaches to the last '@' before white space.
_USERINFO = re.compile(rf"^({_SCHEME})(.*)@", re.DOTALL)
# In a text a URL ends at a quote, and yet a password may hold one.
_QUOTED_USERINFO = re.compile(rf"({_SCHEME})[^\s/]{{0,500}}@")
_NAMES = (
    r"(?:[A-Za-z0-9_.-]{0,40}(?:pass|pwd|secret|token|signature|credential|api[_-]?key|auth)[A-Za-z0-9_.-]{0,40}"
    r"|usr|user|username|login|key|sig)"
)
_SECRET_PAIR = re.compile(rf"(?i)([?&;]{_NAMES}=)[^&#;\s'\"]*")
_TOKEN = re.compile(r"\bbst_[A-Za-z0-9_-]{20,}")
"""Of our API (`api.tokens`)."""
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization['\"]?\s{0,20}[:=]\s{0,20}['\"]?(?:(?:basic|bearer|digest)\s{1,20})?)[^\s'\",}]+"
)
_SECRET_KEY = re.compile(r"(?i)passw|passphrase|pwd$|secret|credential|api_?key|authorization")


def redact_url(url: str) -> str:
    """The URL without user, password and secret query values."""
    hidden = _USERINFO.sub(rf"\1{HIDDEN}@", url)
    return _SECRET_PAIR.sub(rf"\1{HIDDEN}", hidden)


def redact(text: str) -> str:
    """The text with the credentials of every URL in it, and of Authorization headers, hidden."""
    if "://" in text:
        text = _QUOTED_USERINFO.sub(rf"\1{HIDDEN}@", text)
        text = _URL.sub(lambda found: redact_url(found.group()), text)
    text = _SECRET_PAIR.sub(rf"\1{HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, _HEADER.sub(rf"\1{HIDDEN}", text))


def names_a_secret(key: str) -> bool:
    """Whether a value of this name is one that is never shown, whatever it is."""
    return _SECRET_KEY.search(key) is not None


def camera_place(url: str) -> str:
    """Where a camera is, for a person: scheme, host, port and path; no user, password or query. A path stays itself."""
    shown = redact_url(url)
    parts = urlsplit(shown) if "://" in shown else None
    if parts is None:
        return shown
    host = parts.netloc.rsplit("@", 1)[-1]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
