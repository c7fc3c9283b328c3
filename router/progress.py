"""Which offsets of a partition may be committed: those before which nothing waits any more. Pure."""


class Progress:
    """One partition's offsets between reading and the end of their delivery.

    As in Kafka, the offset that is committed is the *next* one to read.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, None] = {}
        self._next: int | None = None

    def begin(self, offset: int) -> None:
        """``offset`` was read; offsets come in rising order."""
        self._waiting[offset] = None
        self._next = offset + 1

    def done(self, offset: int) -> None:
        """Nothing remains to be done for ``offset``."""
        self._waiting.pop(offset, None)

    @property
    def committable(self) -> int | None:
        """What may be committed: the oldest offset that waits, else the next to read; None before anything was read."""
        return next(iter(self._waiting), self._next)

    @property
    def waiting(self) -> int:
        """How many offsets wait."""
        return len(self._waiting)
