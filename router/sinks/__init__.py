"""Where alerts go. One file of this folder is one sink; a new sink is one new file.

A sink file says ``SINK = <its class>``. Sinks only deliver and report: retries, age limits, dead letters and cool-down
are not theirs.
"""

import importlib
import pkgutil
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol, Self, get_args
from urllib.parse import urlsplit

import msgspec
from pydantic import SecretStr

from router.retry import Answer
from router.routing import labels_of
from runtime.configs import expand
from schemas.documents.reading import read_document
from schemas.documents.routes import SinkDocument
from schemas.documents.services import AlertingSettings
from schemas.messages import ALERT_NAMESPACE, Alert, delivery_id
from schemas.problems import BadDocument, Problem


class Notice(msgspec.Struct, frozen=True):
    """What a sink is given: one alert in one phase, and the record's value as it was read.

    The value may hold more than ``alert`` does when a newer stage wrote it, so receivers get the value. ``company`` are
    further alerts told in the same breath, ``folded`` when that is because their route is flooded. ``repeat`` counts
    how often an alert that is still open is told again, 0 the first time. ``evidence_url``: a signed link to its
    picture that works for a while, where the settings say under which address. ``traceparent``: the trace that the
    alert is part of, where it is traced.
    """

    alert: Alert
    value: bytes
    site: str = ""
    company: tuple["Notice", ...] = ()
    folded: bool = False
    repeat: int = 0
    evidence_url: str | None = None
    traceparent: str | None = None

    @property
    def members(self) -> tuple["Notice", ...]:
        """Each phase that is told, by itself."""
        if not self.company and not self.folded:
            return (self,)
        return (msgspec.structs.replace(self, company=(), folded=False), *self.company)

    @property
    def delivery_id(self) -> str:
        """What receivers know it by: the same on every retry and after every restart.

        Of several in company: made from theirs, so that the same company has the same id.
        """
        if self.company or self.folded:
            names = ",".join(sorted(member.delivery_id for member in self.members))
            return f"group_{uuid.uuid5(ALERT_NAMESPACE, names)}"
        return f"{delivery_id(self.alert)}_r{self.repeat}" if self.repeat else delivery_id(self.alert)

    @property
    def lane(self) -> str:
        """What is told in the order in which it came: the phases of one alert."""
        return self.delivery_id if self.company or self.folded else self.alert.alert_id

    @property
    def kind(self) -> str:
        """`alert.opened`, `alert.resolved`, `alert.repeated`; of several `alerts.grouped` or `alerts.summary`."""
        if self.company or self.folded:
            return "alerts.summary" if self.folded else "alerts.grouped"
        return "alert.repeated" if self.repeat else f"alert.{self.alert.phase}"

    @property
    def labels(self) -> dict[str, str]:
        """What routes and silences match."""
        return labels_of(self.alert, self.site)

    def with_company(self, company: Iterable["Notice"], folded: bool) -> "Notice":
        """This one and others in the same breath."""
        return msgspec.structs.replace(self, company=tuple(company), folded=folded)

    def again(self, repeat: int) -> "Notice":
        """The same once more, for the ``repeat``-th time."""
        return msgspec.structs.replace(self, repeat=repeat)

    @property
    def instant(self) -> int:
        """When it happened, milliseconds UTC: the opening, or the resolve."""
        alert = self.alert
        return alert.opened_at if alert.resolved_at is None else alert.resolved_at

    @property
    def line(self) -> bytes:
        """The value on one line, without its end."""
        return msgspec.json.format(self.value, indent=-1) if b"\n" in self.value else self.value

    @property
    def linked_line(self) -> bytes:
        """The same with a last key `evidence_url`, where there is a link."""
        if self.evidence_url is None:
            return self.line
        return self.line.rstrip()[:-1] + b',"evidence_url":' + msgspec.json.encode(self.evidence_url) + b"}"


