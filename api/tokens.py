"""API tokens: who may do what. Of each the SHA-256 alone is kept, in a file that a running API reads when it changes.

A token holds 256 random bits, so its hash needs neither salt nor stretching.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

import msgspec

from runtime.logs import get_logger
from schemas.problems import BadDocument, Problem

Role = Literal["read", "infer", "admin"]
"""`admin` may everything, the other two only what they say."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)

PREFIX: Final = "bst_"
"""Every token begins so: `runtime.redact` and secret scanners know one when they see it."""
FIRST: Final = "first"
"""The name of the token that is made where the API is to listen beyond this machine and there is none."""

log = get_logger(__name__)


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a token. ``cameras`` None: every camera. Instants are milliseconds UTC."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)]
    cameras: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None
    created_at: int
    expires_at: int | None = None


class BadToken(ValueError):
    """A token cannot be made or taken away so; says what was expected."""


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tokens: tuple[Token, ...]


class TokenFile:
    """The file. Reading and writing raise `BadDocument` where it does not check or cannot be reached."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[Token, ...] | None:
        """Every token; None where there is no file, so that there never was one."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=_Written).tokens
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._bad(error.strerror or "cannot be read") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._bad(str(error)) from None

    def create(
        self, name: str, roles: Sequence[Role], cameras: Sequence[str] | None, expires_at: int | None, now: int
    ) -> str:
        """Adds a token and answers it, which nobody can do again. Raises `BadToken` for a name that is taken."""
        with self._turn():
            there = self.read() or ()
            if any(each.name == name for each in there):
                raise BadToken(f"there is a token {name} already; revoke it, or take another name")
            return self._add(there, name, roles, cameras, expires_at, now)

    def first(self, now: int) -> str | None:
        """One token for everything where there is no file; None where there is one, even if no token is left in it."""
        if self.read() is not None:
            return None  # also where the file lies in a folder that nobody may write to, as a mounted secret does
        with self._turn():
            return self._add((), FIRST, ("admin",), None, None, now) if self.read() is None else None

    def revoke(self, name: str) -> None:
        """Takes a token away. Raises `BadToken` where there is none of the name."""
        with self._turn():
            there = self.read() or ()
            left = tuple(each for each in there if each.name != name)
            if len(left) == len(there):
                raise BadToken(f"there is no token {name}")
            self._write(left)

    def _add(
        self,
        there: tuple[Token, ...],
        name: str,
        roles: Sequence[Role],
        cameras: Sequence[str] | None,
        expires_at: int | None,
        now: int,
    ) -> str:
        secret = PREFIX + secrets.token_urlsafe(32)
        kept = Token(name, digest(secret), tuple(roles), None if cameras is None else tuple(cameras), now, expires_at)
        try:
            msgspec.convert(msgspec.to_builtins(kept), Token)
        except msgspec.ValidationError as error:
            raise BadToken(str(error)) from None
        self._write((*there, kept))
        return secret

    def _write(self, tokens: tuple[Token, ...]) -> None:
        content = msgspec.json.format(msgspec.json.encode(_Written(tokens)), indent=2)
        handle, new = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")  # readable by us alone
        with os.fdopen(handle, "wb") as file:
            file.write(content + b"\n")
            file.flush()
            os.fsync(file.fileno())
        Path(new).replace(self.path)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One writer at a time, of whatever process."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_name(f"{self.path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise self._bad(error.strerror or "cannot be written") from None

    def _bad(self, why: str) -> BadDocument:
        return BadDocument([Problem(f"{self.path} (API_TOKENS_FILE)", why)])


class Tokens:
    """The tokens as they are now: the file is looked at for every request and read when it is another one."""

    def __init__(self, file: TokenFile) -> None:
        """Raises `BadDocument`."""
        self._file = file
        self._seen = self._look()
        self._tokens = file.read()

    @property
    def needed(self) -> bool:
        """Whether there are tokens, or ever were: what was closed does not open again."""
        self._refresh()
        return self._tokens is not None

    def find(self, presented: str) -> Token | None:
        """The token that this is, unless its time is over. Every one is compared, in constant time."""
        self._refresh()
        found: Token | None = None
        hashed = digest(presented)
        for token in self._tokens or ():
            if hmac.compare_digest(token.sha256, hashed):
                found = token
        if found is not None and found.expires_at is not None and time.time() * 1000 >= found.expires_at:
            return None
        return found

    def _refresh(self) -> None:
        looks = self._look()
        if looks == self._seen:
            return
        self._seen = looks
        try:
            read = self._file.read()
        except BadDocument as bad:
            log.error("tokens_unreadable", reason=str(bad), effect="those known before hold")
            return
        if read is not None or self._tokens is not None:
            self._tokens = read or ()
            log.info("tokens_read", tokens=[token.name for token in self._tokens])

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def digest(secret: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()
