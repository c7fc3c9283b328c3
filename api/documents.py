"""The documents of the configuration folder as the API shows them: in their YAML shape, credentials taken out."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from rules.engine import Document, compile_rules
from runtime.configs import ResolvedCamera, doubts, load_rois, unreachable_confirms
from runtime.redact import HIDDEN, redact, redact_url
from schemas.documents.cameras import Cameras
from schemas.documents.reading import read_document, read_yaml
from schemas.documents.rois import RoiDefaults, Rois, effective_rules
from schemas.effective import revision_of
from schemas.problems import BadDocument, Problem

URL_KEYS: Final = ("url", "rtsp_url")


class Documents:
    """`cameras.yaml` and `rois.yaml` of a folder, read anew for every question: they are small and people edit them.

    Raises `BadDocument` where a document does not check.
    """

    def __init__(self, configs: Path, defaults: RoiDefaults) -> None:
        self._configs = configs
        self._defaults = defaults

    def cameras(self) -> dict[str, Any]:
        """`cameras.yaml` as a person wrote it, `${NAME}` unfilled, without credentials."""
        written = self._written("cameras.yaml")
        read_document(Cameras, written, "cameras.yaml")
        return shown(written)

    def rois(self) -> dict[str, Any]:
        """`rois.yaml` as a person wrote it."""
        load_rois(self._configs)
        return shown(self._written("rois.yaml"))

    def camera_ids(self) -> set[str]:
        """Every camera that one of the documents names."""
        cameras = read_document(Cameras, self._written("cameras.yaml"), "cameras.yaml").cameras
        return {camera.id for camera in cameras} | {entry.camera_id for entry in load_rois(self._configs).cameras}

    def rules_for(self, camera_id: str) -> Document | None:
        """The camera's ROIs, ready for judging; None where it has none."""
        for entry in load_rois(self._configs).cameras:
            if entry.camera_id == camera_id:
                rules = effective_rules(entry, self._defaults)
                return compile_rules(rules, revision_of(rules), 0)
        return None

    def judged(self, rois: Rois) -> tuple[list[Problem], list[Problem]]:
        """What is wrong, and what is doubtful, with ROIs that check by themselves, beside `cameras.yaml`."""
        document = read_document(Cameras, self._written("cameras.yaml"), "cameras.yaml")
        cameras = [ResolvedCamera(camera, "") for camera in document.cameras if camera.enabled]
        return unreachable_confirms(cameras, rois), doubts(cameras, rois, None)

    def _written(self, name: str) -> Any:
        file = self._configs / name
        try:
            return read_yaml(file.read_text(encoding="utf-8"), name) or {}
        except FileNotFoundError:
            return {"cameras": []}
        except (OSError, UnicodeDecodeError):
            raise BadDocument([Problem(name, "cannot be read")]) from None


def shown(written: Mapping[str, Any]) -> dict[str, Any]:
    """A document as JSON values; every credential in it is hidden."""
    return {str(key): _shown(value, str(key)) for key, value in written.items()}


def _shown(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return shown(value)
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    if isinstance(value, date):  # YAML turns unquoted dates and times into these
        return value.isoformat()
    if isinstance(value, str):
        return shown_url(value) if key in URL_KEYS else redact(value)
    return value


def shown_url(url: str) -> str:
    """A camera's URL without its credentials, also where somebody forgot the scheme."""
    if "://" not in url and "@" in url:
        return f"{HIDDEN}@{url.rsplit('@', 1)[1]}"
    return redact_url(url)
