"""The evidence of alerts in a folder, or in whatever `fsspec` has a driver for."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from evidence.layout import File, is_ours, path_of
from runtime.logs import get_logger
from runtime.picture_memory import day_ends
from runtime.store import PART, Store, last
from schemas.messages import Alert

_FORGET: Final = "forget old evidence"

log = get_logger(__name__)


class Account(msgspec.Struct, frozen=True):
    """`alert.json`: the alert as it opened, and what became of its evidence; written last, so it says that all is done.

    ``missing``: why there is no picture, in words; None where there is one. ``kept_at``: milliseconds UTC.
    """

    alert: Alert
    kept_at: int
    missing: str | None = None


class EvidenceStore:
    """The evidence under one URL, of the topics with one prefix. Raises `BadStore` at once, reaches the store later.

    Every method raises `StoreTrouble`.
    """

    def __init__(self, url: str, prefix: str = "") -> None:
        self._store = Store(url)
        self._prefix = prefix

    def put(self, alert_id: str, opened_at: int, file: File, content: bytes) -> None:
        """Keeps a file; one that is there is replaced by the new one, whole."""
        path = path_of(self._prefix, alert_id, opened_at, file)
        self._store.put(path, content, f"keep {file}", replace=True)

    def find(self, alert_id: str, opened_at: int, file: File) -> bytes | None:
        """A file, or None where it is not kept."""
        return self._store.find(path_of(self._prefix, alert_id, opened_at, file), f"read {file}")

    def account(self, alert_id: str, opened_at: int) -> Account | None:
        """What became of the alert's evidence, or None where it was not looked for yet.

        None also where `alert.json` does not read, as a power cut may leave it: it is made again, and holds up nobody.
        """
        content = self.find(alert_id, opened_at, "alert.json")
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=Account)
        except msgspec.DecodeError as error:
            log.warning("account_unreadable", alert=alert_id, reason=str(error))
            return None

    def write_account(self, account: Account) -> None:
        """Writes `alert.json`."""
        content = msgspec.json.format(msgspec.json.encode(account), indent=2)
        self.put(account.alert.alert_id, account.alert.opened_at, "alert.json", content)

    def forget(self, before: int) -> int:
        """Removes the evidence of every UTC day that had ended at ``before``, of every prefix.

        Nothing that does not bear the name of evidence is touched. Answers how many files went.
        """
        gone = 0
        for day in self._days():
            if day_ends(last(day)) > before:
                continue
            ours = [path for path in self._store.files(day, _FORGET) if is_ours(PART.sub("", path))]
            self._store.remove(ours, _FORGET)
            gone += len(ours)
            self._store.prune(day, _FORGET)
        return gone

    def _days(self) -> Iterator[str]:
        for path in self._store.folder("", _FORGET):
            for each in self._store.folder(path, _FORGET) if path.startswith("_") else [path]:
                with suppress(ValueError):  # something else than a day
                    day_ends(last(each))
                    yield each
