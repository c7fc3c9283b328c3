"""The model that `services.yaml` names, followed while the process runs.

A changed model is loaded and warmed in a thread of its own while the one before goes on detecting, so that whoever
detects only has to swap one for the other. One that cannot be used changes nothing: it is said once, and tried again
when `services.yaml`, the registry or the model's file changes.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from inference.detectors.contract import Detector
from inference.model_registry import REGISTRY
from runtime.logs import get_logger
from runtime.metrics import MODEL_INFO, MODEL_RELOAD_OK
from runtime.redact import redact
from runtime.settings import Settings, load_settings
from schemas.documents.services import InferenceSettings
from schemas.messages import Model
from schemas.problems import BadDocument

LOOK_SECONDS: Final = 2.0

_Stamp = tuple[int, int, int] | None

log = get_logger(__name__)


class _Wanted(NamedTuple):
    """What makes another model of it. The rest of `inference` in services.yaml holds from a restart on."""

    model_path: str
    detector: str
    allow_pickle_models: bool
    weights: _Stamp


class ModelWatch:
    """Looks at `services.yaml` every two seconds. Used from one thread.

    ``settings`` are those that the running model was opened with, ``environ`` the environment that wins over the file.
    ``open_detector`` opens a detector as the process does at its start.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        open_detector: Callable[[InferenceSettings], Detector],
        registry: Path = REGISTRY,
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._open = open_detector
        self._registry = registry
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="next-model")
        self._loading: Future[Detector] | None = None
        self._running = self._tried = _wanted(settings.services.inference)
        self._seen: tuple[_Stamp, ...] | None = None
        self._look_at = 0.0
        self.refused: str | None = None
        """Why the model that `services.yaml` names does not run; None while it does, or is being loaded."""
        MODEL_RELOAD_OK.set(1)

    def next(self) -> Detector | None:
        """A detector that is ready to take over, once; else None. Never waits."""
        if self._loading is None:
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + LOOK_SECONDS
                self._look()
            return None
        if not self._loading.done():
            return None
        loading, self._loading = self._loading, None
        try:
            detector = loading.result()
        except Exception as error:  # whatever it is, the model before goes on
            self._refuse(str(error) or type(error).__name__)
            return None
        self._running = self._tried
        self._well()
        return detector

    def close(self) -> None:
        """Ends; a model that is being loaded is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> None:
        files = (self._settings.configs / "services.yaml", self._registry, Path(self._tried.model_path))
        seen = tuple(map(_stamp, files))
        if seen == self._seen:
            return
        self._seen = seen
        try:
            wanted = _wanted(load_settings(self._settings.configs, self._environ).services.inference)
        except (BadDocument, OSError, UnicodeDecodeError) as error:
            self._refuse(f"services.yaml: {error}")
            return
        self._tried = wanted
        self._seen = (seen[0], seen[1], wanted.weights)
        if wanted == self._running:
            self._well()
            return
        told = {name: value for name, value in wanted._asdict().items() if name != "weights"}
        ours = self._settings.services.inference.model_copy(update=told)
        self._loading = self._thread.submit(self._open, ours)

    def _refuse(self, reason: str) -> None:
        self.refused = redact(reason)
        MODEL_RELOAD_OK.set(0)
        log.error("model_not_replaced", reason=self.refused)

    def _well(self) -> None:
        self.refused = None
        MODEL_RELOAD_OK.set(1)


def took_over(detector: Detector, before: Model | None) -> None:
    """Says which model runs from now on: in the log, and as the one series of the metric."""
    model = detector.model
    if before is not None and before != model:
        MODEL_INFO.remove(before.name, before.version, before.sha256)
    MODEL_INFO.labels(model.name, model.version, model.sha256).set(1)
    log.info(
        "model_loaded" if before is None else "model_replaced",
        model=model.name,
        version=model.version,
        sha256=model.sha256,
        device=detector.device,
        labels=list(detector.labels),
        **({} if before is None else {"before": f"{before.name} {before.version}"}),
    )


def _wanted(told: InferenceSettings) -> _Wanted:
    return _Wanted(told.model_path, told.detector, told.allow_pickle_models, _stamp(Path(told.model_path)))


def _stamp(file: Path) -> _Stamp:
    # A file that is replaced (as editors and ConfigMaps do) has another inode, even within one tick of mtime.
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)