def iso(instant: int) -> str:
    """Milliseconds UTC as ISO 8601, `2026-11-23T00:30:30.123Z`."""
    return datetime.fromtimestamp(instant / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class SinkGone(RuntimeError):
    """The sink cannot deliver again in this process (nobody reads our stdout any more): the stage ends."""


class Sink(Protocol):
    """Delivers one alert at a time to one place, several at once.

    ``kind`` is the file's name, ``name`` this sink's own: consumer group, deliveries and metrics go by it.
    ``deadline_seconds`` bounds a whole attempt. ``max_age_seconds`` None: what it is told is never too old. ``lanes``
    attempts are under way at once. ``actuates``: it moves something in the world (a barrier, a siren), so that telling
    it of the past again is no mere message.

    A sink may have ``async def begin(self) -> None`` besides: called in its event loop before it is told anything, and
    again when a closed sink begins again. It starts work of its own (a sink that actuates turns off what a router that
    was killed left on) and waits for nothing outside. A sink may have ``alone: str``, too: in words, what no second
    sink of a configuration may have; and ``hosts: tuple[str, ...]``: where it connects, held against `allowed_targets`
    as it is written (a kind with that key sees to it itself, and to the addresses).
    """

    kind: ClassVar[str]
    actuates: ClassVar[bool]
    document: ClassVar[type[SinkDocument]]
    name: str
    deadline_seconds: float
    max_age_seconds: float | None
    lanes: int

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """The sink that its part of `routes.yaml` describes (an instance of ``document``). Reaches nothing yet.

        Raises `ValueError` for what the document's shape alone cannot tell; the text names the key and never a secret.
        """
        ...

    async def deliver(self, notice: Notice) -> Answer:
        """One attempt. What went wrong outside is an answer, not an exception, and names no URL.

        It may be cancelled at the deadline. Raises `SinkGone` when no later attempt can succeed.
        """
        ...

    async def close(self) -> None:
        """Gives connections back."""
        ...


def known_sinks() -> dict[str, type[Sink]]:
    """Every sink of this folder by its name."""
    found: dict[str, type[Sink]] = {}
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        sink: type[Sink] = importlib.import_module(module.name).SINK
        found[sink.kind] = sink
    return found


def open_sink(written: Mapping[str, Any], place: str, environ: Mapping[str, str]) -> Sink:
    """The sink that an entry of `routes.yaml` describes, with `${NAME}` filled in. Raises `BadDocument`."""
    known = known_sinks()
    kind = known.get(str(written.get("kind")))
    if kind is None:
        raise BadDocument([Problem(f"{place}.kind", f"expected one of {', '.join(sorted(known))}")])
    problems: list[Problem] = []
    filled = _filled(dict(written), place, environ, problems)
    if problems:
        raise BadDocument(problems)
    return _opened(kind, filled, place)


def one_line_sink(alerting: AlertingSettings) -> Sink:
    """The sink that `ALERTING_PROTOCOL` names, with `ALERTING_<PROTOCOL>_URL`. Raises `BadDocument`."""
    kind = known_sinks().get(alerting.protocol)
    if kind is None or not _is_one_line(kind.document):
        known = ", ".join(sorted(name for name, each in known_sinks().items() if _is_one_line(each.document)))
        raise BadDocument([Problem("services.yaml: alerting.protocol (ALERTING_PROTOCOL)", f"expected one of {known}")])
    written: dict[str, Any] = {"name": alerting.protocol, "kind": alerting.protocol}
    place = "services.yaml: alerting"
    if "url" in kind.document.model_fields:
        url: SecretStr | None = getattr(alerting, f"{alerting.protocol}_url", None)
        written["url"] = "" if url is None else url.get_secret_value()
        variable = {"redis": "REDIS_URL"}.get(alerting.protocol, f"ALERTING_{alerting.protocol.upper()}_URL")
        place = f"services.yaml: alerting.{alerting.protocol}_url ({variable})"
        written["timeout_seconds"] = alerting.webhook_timeout_seconds
        if "allowed_targets" in kind.document.model_fields and (host := _host(written["url"])):
            written["allowed_targets"] = [host]  # whoever sets the one line wrote the target down
    if alerting.max_age_seconds is not None:
        written["max_age_seconds"] = alerting.max_age_seconds
    try:
        return _opened(kind, written, place)
    except BadDocument as bad:  # the place is that of the URL already
        raise BadDocument([Problem(at.removesuffix(".url"), said) for at, said in bad.problems]) from None


def _opened(kind: type[Sink], written: Mapping[str, Any], place: str) -> Sink:
    try:
        return kind.from_document(read_document(kind.document, written, place))
    except BadDocument as bad:
        raise BadDocument([Problem(at.replace(f"{place}: ", f"{place}."), said) for at, said in bad.problems]) from None
    except ValueError as error:
        key, colon, said = str(error).partition(": ")
        of_key = bool(colon) and key.partition("[")[0] in kind.document.model_fields
        raise BadDocument([Problem(f"{place}.{key}", said) if of_key else Problem(place, str(error))]) from None


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_one_line(document: type[SinkDocument]) -> bool:
    """Whether name, kind and a URL that the settings have are all it needs."""
    needed = {name for name, field in document.model_fields.items() if field.is_required()} - {"name", "kind"}
    return needed <= {"url"} and (not needed or f"{_kind_of(document)}_url" in AlertingSettings.model_fields)


def _kind_of(document: type[SinkDocument]) -> str:
    return str(get_args(document.model_fields["kind"].annotation)[0])


def _filled(value: Any, place: str, environ: Mapping[str, str], problems: list[Problem]) -> Any:
    """Every text in it with `${NAME}` filled from the environment."""
    if isinstance(value, str):
        return expand(value, environ, place, problems)
    if isinstance(value, Mapping):
        return {key: _filled(each, f"{place}.{key}", environ, problems) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(each, f"{place}[{number}]", environ, problems) for number, each in enumerate(value)]
    return value
