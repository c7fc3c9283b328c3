"""Which frames the picture memory is to keep. Pure."""

from collections.abc import Iterable


class Due:
    """Each label in sight of a camera is on a kept picture at least every so often.

    So a label that stays is kept once an interval, one that newly comes in sight is kept at once, and one that comes
    and goes from frame to frame costs no more than one that stays. A picture counts for every label on it.
    """

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._kept_at: dict[tuple[str, str], int] = {}

    def look(self, camera_id: str, captured_at: int, in_sight: Iterable[str]) -> bool:
        """Whether the frame is to be kept, which it then counts as. ``captured_at``: milliseconds."""
        keys = [(camera_id, label) for label in in_sight]
        if not any(self._is_due(key, captured_at) for key in keys):
            return False
        self._kept_at |= dict.fromkeys(keys, captured_at)
        return True

    def _is_due(self, key: tuple[str, str], captured_at: int) -> bool:
        kept_at = self._kept_at.get(key)
        # A stretch may be judged again from its beginning: what lies before the newest picture is kept again.
        return kept_at is None or abs(captured_at - kept_at) >= self._every_ms
