"""Where judging happens: one event, one camera's state, one document; alerts come out.

The law is docs/rules.md, how it was read is docs/decisions/rules-engine.md. The Faust app, replay and `POST /infer`
are shells around this module.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from rules.debounce import Ended, Open, Verdict, abandon, judge
from rules.document import ALLOWED, Document, compile_rules
from rules.kinds import Locate
from rules.state import NOTHING, CameraState, Episode, Opening, Subject, SubjectState
from schemas.effective import RoiRules
from schemas.messages import Alert, Detection, DetectionEvent, Evidence, alert_id

ENGINE_VERSION: Final = "1"
"""Changes whenever the same events and documents would give other alerts. Travels in the header ``engine`` of alerts,
so that a replay can say that its baseline was judged by another engine."""

__all__ = ["ENGINE_VERSION", "Document", "Judged", "RoiHit", "compile_rules", "roi_hits", "step"]


class Judged(Struct, frozen=True):
    """What one event did.

    ``changed``: subjects whose row must be written. ``remembered``: subjects whose buckets gain the event's
    ``captured_at``. The rest is for counting: ``late`` (at or before the watermark, not judged), ``hits`` (subjects
    hit), ``unlisted`` (the label of each detection that is in neither list), ``out_of_bounds`` (ROIs that reach beyond
    the picture, named at the first event of a size or revision).
    """

    state: CameraState
    alerts: tuple[Alert, ...] = ()
    changed: tuple[Subject, ...] = ()
    remembered: tuple[Subject, ...] = ()
    late: bool = False
    hits: int = 0
    unlisted: tuple[str, ...] = ()
    out_of_bounds: tuple[str, ...] = ()


class RoiHit(Struct, frozen=True):
    """A detection (by its place in the list) that lies in a ROI now; a hit only if ``active`` and ``confident``."""

    roi: str
    label: str
    detection: int
    active: bool
    confident: bool


def step(document: Document | None, state: CameraState, event: DetectionEvent) -> Judged:
    """Judge one event. Without a document nothing is judged and the watermark moves.

    Raises `ValueError` for an event of another camera, and where a box must be placed in pixels of a picture whose
    size the event gives as 0.
    """
    at = event.captured_at
    if document is not None and document.camera_id != event.camera_id:
        raise ValueError(f"an event of camera {event.camera_id!r} is not for the rules of {document.camera_id!r}")
    if at <= state.watermark:
        return Judged(state, late=True)
    if document is None:
        return Judged(CameraState(at, state.subjects, state.open, state.revision, state.size))
    watched = event.skipped is None
    found: dict[int, Detection] = {}
    unlisted: list[str] = []
    if watched and event.detections and document.rois:
        _find(document, event, found, unlisted)
    settled = state.revision == document.revision
    size = state.size
    out_of_bounds: tuple[str, ...] = ()
    if document.needs_size and watched:
        seen = (event.width, event.height)
        if not settled or size != seen:
            size = seen
            out_of_bounds = document.out_of_bounds(*seen)
    if settled and not found and not state.open:  # the usual event
        moved = CameraState(at, state.subjects, (), document.revision, size)
        return Judged(moved, unlisted=tuple(unlisted), out_of_bounds=out_of_bounds)

    turn = _Turn(document, state, event)
    if not settled:
        settled = turn.abandon_gone()
    places = {document.place[subject] for subject in state.open if subject in document.place}
    for place in sorted(places.union(found)):
        turn.judge(place, watched, found.get(place))
    return Judged(
        turn.state(document.revision if settled else None, size),
        tuple(turn.alerts),
        tuple(turn.changed),
        tuple(turn.remembered),
        hits=len(found),
        unlisted=tuple(unlisted),
        out_of_bounds=out_of_bounds,
    )


def roi_hits(
    document: Document, detections: Sequence[Detection], width: int, height: int, at: int
) -> tuple[RoiHit, ...]:
    """Which detection of `alert_classes` lies in which ROI of one picture, by detection, then in the document's order.

    ``width`` and ``height`` are the picture's pixels, ``at`` the instant for active times. It confirms no alert.
    """
    hits: list[RoiHit] = []
    for number, detection in enumerate(detections):
        label = document.listed.get(detection.label, ALLOWED)
        if label == ALLOWED or not document.rois:
            continue
        for place in document.locators(width, height)[label](detection.box):
            roi, times = document.rois[place], document.active[place]
            hits.append(
                RoiHit(
                    roi=roi.name,
                    label=detection.label,
                    detection=number,
                    active=times is None or times.at(at),
                    confident=detection.confidence >= roi.min_confidence,
                )
            )
    return tuple(hits)


def _find(document: Document, event: DetectionEvent, found: dict[int, Detection], unlisted: list[str]) -> None:
    """The event's hits into ``found``, by place of the subject: the most confident, the first listed among equals."""
    listed, lowest, rois = document.listed, document.lowest_confidence, document.rois
    locators: Sequence[Locate] | None = None
    for detection in event.detections:
        label = listed.get(detection.label)
        if label is None:
            unlisted.append(detection.label)
            continue
        confidence = detection.confidence
        if label == ALLOWED or confidence < lowest:
            continue
        if locators is None:
            locators = document.locators(event.width, event.height)
        for roi in locators[label](detection.box):
            if confidence < rois[roi].min_confidence:
                continue
            times = document.active[roi]
            if times is not None and not times.at(event.captured_at):
                continue
            place = roi * len(locators) + label
            best = found.get(place)
            if best is None or confidence > best.confidence:
                found[place] = detection


