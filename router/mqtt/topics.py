"""What the topics are called. Pure.

`PREFIX/events` holds every alert, `PREFIX/CAMERA/ROI/state` what is open there, `PREFIX/status` whether we are there.
"""

from typing import NamedTuple
from urllib.parse import unquote

NOT_IN_A_LEVEL = "%+#/"


class Place(NamedTuple):
    """A camera and one of its ROIs."""

    camera: str
    roi: str


class Topics(NamedTuple):
    """Every topic below a prefix."""

    prefix: str

    @property
    def events(self) -> str:
        """Alerts, as they are told."""
        return f"{self.prefix}/events"

    @property
    def status(self) -> str:
        """`online` or `offline`, retained."""
        return f"{self.prefix}/status"

    @property
    def states(self) -> str:
        """Subscribes to the state of every place."""
        return f"{self.prefix}/+/+/state"

    def state(self, place: Place) -> str:
        """What is open in a place, retained."""
        return f"{self.prefix}/{level(place.camera)}/{level(place.roi)}/state"

    def place(self, topic: str) -> Place | None:
        """The place whose state a topic holds; None for every other topic."""
        parts = topic.removeprefix(f"{self.prefix}/").split("/")
        if len(parts) != 3 or parts[2] != "state" or not topic.startswith(f"{self.prefix}/"):
            return None
        return Place(unquote(parts[0]), unquote(parts[1]))


def level(name: str) -> str:
    """A name as one level of a topic: `%`, `+`, `#`, `/` and what cannot be printed are percent-encoded (UTF-8)."""
    return "".join(
        letter if letter.isprintable() and letter not in NOT_IN_A_LEVEL else _encoded(letter) for letter in name
    )


def wrong_prefix(prefix: str) -> str | None:
    """What is wrong with a prefix that a person wrote, or None."""
    if not prefix or prefix.startswith("$") or not prefix.isprintable() or "+" in prefix or "#" in prefix:
        return "expected levels without + and #, such as plant/backsight"
    if "" in prefix.split("/"):
        return "has an empty level"
    return None


def _encoded(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode())
