"""The scene's time burnt into the picture, as a camera burns in its clock, but for machines to read.

A row of 48 black or white blocks along the top edge: white, black, 32 bits of milliseconds, 12 bits of checksum,
black, white. A block is 1/64 of the picture's width (10 pixels at 640): big enough to survive H.264 at 1 Mbit/s, JPEG
at quality 80 and scaling to 480 or 1280 wide.
"""

from __future__ import annotations

import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_BLOCKS = 48
_COLUMNS = 64  # blocks that the whole width would hold
_ROWS = 40  # strips that the whole height would hold: 9 pixels at 360
_TIME_BITS = 32
_CHECK_BITS = 12


def strip_height(height: int) -> int:
    """Pixels that the strip covers at the top of a picture `height` pixels high."""
    return round(height / _ROWS)


def _bits(t_ms: int) -> NDArray[np.uint8]:
    check = zlib.crc32(t_ms.to_bytes(4, "big")) & ((1 << _CHECK_BITS) - 1)
    word = (t_ms << _CHECK_BITS) | check
    count = _TIME_BITS + _CHECK_BITS
    payload = [(word >> (count - 1 - place)) & 1 for place in range(count)]
    return np.array([1, 0, *payload, 0, 1], dtype=np.uint8)


def draw(picture: NDArray[np.uint8], t_ms: int) -> None:
    """Burns `t_ms` (0 to 2^32 - 1, about 49 days) into `picture` (H, W, 3), in place."""
    if not 0 <= t_ms < 1 << _TIME_BITS:
        raise ValueError(f"the time must lie between 0 and 2^{_TIME_BITS} - 1 ms, not {t_ms}")
    height, width = picture.shape[:2]
    # Grey-white rather than white: full white rings more when it is compressed.
    row = (16 + 219 * _bits(t_ms)).astype(np.uint8)[None, :]
    strip = cv2.resize(row, (round(width * _BLOCKS / _COLUMNS), strip_height(height)), interpolation=cv2.INTER_NEAREST)
    picture[: strip.shape[0], : strip.shape[1]] = strip[:, :, None]


def read(picture: NDArray[Any]) -> int | None:
    """The time burnt into `picture` (H, W, 3) in milliseconds, or None when there is none that checks."""
    height, width = picture.shape[:2]
    block = width / _COLUMNS
    # The middle half of every block: its edges blur into the neighbours.
    rows = picture[max(0, round(height / _ROWS * 0.25)) : max(1, round(height / _ROWS * 0.75))]
    sums = np.concatenate([[0.0], np.cumsum(rows.mean(axis=(0, 2)))])
    left = np.round((np.arange(_BLOCKS) + 0.25) * block).astype(int)
    right = np.maximum(left + 1, np.round((np.arange(_BLOCKS) + 0.75) * block).astype(int))
    levels = (sums[right] - sums[left]) / (right - left)
    white, black = (levels[0] + levels[-1]) / 2, (levels[1] + levels[-2]) / 2
    if white - black < 60:
        return None
    word = 0
    for bit in levels[2:-2] > (white + black) / 2:
        word = (word << 1) | int(bit)
    t_ms = word >> _CHECK_BITS
    check = zlib.crc32(t_ms.to_bytes(4, "big")) & ((1 << _CHECK_BITS) - 1)
    return t_ms if check == word & ((1 << _CHECK_BITS) - 1) else None
