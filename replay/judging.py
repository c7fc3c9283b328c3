"""One camera's events through the engine, under the documents of one side of a comparison. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from replay.known import Known, What
from replay.spans import Span
from rules.engine import Document, compile_rules, step
from rules.state import NEW_CAMERA, CameraState, Subject
from schemas.effective import CameraRules, RoiRevision, revision_of
from schemas.messages import Alert, DetectionEvent, Model

_FOR_EVER: Final = 1 << 62
_ANY_CONFIDENCE: Final = 2.0


class BelowFloor(ValueError):
    """A ROI asks for less confidence than the detector recorded: the record cannot tell what it would have hit."""


class Timeline:
    """The documents by which a camera is judged, each from an instant on. Compiled once, on first use.

    Before the first, and without any, nothing is judged and the clock moves. ``tried``: what did not hold when the
    events were recorded, so that the record may not be able to tell (`BelowFloor`).
    """

    def __init__(self, revisions: Sequence[RoiRevision], *, tried: bool = False) -> None:
        self.tried = tried
        self.revisions = tuple(sorted(revisions, key=lambda each: each.effective_from))
        self._from = [each.effective_from for each in self.revisions]
        self._compiled: dict[int, Document] = {}

    @classmethod
    def constant(cls, rules: CameraRules) -> "Timeline":
        """One document for ever, as a candidate is tried."""
        return cls([RoiRevision(rules.camera_id, revision_of(rules), 0, 0, "file", rules)], tried=True)

    def at(self, captured_at: int) -> tuple[Document | None, int, int]:
        """The document that applies at an instant, and the span of time (from, until) in which it does."""
        place = bisect_right(self._from, captured_at) - 1
        until = self._from[place + 1] if place + 1 < len(self._from) else _FOR_EVER
        if place < 0:
            return None, -1, until
        document = self._compiled.get(place)
        if document is None:
            revision = self.revisions[place]
            document = compile_rules(revision.document, revision.revision, revision.effective_from)
            self._compiled[place] = document
        return document, self._from[place], until


class Inexact(NamedTuple):
    """From here on a subject's alerts (or its silence) may not be what judging the whole history gives.

    ``what``: `time`: whether and when it opened is uncertain; `suppressed`: only its count of held back episodes is.
    """

    camera_id: str
    roi: str
    label: str
    at: int
    what: What


class SeenSize(NamedTuple):
    """From ``since`` on the camera's own picture had this size; pixels."""

    since: int
    width: int
    height: int


class Outcome(Struct, frozen=True):
    """What one side made of one camera's events. ``alerts``: phases whose instant lies in the span, in order.

    ``judged`` counts events of the span, late ones not; ``hits`` those with a hit, per subject; ``unlisted`` the
    detections whose label is in neither list; ``unjudgeable`` events that the engine refuses. ``models`` saw the
    events. ``inexact`` is empty where the state before the span is known. ``sizes``: of the camera's own picture.
    """

    camera_id: str
    alerts: tuple[Alert, ...]
    inexact: tuple[Inexact, ...]
    judged: int
    skipped: int
    late: int
    hits: int
    unlisted: int
    models: frozenset[Model]
    first_at: int | None
    last_at: int | None
    state: CameraState
    sizes: tuple[SeenSize, ...] = ()
    unjudgeable: int = 0


