"""The API's model follows `services.yaml` as inference's does; requests go on meanwhile."""

import threading
from typing import Final

from api.looking import Looking
from inference.model_watch import ModelWatch

ASK_SECONDS: Final = 0.25


class ModelFollowing:
    """Gives the detector that the watch has ready to the one who looks."""

    def __init__(self, looking: Looking, watch: ModelWatch) -> None:
        self._looking = looking
        self._watch = watch
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-following", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def close(self) -> None:
        """Ends."""
        self._stop.set()
        self._thread.join()
        self._watch.close()

    def _run(self) -> None:
        while not self._stop.wait(ASK_SECONDS):
            detector = self._watch.next()
            self._looking.refused = self._watch.refused
            if detector is not None:
                self._looking.take_over(detector)
