"""Documents that are looked at again and again, to take up what a person changed."""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 2.5
"""A change is taken up at the second look that finds it, so within 5 s, and never while it is being written."""


class Watched:
    """Some files, as they were when this was made or last answered `changed`.

    ``contents`` answers what counts of a file; it may raise `OSError`.
    """

    def __init__(
        self,
        files: Sequence[Path],
        clock: Callable[[], float] = time.monotonic,
        contents: Callable[[Path], bytes] = Path.read_bytes,
    ) -> None:
        self._files = files
        self._contents = contents
        self._clock = clock
        self._known = self._seen = self._read()
        self._due = clock() + LOOK_SECONDS

    def changed(self) -> bool:
        """Whether their contents are others than before, and were the same at the last two looks. Once per change."""
        if self._clock() < self._due:
            return False
        self._due = self._clock() + LOOK_SECONDS
        before, self._seen = self._seen, self._read()
        if self._seen == self._known or self._seen != before:
            return False
        self._known = self._seen
        return True

    def _read(self) -> bytes:
        """A digest. They are small; their times would not tell of every change."""
        digest = hashlib.sha256()
        for file in self._files:
            try:
                digest.update(hashlib.sha256(self._contents(file)).digest())
            except OSError:
                digest.update(b"-")
        return digest.digest()
