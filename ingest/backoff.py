"""How long to wait before a camera is tried again. Pure."""

from typing import Final

LADDER: Final = ((5, 1.0), (5, 5.0), (10, 10.0))
"""(attempts, seconds): quick at first, since most cameras are back after a reboot's few seconds."""

LAST_SECONDS: Final = 60.0
JITTER: Final = 0.2
"""Cameras that went away together (a switch was restarted) come back spread over ±20 %."""

REFUSED_FREE: Final = 2
REFUSED_SECONDS: Final = 300.0
"""After two refused passwords one attempt per five minutes: cameras lock an account after a few."""


def wait_before(failures: int, chance: float, *, refused: bool = False) -> float:
    """Seconds to wait after the ``failures``-th failure in a row (from 1).

    ``chance`` is a random number 0 to 1. ``refused``: the camera did not take user or password; such a wait is never
    made shorter by chance.
    """
    if refused and failures >= REFUSED_FREE:
        return REFUSED_SECONDS * (1 + JITTER * chance)
    left = failures
    for attempts, seconds in LADDER:
        if left <= attempts:
            return seconds * _spread(chance)
        left -= attempts
    return LAST_SECONDS * _spread(chance)


def _spread(chance: float) -> float:
    return 1 + JITTER * (2 * chance - 1)
