"""Is the camera sending one picture over and over, while its stream goes on?

A checksum cannot tell: an encoder that is fed one picture still changes it from frame to frame, refining it, and anew
with every key frame, while a live but still scene that is compressed hard does not change at all between key frames.
What does tell is whether a picture *comes back*. Over several key frames a live camera's noise never gives nearly the
same picture again (mean difference 1.0 grey levels and more, measured down to noise of 0.7 levels and up to x264's CRF
40), while a frozen one comes back with every group of pictures (0.001 to 0.4). See docs/decisions/ingest.md.
"""

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

Thinned = npt.NDArray[np.uint8]

ROW_STEP: Final = 8
SAME_MEAN: Final = 0.5
"""Mean difference in grey levels under which two pictures are the same."""

MOVED_LEVELS: Final = 30
MOVED_SHARE: Final = 0.001
"""More pixels than this share that differ by more than `MOVED_LEVELS` are something that moved, however small the mean;
the digits of a clock in the picture are fewer."""

AWAY_MS: Final = 5_000
AWAY_PICTURES: Final = 3
"""A picture that has not come back for so long, and so many pictures, is gone."""


def thinned(luma: npt.NDArray[np.uint8]) -> Thinned:
    """Every eighth row of a luma plane, kept: enough to compare by. Not averaged, which would take the noise away."""
    rows: Thinned = np.ascontiguousarray(luma[::ROW_STEP]).copy()
    return rows


def is_same(one: Thinned, other: Thinned) -> bool:
    """Whether two thinned pictures are one picture, encoded twice."""
    if one.shape != other.shape:
        return False
    difference: Any = cv2.absdiff(one, other)
    if cv2.mean(difference)[0] >= SAME_MEAN:
        return False
    moved = cv2.countNonZero(cv2.compare(difference, MOVED_LEVELS, cv2.CMP_GT))
    return bool(moved <= MOVED_SHARE * difference.size)


class FrozenWatch:
    """Says whether one picture has been coming back for ``after_ms``; 0 never says so.

    ``after_ms`` has to be longer than the camera's key frame interval and five seconds: within one group of pictures a
    still scene may not change at all.
    """

    def __init__(self, after_ms: int) -> None:
        self._after = after_ms
        self._first: Thinned | None = None
        self._first_at = 0
        self._back_at = 0
        self._others = 0
        self.frozen = False

    @property
    def since(self) -> int:
        """When the picture that comes back was captured first."""
        return self._first_at

    def look(self, captured_at: int, picture: Thinned) -> bool:
        """Takes the next thinned picture; answers whether the camera is frozen now."""
        if self._after <= 0:
            return False
        if self._first is not None and is_same(self._first, picture):
            self._back_at, self._others = captured_at, 0
        else:
            self._others += 1
            gone = captured_at - self._back_at > AWAY_MS and self._others >= AWAY_PICTURES
            if self._first is None or gone:
                self._first, self._first_at, self._back_at, self._others = picture, captured_at, captured_at, 0
        self.frozen = self._back_at - self._first_at >= self._after
        return self.frozen
