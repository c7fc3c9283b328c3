"""What the router is told to do: `routes.yaml`, or the one sink that `ALERTING_PROTOCOL` names."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from router.routing import Node, compile_routes, one_sink
from router.sinks import Sink, known_sinks, one_line_sink, open_sink
from router.targets import Allowed, allowed_of, names_target
from runtime.configs import expand
from runtime.settings import Settings
from schemas.documents.cameras import Cameras
from schemas.documents.reading import read_document, read_yaml
from schemas.documents.routes import Routes, SystemAlerts
from schemas.problems import BadDocument, Problem

ROUTES = "routes.yaml"
CAMERAS = "cameras.yaml"

_TOKEN = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_=-]{20,}")
"""A step of a path that looks like a token, as chats have them in the URLs of their webhooks."""


class Configuration(NamedTuple):
    """The tree of routes, the sinks that it names, and each camera's site (`site` where a camera has none).

    ``unused`` are sinks that no route names. ``words`` says where it came from; ``warnings`` are doubts for a person.
    ``written`` holds a digest of each sink's entry, secrets filled in: it changes when the entry does.
    ``system``: when something about Backsight itself is an alert; None: nobody observes.
    """

    tree: Node
    sinks: tuple[Sink, ...]
    unused: tuple[Sink, ...]
    sites: Mapping[str, str]
    site: str
    words: str
    warnings: tuple[Problem, ...] = ()
    written: Mapping[str, bytes] = MappingProxyType({})
    system: SystemAlerts | None = None

    def site_of(self, camera_id: str) -> str:
        """The camera's site."""
        return self.sites.get(camera_id, self.site)


def contents(file: Path, environ: Mapping[str, str]) -> bytes:
    """What counts of a document when it is looked for changes: of `routes.yaml` also the secrets that it names.

    Raises `OSError`.
    """
    written = file.read_bytes()
    if file.name != ROUTES:
        return written
    return expand(written.decode(errors="replace"), environ, "", []).encode()


def load_router(settings: Settings, environ: Mapping[str, str], before: Configuration | None = None) -> Configuration:
    """Reads `routes.yaml` of the configuration folder; without one, the settings. Raises `BadDocument`.

    A sink that ran by ``before`` and whose entry has not changed is the same object. The sites are those of ``before``
    where `cameras.yaml` does not read.
    """
    file = settings.configs / ROUTES
    site, sites = settings.services.alerting.site, _sites(settings.configs)
    if sites is None:
        sites = {} if before is None else before.sites
    if not file.exists():
        sink = one_line_sink(settings.services.alerting)
        return Configuration(one_sink(sink.name), (sink,), (), sites, site, f"ALERTING_PROTOCOL={sink.kind}")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadDocument([Problem(file.name, f"cannot be read ({type(error).__name__})")]) from None
    values = read_yaml(text, file.name)
    try:
        document = read_document(Routes, values, file.name)
    except BadDocument as found:
        raise BadDocument([*found.problems, *_wrong_sinks(values, file.name, environ)]) from None
    problems = document.problems(file.name)
    tree, bad = compile_routes(document, file.name)
    problems += bad
    allowed, bad = _allowed(document, file.name)
    problems += bad
    sinks: list[Sink] = []
    warnings: list[Problem] = []
    digests: dict[str, bytes] = {}
    taken: dict[str, str] = {}
    running = {} if before is None else {sink.name: sink for sink in before.sinks}
    used = document.used_sinks()
    for number, entry in enumerate(document.sinks):
        place = f"{file.name}: sinks[{number}]"
        written = _with_targets(entry, None if bad else document.allowed_targets)
        try:
            sink = open_sink(written, place, environ)
        except BadDocument as found:
            problems += found.problems
            continue
        warnings += _plain_secrets(written, place)
        for host in getattr(sink, "hosts", ()):
            if not names_target(host, allowed):
                problems.append(Problem(place, f"{host} is not in allowed_targets"))
        digests[sink.name] = _digest(written, environ)
        if before is not None and before.written.get(sink.name) == digests[sink.name]:
            sink = running.get(sink.name, sink)
        sinks.append(sink)
        alone = getattr(sink, "alone", None)
        if alone is not None and taken.setdefault(alone, sink.name) != sink.name:
            problems.append(Problem(place, f"{taken[alone]} has {alone} already"))
        if sink.name not in used:
            warnings.append(Problem(place, f"no route tells {sink.name}"))
    if problems:
        raise BadDocument(problems)
    told = tuple(sink for sink in sinks if sink.name in used)
    unused = tuple(sink for sink in sinks if sink.name not in used)
    return Configuration(tree, told, unused, sites, site, file.name, tuple(warnings), digests, document.system)


