"""Free ports on loopback."""

from __future__ import annotations

import random
import socket

from runtime.broker.properties import HOST

# Below Linux's range for outgoing connections (32768 and up): in there, a client that reconnects to a dead broker can
# be given the broker's own port as its local one, connects to itself and keeps the port from the broker.
_LOWEST, _HIGHEST = 20_000, 32_000
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on loopback at `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Java does: a port in TIME_WAIT from the last broker is free, one that is listened on is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def pick_free(avoid: frozenset[int] = frozenset()) -> int:
    """A port that is free now. Somebody may take it before the broker does: the caller tries again then."""
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, _HIGHEST)  # noqa: S311 - not a secret
        if port not in avoid and is_free(port):
            return port
    raise OSError(f"no free port between {_LOWEST} and {_HIGHEST} in {_TRIES} tries")


def answers(port: int) -> bool:
    """Whether something accepts connections on loopback at `port`."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return True
    except OSError:
        return False
