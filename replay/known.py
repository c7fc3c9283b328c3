"""When the state of a subject is known though its history was not read from the beginning. Pure.

After a time without a hit that is longer than confirm, resolve and debounce window together no episode is open, no hit
is remembered and nothing can be held back: the subject is *settled*, whatever came before. Only its count of
suppressed episodes is unknown still, and the next opening tells that and starts it from zero: then it is *known*.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from replay.spans import Span
from rules.engine import Judged
from rules.state import Subject, SubjectState
from schemas.effective import RoiRevision, RoiRules

What = Literal["time", "suppressed"]


def quiet_ms(revisions: Sequence[RoiRevision]) -> int:
    """The longest confirm, resolve and debounce times of any document, together: a longer silence settles all."""
    return (
        max((roi.confirm_within_ms for roi in _rois(revisions)), default=0)
        + longest_resolve_ms(revisions)
        + max((roi.debounce_window_ms for roi in _rois(revisions)), default=0)
    )


def longest_resolve_ms(revisions: Sequence[RoiRevision]) -> int:
    """So long after its last hit every alert has resolved, whatever a revision made of its time."""
    return max((roi.resolve_after_ms for roi in _rois(revisions)), default=0)


class Known:
    """Watches one camera's run, of which every event from ``since`` on is given and nothing before.

    It says which subjects' phases within the span may not be those that the whole history gives.
    """

    def __init__(self, revisions: Sequence[RoiRevision], since: int, span: Span) -> None:
        self._revisions = revisions
        self._quiet_ms = quiet_ms(revisions)
        self._resolve_ms = longest_resolve_ms(revisions)
        self._span = span
        self._last_hit: dict[Subject, int] = {}
        self._settled: set[Subject] = set()
        self._known: set[Subject] = set()
        self._miscounted: set[str] = set()
        self._since = since

    def unseen(self) -> Iterator[Subject]:
        """The subjects of which an alert from before ``since`` may resolve within the span, or open in it unseen."""
        if self._since + self._resolve_ms > self._span.begin:
            for revision in self._revisions:
                for roi in revision.document.rois:
                    for label in revision.document.alert_classes:
                        yield Subject(roi.name, label)

    def look(self, at: int, judged: Judged) -> Iterator[tuple[Subject, What]]:
        """After an event at ``at``: which subjects are uncertain now, and in what."""
        for subject in (*judged.changed, *judged.remembered):
            if subject in self._known:
                continue
            kept = judged.state.subjects[subject]
            if _is_afresh(kept):
                # Its ROI or label was gone under a revision: it starts from nothing, whatever it was.
                self._known.add(subject)
                continue
            if not _may_be_hit(kept, at):
                continue
            if at - self._last_hit.get(subject, self._since) > self._quiet_ms:
                self._settled.add(subject)
            self._last_hit[subject] = at
            if subject not in self._settled:
                if at < self._span.end and at + self._resolve_ms >= self._span.begin:
                    yield subject, "time"
            elif kept.episode is not None and kept.episode.opening is not None and kept.last_opened_at == at:
                self._known.add(subject)
                self._miscounted.add(kept.episode.opening.alert_id)
        for alert in judged.alerts:
            instant = alert.opened_at if alert.resolved_at is None else alert.resolved_at
            if alert.alert_id in self._miscounted and self._span.holds(instant):
                yield Subject(alert.roi, alert.label), "suppressed"


def _rois(revisions: Sequence[RoiRevision]) -> Iterator[RoiRules]:
    return (roi for revision in revisions for roi in revision.document.rois)


def _may_be_hit(kept: SubjectState, at: int) -> bool:
    """Whether the event at ``at`` may have held a hit. One at the very end of an episode is forgotten with it here,
    but not where the whole history had none."""
    if kept.episode is not None:
        return kept.episode.last_hit_at == at
    return kept.forget_before == at or (bool(kept.hits) and kept.hits[-1] == at)


def _is_afresh(kept: SubjectState) -> bool:
    """Whether a revision has just taken the subject away (`rules.debounce.abandon`)."""
    return kept.episode is None and kept.last_opened_at is None and not kept.suppressed and kept.forget_before >= 0
