"""What a device's answer means. Pure: status and body in, a reply out; no body raises.

Devices say `ResponseStatus` (XML of five namespaces, or JSON), or `userCheck` where a login is refused. Neither the
HTTP status nor `statusCode` can be trusted alone: the same busy device was seen to answer 403 with code 4, 400, 503 and
200, and refusals come with 200. So `subStatusCode` is asked first, then `statusCode`, then HTTP.
"""

import json
import re
from typing import Any, Final, Literal, NamedTuple
from xml.etree.ElementTree import Element, ParseError

from defusedxml.ElementTree import fromstring
from msgspec import Struct

from router.retry import ACCEPTED, Answer

MOST_BYTES: Final = 64 * 1024
REFUSED_SECONDS: Final = 300
"""A refused login is not tried again before; longer where the device says so."""
MOST_REFUSED_SECONDS: Final = 86_400
REBOOT_MS: Final = 60_000

Verdict = Literal[
    "ok", "busy", "faulty", "reboot", "unsupported", "forbidden", "invalid", "login", "redirect", "unreached"
]
"""``unsupported``: the device has no such thing; ``forbidden``: this user may not; ``login``: the login was refused;
``unreached``: there was no answer."""

_SUB: Final[dict[str, Verdict]] = {
    "ok": "ok",
    "devicebusy": "busy",
    "deviceerror": "faulty",
    "rebootrequired": "reboot",
    "notsupport": "unsupported",
    "notsupported": "unsupported",
    "methodnotallowed": "unsupported",
    "lowprivilege": "forbidden",
    "badauthorization": "forbidden",
    "badxmlformat": "invalid",
    "badxmlcontent": "invalid",
    "badjsonformat": "invalid",
    "badjsoncontent": "invalid",
    "badparameters": "invalid",
    "badurlformat": "invalid",
    "messageparameterslack": "invalid",
    "invalidoperation": "invalid",
}
_CODE: Final[dict[str, Verdict]] = {
    "0": "ok", "1": "ok", "2": "busy", "3": "faulty", "4": "invalid", "5": "invalid", "6": "invalid", "7": "reboot",
}  # fmt: skip
_STATUS_ROOTS: Final = ("responsestatus", "usercheck")
_BARE_AMPERSAND: Final = re.compile(rb"&(?!#?[A-Za-z0-9]{1,16};)")


class Reply(Struct, frozen=True):
    """What a device said to one request. ``status`` 0: nothing. ``sub`` is its own word, for a person."""

    verdict: Verdict
    answer: Answer
    status: int = 0
    sub: str = ""
    body: bytes = b""


class Lock(NamedTuple):
    """What a refused login says: whether the account or our address is locked, for how long, and how often we may
    still try (None: not said)."""

    locked: bool
    seconds: int
    tries_left: int | None


def reply_of(status: int, body: bytes) -> Reply:
    """The reply that an HTTP answer is."""
    said = values_of(body)
    sub = said.get("substatuscode", "")
    verdict = _verdict(status, sub, said.get("statuscode", ""))
    shown = re.sub(r"[^A-Za-z0-9_ -]", "?", sub or said.get("statusstring", ""))[:60]
    detail = f"{status} {shown}".strip()
    return Reply(verdict, _answer(verdict, status, detail), status, shown, body)


def login_refused(status: int, body: bytes) -> tuple[Reply, int]:
    """A 401 that came although we had logged in, and how many seconds nobody should try again."""
    lock = lock_of(body)
    seconds = min(max(REFUSED_SECONDS, lock.seconds), MOST_REFUSED_SECONDS)
    detail = "the device refused the login"
    if lock.locked:
        detail += f" and is locked for {lock.seconds} s" if lock.seconds else " and is locked"
    elif lock.tries_left is not None:
        detail += f", {lock.tries_left} tries left"
    return Reply("login", Answer("later", "unauthorized", detail, seconds * 1000), status, body=body), seconds


def lock_of(body: bytes) -> Lock:
    """What a 401's body says about locking; a body without such words is no lock."""
    said = values_of(body)
    seconds, tries = _number(said.get("unlocktime")), _number(said.get("retrylogintime"))
    return Lock(said.get("lockstatus", "").lower() in ("lock", "locked"), seconds or 0, tries)


def values_of(body: bytes) -> dict[str, str]:
    """The values of a `ResponseStatus` or `userCheck`, names in lower case; empty where the body is neither."""
    if body.lstrip()[:1] == b"{":
        return _json_values(body)
    root = tree_of(body)
    if root is None or root.tag.lower() not in _STATUS_ROOTS:
        return {}
    return {child.tag.lower(): (child.text or "").strip() for child in root}


def tree_of(body: bytes) -> Element | None:
    """The XML with local names only; None where it is none, is too large, or declares entities."""
    if len(body) > MOST_BYTES:
        return None
    # Some firmware forgets to escape `&`, for instance in requestURL.
    for text in (body, _BARE_AMPERSAND.sub(b"&amp;", body)):
        try:
            root: Element = fromstring(text, forbid_dtd=True)
        except (ParseError, ValueError, LookupError):
            continue
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root
    return None


def text_at(root: Element | None, *path: str) -> str:
    """The text below ``root`` by names; empty where there is none."""
    for name in path:
        root = None if root is None else next((child for child in root if child.tag == name), None)
    return "" if root is None else (root.text or "").strip()


def _verdict(status: int, sub: str, code: str) -> Verdict:
    if status == 401:
        return "login"
    said = _SUB.get(sub.lower()) or _CODE.get(code)
    if said is not None and (said != "ok" or 200 <= status < 300):
        return said
    if 200 <= status < 300:
        return "ok"  # a trigger that succeeds may have no body at all
    if 300 <= status < 400:
        return "redirect"
    if status in (404, 405, 501):
        return "unsupported"
    if status == 403:
        return "forbidden"
    return "busy" if status in (408, 425, 429, 503) else "faulty" if status >= 500 else "invalid"


def stays(answer: Answer) -> bool:
    """Whether the same request will get the same: what the device has not, and what this user may not do there.

    Devices say of what they lack that the user may not, so a right that is missing is both: the alert waits for it, as
    for any refused login, and the device is not asked again and again.
    """
    return answer.verdict == "never" or (answer.reason == "unauthorized" and answer.retry_after_ms is None)


def _answer(verdict: Verdict, status: int, detail: str) -> Answer:
    match verdict:
        case "ok":
            return ACCEPTED
        case "busy":
            return Answer("later", "rate_limited", f"busy: {detail}")
        case "reboot":
            return Answer("later", "server_error", f"wants a restart: {detail}", REBOOT_MS)
        case "unsupported":
            return Answer("never", "not_found", f"not supported: {detail}")
        case "forbidden":
            return Answer("later", "unauthorized", f"not allowed for this user, or not there: {detail}")
        case "login":
            return Answer("later", "unauthorized", f"a login is wanted that we do not have: {detail}")
        case "redirect":
            return Answer("never", "redirect", detail)
        case "invalid":
            return Answer("never", "rejected", detail)
        case _:
            return Answer("later", "server_error", detail or str(status))


def _json_values(body: bytes) -> dict[str, str]:
    try:
        said: Any = json.loads(body) if len(body) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        return {}
    if isinstance(said, dict):
        inner = next((each for name, each in said.items() if name.lower() in _STATUS_ROOTS), said)
        if isinstance(inner, dict):
            return {str(name).lower(): str(value) for name, value in inner.items() if isinstance(value, str | int)}
    return {}


def _number(text: str | None) -> int | None:
    return int(text[:9]) if text and text.isascii() and text.isdigit() else None