class CameraRun:
    """Judges one camera's events, warm-up included.

    ``since``: every event from this instant on is given, None: from the beginning of its history on. Alerts whose
    instant lies outside ``span`` are judged and not kept. What resolves is closed by a later event, so events
    must be given on to the first at or after the span's end, and the longest time to resolve beyond it.
    """

    __slots__ = (
        "_begin",
        "_document",
        "_end",
        "_from",
        "_height",
        "_hits",
        "_judged",
        "_known",
        "_late",
        "_lowest",
        "_model",
        "_models",
        "_sizes",
        "_skipped",
        "_timeline",
        "_told",
        "_unjudgeable",
        "_unlisted",
        "_until",
        "_width",
        "alerts",
        "camera_id",
        "first_at",
        "inexact",
        "last_at",
        "span",
        "state",
    )

    def __init__(self, camera_id: str, timeline: Timeline, span: Span, since: int | None) -> None:
        self.camera_id = camera_id
        self.span = span
        self.state = NEW_CAMERA
        self.alerts: list[Alert] = []
        self.inexact: list[Inexact] = []
        self.first_at: int | None = None
        self.last_at: int | None = None
        self._timeline = timeline
        self._document: Document | None = None
        self._from = self._until = -1
        self._lowest = _ANY_CONFIDENCE
        self._begin, self._end = span
        self._told: set[tuple[Subject, str]] = set()
        self._known = None if since is None else Known(timeline.revisions, since, span)
        self._judged = self._skipped = self._late = self._hits = self._unlisted = self._unjudgeable = 0
        self._model: Model | None = None
        self._models: set[Model] = set()
        self._width = self._height = 0
        self._sizes: list[SeenSize] = []
        if self._known is not None and since is not None:
            for subject in self._known.unseen():
                self._tell(subject, since, "time")

    def feed(self, events: Iterable[DetectionEvent]) -> None:
        """Judges the events. Raises `BelowFloor`."""
        for event in events:
            self.judge(event)

    def judge(self, event: DetectionEvent) -> None:
        """Judges one event. Raises `BelowFloor`.

        An event that the engine cannot judge (a box in pixels of a picture without a size) changes nothing and is
        counted, as the rules app puts it away.
        """
        at = event.captured_at
        if not self._from <= at < self._until:
            document, self._from, self._until = self._timeline.at(at)
            self._document = document
            self._lowest = _ANY_CONFIDENCE
            if document is not None and self._timeline.tried:
                self._lowest = document.lowest_confidence
        if event.floor > self._lowest and self._document is not None:
            raise BelowFloor(_below(self._document, event))
        inside = self._begin <= at < self._end
        try:
            judged = step(self._document, self.state, event)
        except ValueError:
            self._unjudgeable += inside
            return
        self.state = judged.state
        if self._known is not None and (judged.changed or judged.remembered):
            for subject, what in self._known.look(at, judged):
                self._tell(subject, at, what)
        if judged.alerts:
            self.alerts += [alert for alert in judged.alerts if self.span.holds(instant_of(alert))]
        if not inside:
            return
        if judged.late:
            self._late += 1
            return
        self._judged += 1
        self.last_at = at
        if judged.hits:
            self._hits += judged.hits
        if judged.unlisted:
            self._unlisted += len(judged.unlisted)
        if event.skipped is not None:
            self._skipped += 1
        if event.width != self._width or event.height != self._height or event.model != self._model:
            self._meet(event)

    def outcome(self) -> Outcome:
        """What came of it so far."""
        return Outcome(
            self.camera_id,
            tuple(self.alerts),
            tuple(self.inexact),
            self._judged,
            self._skipped,
            self._late,
            self._hits,
            self._unlisted,
            frozenset(self._models),
            self.first_at,
            self.last_at,
            self.state,
            tuple(self._sizes),
            self._unjudgeable,
        )

    def _tell(self, subject: Subject, at: int, what: What) -> None:
        if (subject, what) not in self._told:
            self._told.add((subject, what))
            self.inexact.append(Inexact(self.camera_id, subject.roi, subject.label, at, what))

    def _meet(self, event: DetectionEvent) -> None:
        """Takes note of the camera's first event, and of another model or size of picture."""
        if self.first_at is None:
            self.first_at = event.captured_at
        self._models.add(event.model)
        size = SeenSize(event.captured_at, event.width, event.height)
        if event.width and (not self._sizes or self._sizes[-1][1:] != size[1:]):
            self._sizes.append(size)
        self._model, self._width, self._height = event.model, event.width, event.height


def instant_of(alert: Alert) -> int:
    """The instant of its phase: `opened_at`, or `resolved_at`."""
    return alert.opened_at if alert.resolved_at is None else alert.resolved_at


def _below(document: Document, event: DetectionEvent) -> str:
    rois = ", ".join(roi.name for roi in document.rois if roi.min_confidence < event.floor)
    return (
        f"{event.camera_id}: {rois} asks for min_confidence {document.lowest_confidence:g}, but the detector reported "
        f"nothing under {event.floor:g} (seen at {event.captured_at}): the record cannot tell. Ask for "
        f"{event.floor:g} or more, or let `backsight replay frames` look again."
    )