def named_sink(settings: Settings, environ: Mapping[str, str], name: str) -> Sink:
    """The sink of that name, whether a route tells it or not; without `routes.yaml` the name is a kind's.

    Raises `BadDocument`.
    """
    if not (settings.configs / ROUTES).exists():
        return one_line_sink(settings.services.alerting.model_copy(update={"protocol": name}))
    configuration = load_router(settings, environ)
    known = {sink.name: sink for sink in (*configuration.sinks, *configuration.unused)}
    if name not in known:
        raise BadDocument([Problem(ROUTES, f"there is no sink {name!r}; known: {', '.join(sorted(known)) or 'none'}")])
    return known[name]


def _wrong_sinks(values: Any, name: str, environ: Mapping[str, str]) -> list[Problem]:
    """The mistakes in the entries of sinks, where the document around them does not check either."""
    entries = values.get("sinks") if isinstance(values, dict) else None
    problems: list[Problem] = []
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            try:
                open_sink(entry, f"{name}: sinks[{number}]", environ)
            except BadDocument as bad:
                problems += bad.problems
    return problems


def _allowed(document: Routes, name: str) -> tuple[Allowed, list[Problem]]:
    try:
        return allowed_of(document.allowed_targets), []
    except ValueError as error:
        key, _, said = str(error).partition(": ")
        return Allowed(), [Problem(f"{name}: {key}", said)]


def _with_targets(entry: Mapping[str, Any], allowed: tuple[str, ...] | None) -> Mapping[str, Any]:
    """The entry with the document's `allowed_targets`, where its kind asks for them and it has none of its own."""
    kind = known_sinks().get(str(entry.get("kind")))
    if allowed is None or kind is None or "allowed_targets" not in kind.document.model_fields:
        return entry
    return {"allowed_targets": list(allowed), **entry}


def _digest(written: Mapping[str, Any], environ: Mapping[str, str]) -> bytes:
    filled = expand(json.dumps(written, sort_keys=True, default=str), environ, "", [])
    return hashlib.sha256(filled.encode()).digest()


def _sites(configs: Path) -> Mapping[str, str] | None:
    """Cameras with a site of their own; None where they do not read, which is `config check`'s to complain of."""
    file = configs / CAMERAS
    if not file.exists():
        return {}
    try:
        cameras = read_document(Cameras, read_yaml(file.read_text(encoding="utf-8"), file.name), file.name).cameras
    except (OSError, UnicodeDecodeError, BadDocument):
        return None
    return {camera.id: camera.site for camera in cameras if camera.site is not None}


def _plain_secrets(written: Mapping[str, Any], place: str) -> list[Problem]:
    """A secret that stands in the file itself."""
    fields = known_sinks()[written["kind"]].document.model_fields
    return [
        Problem(f"{place}.{key}", "holds a secret in plain text; write ${NAME} and set NAME or NAME_FILE")
        for key, values in written.items()
        for value in (values if isinstance(values, list) else [values])
        if isinstance(value, str)
        and key in fields
        and "SecretStr" in str(fields[key].annotation or SecretStr)
        and "${" not in value
        and (not key.endswith("url") or _url_holds_secret(value))
    ]


def _url_holds_secret(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.password or parts.query or any(map(_TOKEN.fullmatch, parts.path.split("/"))))