class _Turn:
    """One event's way through the subjects that it may concern."""

    __slots__ = ("_before", "_document", "_event", "_subjects", "alerts", "changed", "remembered")

    def __init__(self, document: Document, state: CameraState, event: DetectionEvent) -> None:
        self._document = document
        self._before = state
        self._event = event
        self._subjects: dict[Subject, SubjectState] | None = None
        self.alerts: list[Alert] = []
        self.changed: list[Subject] = []
        self.remembered: list[Subject] = []

    def abandon_gone(self) -> bool:
        """Judge the subjects that the document does not have, sorted; False where one was judged beyond this event.

        That one is looked at again at the next event, until all agree with the revision.
        """
        at = self._event.captured_at
        settled = True
        for subject in sorted(self._before.subjects.keys() - self._document.place.keys()):
            kept = self._before.subjects[subject]
            if at <= kept.applied_at:
                settled = False
            else:
                self._take(subject, abandon(kept, at, self._document.effective_from))
        return settled

    def judge(self, place: int, watched: bool, detection: Detection | None) -> None:
        """Judge the subject at this place of the document; ``detection``: its hit, if any."""
        subject = self._document.subjects[place]
        roi = self._document.rois[place // len(self._document.rules.alert_classes)]
        kept = self._before.subjects.get(subject, NOTHING)
        hit = None if detection is None else self._open(subject, roi, detection)
        self._take(subject, judge(kept, roi, self._event.captured_at, watched, hit))

    def state(self, revision: str | None, size: tuple[int, int] | None) -> CameraState:
        """The camera's state after the event."""
        before, subjects = self._before, self._subjects
        if subjects is None:
            return CameraState(self._event.captured_at, before.subjects, before.open, revision, size)
        still_open = before.open
        if self.changed:
            concerned = dict.fromkeys((*before.open, *self.changed))
            still_open = tuple(subject for subject in concerned if subjects[subject].episode is not None)
        return CameraState(self._event.captured_at, subjects, still_open, revision, size)

    def _take(self, subject: Subject, verdict: Verdict) -> None:
        if verdict.changed:
            self.changed.append(subject)
        if verdict.remembered:
            self.remembered.append(subject)
        if verdict.changed or verdict.remembered:
            if self._subjects is None:
                self._subjects = dict(self._before.subjects)
            self._subjects[subject] = verdict.subject
        if verdict.ended is not None:
            ended = verdict.ended
            self.alerts.append(_alert(self._event.camera_id, subject, ended.episode, ended.opening, ended))
        if verdict.opened is not None and verdict.opened.opening is not None:
            opening = verdict.opened.opening
            self.alerts.append(_alert(self._event.camera_id, subject, verdict.opened, opening, None))

    def _open(self, subject: Subject, roi: RoiRules, detection: Detection) -> Open:
        event, document = self._event, self._document

        def opening(suppressed: int) -> Opening:
            at = event.captured_at
            return Opening(
                alert_id=alert_id(event.camera_id, subject.roi, subject.label, None, document.revision, at),
                opened_at=at,
                roi_revision=document.revision,
                severity=roi.severity,
                model=event.model,
                evidence=Evidence(event.frame, detection.box, detection.confidence, at),
                suppressed=suppressed,
            )

        return opening


def _alert(camera_id: str, subject: Subject, episode: Episode, opening: Opening, ended: Ended | None) -> Alert:
    return Alert(
        alert_id=opening.alert_id,
        seq=0 if ended is None else 1,
        phase="opened" if ended is None else "resolved",
        camera_id=camera_id,
        roi=subject.roi,
        label=subject.label,
        track_id=None,
        severity=opening.severity,
        first_hit_at=episode.first_hit_at,
        opened_at=opening.opened_at,
        last_hit_at=episode.last_hit_at,
        resolved_at=None if ended is None else ended.resolved_at,
        reason=None if ended is None else ended.reason,
        hits=episode.hits,
        suppressed=opening.suppressed,
        evidence=opening.evidence,
        model=opening.model,
        roi_revision=opening.roi_revision,
    )
