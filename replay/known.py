"""When the state of a subject is known though its history was not read from the beginning. Pure.

After a time without a hit that is as long as confirm, resolve and debounce window together no episode is open, no hit
is remembered and nothing can be held back: the subject is *settled*, whatever came before. Only its count of
suppressed episodes is unknown still, and the next opening tells that and starts it from zero: then it is *known*.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from rules.engine import Judged
from rules.state import Subject, SubjectState
from schemas.effective import RoiRevision


def quiet_ms(revisions: Sequence[RoiRevision]) -> int:
    """The longest confirm, resolve and debounce times of any document, together: so long a silence settles all."""
    rois = [roi for revision in revisions for roi in revision.document.rois]
    if not rois:
        return 0
    return (
        max(roi.confirm_within_ms for roi in rois)
        + max(roi.resolve_after_ms for roi in rois)
        + max(roi.debounce_window_ms for roi in rois)
    )


class Known:
    """Watches one camera's run, of which every event from ``since`` on is given and nothing before."""

    def __init__(self, revisions: Sequence[RoiRevision], since: int) -> None:
        self._quiet_ms = quiet_ms(revisions)
        self._last_hit: dict[Subject, int] = {}
        self._settled: set[Subject] = set()
        self._known: set[Subject] = set()
        self._since = since

    def look(self, at: int, judged: Judged) -> Iterator[tuple[Subject, Literal["time", "suppressed"]]]:
        """After an event at ``at``: which of the subjects it hit are not what the whole history gives, and in what."""
        for subject in (*judged.changed, *judged.remembered):
            if subject in self._known:
                continue
            kept = judged.state.subjects[subject]
            if _is_afresh(kept):
                # Its ROI or label was gone under a revision: it starts from nothing, whatever it was.
                self._known.add(subject)
                continue
            episode = kept.episode
            hit = episode.last_hit_at == at if episode is not None else bool(kept.hits) and kept.hits[-1] == at
            if not hit:
                continue
            if at - self._last_hit.get(subject, self._since) >= self._quiet_ms:
                self._settled.add(subject)
            self._last_hit[subject] = at
            if subject not in self._settled:
                yield subject, "time"
            elif episode is not None and kept.last_opened_at == at:
                self._known.add(subject)
                yield subject, "suppressed"


def _is_afresh(kept: SubjectState) -> bool:
    """Whether a revision has just taken the subject away (`rules.debounce.abandon`)."""
    return kept.episode is None and kept.last_opened_at is None and not kept.suppressed and kept.forget_before >= 0
