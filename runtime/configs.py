"""The configuration folder: `cameras.yaml`, `rois.yaml`, `services.yaml`, read, filled in and checked as a whole."""

import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from runtime.settings import Settings, load_settings, secret
from schemas.documents.cameras import Camera, Cameras, check_url, source_kind
from schemas.documents.reading import read_document, read_yaml
from schemas.documents.rois import CameraRois, Rois
from schemas.problems import BadDocument, Problem
from schemas.topics import DAY, DETECTIONS

_NAME: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ResolvedCamera(NamedTuple):
    """A camera with its URL filled in. ``url`` holds credentials: never log it, see `runtime.redact`."""

    camera: Camera
    url: str

    def __repr__(self) -> str:
        return f"ResolvedCamera({self.camera.id})"


class Checked(NamedTuple):
    """What a check of the whole folder found. With ``problems`` the rest may be empty."""

    problems: list[Problem]
    warnings: list[Problem]
    cameras: tuple[ResolvedCamera, ...]
    rois: Rois
    settings: Settings | None


def expand(text: str, environ: Mapping[str, str], place: str, problems: list[Problem]) -> str:
    """The text with `${NAME}` filled from the environment, or from the file that `NAME_FILE` names.

    `${NAME_FILE}` itself stands for the contents of the file that the variable names. Between `://` and `@` a value is
    percent-encoded, so that a password is given as it is. What is missing is added to ``problems``.
    """

    def filled(found: re.Match[str]) -> str:
        name = found.group(1)
        if name.endswith("_FILE") and environ.get(name):
            name = name.removesuffix("_FILE")
            value = secret({f"{name}_FILE": environ[f"{name}_FILE"]}, name, problems)
        else:
            value = secret(environ, name, problems)
        if value is None:
            problems.append(Problem(place, f"${{{name}}} is not set (nor {name}_FILE)"))
            return ""
        before, after = text[: found.start()], text[found.end() :]
        in_userinfo = "://" in before and "/" not in before.split("://", 1)[1] and "@" in after
        return quote(value, safe="") if in_userinfo else value

    return _NAME.sub(filled, text)


def load_cameras(configs: Path, environ: Mapping[str, str]) -> tuple[ResolvedCamera, ...]:
    """The enabled cameras of `cameras.yaml`, URLs filled in; raises `BadDocument` with every mistake."""
    file = configs / "cameras.yaml"
    document = read_document(Cameras, _yaml(file, needed=True), file.name)
    problems: list[Problem] = []
    resolved: list[ResolvedCamera] = []
    for number, camera in enumerate(document.cameras):
        if not camera.enabled:
            continue
        place = f"{file.name}: cameras[{number}].url"
        before = len(problems)
        url = expand(camera.url.get_secret_value(), environ, place, problems)
        if len(problems) == before and (wrong := check_url(url)) is not None:
            problems.append(Problem(place, wrong))
        if camera.start_at_ms is not None and not camera.realtime:
            oldest = time.time() * 1000 - (DETECTIONS.retention_ms or 0)
            if camera.start_at_ms < oldest:
                days = (DETECTIONS.retention_ms or 0) // DAY
                problems.append(
                    Problem(
                        f"{file.name}: cameras[{number}].start_at", f"is older than the {days} days detections are kept"
                    )
                )
        if source_kind(url) in ("file", "images") and not Path(url).is_absolute():
            url = str(configs / url) if (configs / url).exists() else url
        resolved.append(ResolvedCamera(camera, url))
    if problems:
        raise BadDocument(problems)
    return tuple(resolved)


def load_rois(configs: Path) -> Rois:
    """`rois.yaml` of the folder; none where it is absent. Raises `BadDocument` with every mistake."""
    return read_rois(configs / "rois.yaml")


def read_rois(file: Path, *, needed: bool = False) -> Rois:
    """A document of ROIs by any name; raises `BadDocument` with every mistake of shape, polygon and label."""
    document = read_document(Rois, _yaml(file, needed=needed), file.name)
    problems = document.problems(file.name)
    if problems:
        raise BadDocument(problems)
    return document


