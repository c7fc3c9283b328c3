"""Seeded draws: the same words always give the same generator."""

from __future__ import annotations

import hashlib

import numpy as np


def dice(*words: object) -> np.random.Generator:
    """A generator for what `words` name, for example ``dice(7, "yard_gate", "incident", 3)``.

    Every thing in the scene draws from a generator of its own, so that asking for one instant needs no other
    instant to have been drawn before.
    """
    digest = hashlib.blake2b("\x1f".join(str(word) for word in words).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
