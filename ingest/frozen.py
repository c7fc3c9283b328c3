"""Is the camera sending one picture over and over, while its stream goes on? Pure."""

import zlib
from collections import deque
from typing import Any, Final

import numpy as np
import numpy.typing as npt

ROW_STEP: Final = 4
"""Every fourth row is enough: sensor noise reaches all of them."""

CHANGED_SHARE: Final = 0.25
"""A frozen picture that is encoded anew still changes with every key frame. At 5 frames a second and a key frame each
second that is one in five; a live camera's noise changes nearly every one."""

THAW_CHANGES: Final = 3
"""So many changed pictures in a row end it at once."""


def fingerprint(luma: npt.NDArray[np.uint8]) -> int:
    """A checksum over a thinned luma plane: equal pictures are equal, sensor noise makes any two differ.

    Thinned, not averaged: averaging would take the noise away by which a still scene is told from a frozen picture.
    """
    thinned: npt.NDArray[Any] = np.ascontiguousarray(luma[::ROW_STEP])
    return zlib.crc32(thinned.data)


class FrozenWatch:
    """Says whether a camera's pictures have been (nearly) all equal for ``after_ms``; 0 never says so."""

    def __init__(self, after_ms: int) -> None:
        self._after = after_ms
        self._seen: deque[tuple[int, bool]] = deque()
        self._changes = 0
        self._in_a_row = 0
        self._print: int | None = None
        self.frozen = False

    def look(self, captured_at: int, picture: int) -> bool:
        """Takes the next picture's fingerprint; answers whether the camera is frozen now."""
        if self._after <= 0:
            return False
        changed = picture != self._print
        self._print = picture
        self._in_a_row = self._in_a_row + 1 if changed else 0
        self._seen.append((captured_at, changed))
        self._changes += changed
        if self._in_a_row >= THAW_CHANGES:
            self._forget(captured_at)
            return False
        # One picture at or before the window's beginning stays, to show that the window is full.
        while len(self._seen) > 1 and self._seen[1][0] <= captured_at - self._after:
            self._changes -= self._seen.popleft()[1]
        full = self._seen[0][0] <= captured_at - self._after
        if full:
            self.frozen = self._changes <= CHANGED_SHARE * len(self._seen)
        return self.frozen

    def _forget(self, captured_at: int) -> None:
        self._seen.clear()
        self._seen.append((captured_at, False))
        self._changes = 0
        self.frozen = False
