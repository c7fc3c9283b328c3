"""A file played in real time."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ingest.sources.source import Picture

BEHIND_SECONDS: Final = 1.0
"""Later than this the file does not run to catch up: a camera's pictures would be lost too."""


def paced(pictures: Iterable[Picture], wait: Callable[[float], bool]) -> Iterator[Picture]:
    """The pictures, each when its timestamp says, the first now; ends early when ``wait`` says to stop."""
    began: float | None = None
    for picture in pictures:
        at = (picture.at_ms or 0.0) / 1000
        if began is None:
            began = time.monotonic() - at
        left = began + at - time.monotonic()
        if left > 0 and wait(left):
            return
        if left < -BEHIND_SECONDS:
            began -= left
        yield picture