def check_configs(configs: Path, environ: Mapping[str, str], labels: Iterable[str] | None = None) -> Checked:
    """Reads the whole folder and says every mistake and every doubt at once.

    ``labels``: what the model can report, for a warning about labels that are in neither list or that it does not know.
    """
    problems: list[Problem] = []
    cameras: tuple[ResolvedCamera, ...] = ()
    rois = Rois()
    settings: Settings | None = None
    if not configs.is_dir():
        found = Problem(str(configs), "is no folder; expected one with cameras.yaml, rois.yaml and services.yaml")
        return Checked([found], [], cameras, rois, None)
    try:
        cameras = load_cameras(configs, environ)
    except BadDocument as bad:
        problems += bad.problems
    try:
        rois = load_rois(configs)
    except BadDocument as bad:
        problems += bad.problems
    try:
        settings = load_settings(configs, environ)
    except BadDocument as bad:
        problems += bad.problems
    if problems:
        return Checked(problems, [], cameras, rois, settings)
    problems += unreachable_confirms(cameras, rois)
    return Checked(problems, doubts(cameras, rois, labels), cameras, rois, settings)


def unreachable_confirms(cameras: Iterable[ResolvedCamera], rois: Rois) -> list[Problem]:
    """Every `confirm` that the camera's `fps_target` can never satisfy: N hits take N - 1 sample intervals."""
    rates = {each.camera.id: each.camera.fps_target for each in cameras}
    problems: list[Problem] = []
    for number, entry in enumerate(rois.cameras):
        rate = rates.get(entry.camera_id)
        if rate is None:
            continue
        for index, roi in enumerate(entry.forbidden_rois):
            least = (roi.confirm.hits - 1) / rate
            if least > roi.confirm.within_seconds:
                place = f"rois.yaml: cameras[{number}].forbidden_rois[{index}].confirm"
                problems.append(
                    Problem(
                        place,
                        f"{roi.confirm.hits} hits take at least {least:g} s at fps_target {rate:g}, "
                        f"more than within_seconds {roi.confirm.within_seconds:g}: it could never alert",
                    )
                )
    return problems


def doubts(cameras: Iterable[ResolvedCamera], rois: Rois, labels: Iterable[str] | None) -> list[Problem]:
    """What is allowed and probably not meant."""
    known = {each.camera.id for each in cameras}
    with_rois = {entry.camera_id for entry in rois.cameras if entry.forbidden_rois}
    found = [Problem("cameras.yaml", f"{name} has no ROIs: it can never alert") for name in sorted(known - with_rois)]
    for number, entry in enumerate(rois.cameras):
        place = f"rois.yaml: cameras[{number}]"
        if entry.camera_id not in known:
            found.append(Problem(f"{place}.camera_id", f"no enabled camera is called {entry.camera_id}"))
        if entry.forbidden_rois and not entry.alert_classes:
            found.append(Problem(f"{place}.alert_classes", "is empty: nothing can alert"))
    return found if labels is None else found + label_doubts(rois, labels)


def label_doubts(rois: Rois, labels: Iterable[str]) -> list[Problem]:
    """The labels of a model that a camera does not list, and those that a camera lists in vain."""
    known = set(labels)
    return [
        doubt
        for number, entry in enumerate(rois.cameras)
        for doubt in _label_doubts(f"rois.yaml: cameras[{number}]", entry, known)
    ]


def _label_doubts(place: str, entry: CameraRois, model_labels: set[str]) -> list[Problem]:
    found: list[Problem] = []
    listed = {*entry.alert_classes, *entry.allowed_classes}
    unlisted = sorted(model_labels - listed)
    if unlisted:
        shown = ", ".join(unlisted[:10]) + (f" and {len(unlisted) - 10} more" if len(unlisted) > 10 else "")
        found.append(Problem(place, f"the model's {shown}: in neither list, counted and never judged"))
    found += [
        Problem(f"{place}.alert_classes", f"the model does not know {label!r}: it can never alert")
        for label in entry.alert_classes
        if label not in model_labels
    ]
    return found


def _yaml(file: Path, *, needed: bool) -> object:
    try:
        return read_yaml(file.read_text(encoding="utf-8"), file.name)
    except FileNotFoundError:
        if needed:
            raise BadDocument([Problem(str(file), "is missing")]) from None
        return {}
    except UnicodeDecodeError:
        raise BadDocument([Problem(file.name, "is not UTF-8 text")]) from None
    except OSError as error:
        raise BadDocument([Problem(str(file), f"cannot be read: {error.strerror}")]) from None
