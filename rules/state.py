"""What the rules remember, and how a shell that keeps it in tables must write it.

A camera's state is its watermark and one `SubjectState` per subject that holds something. A shell keeps a subject in
two tables, because they are written at different rates:

* the *buckets*: the times of remembered hits, a set per second (`Judged.remembered` says which subjects gain the
  event's ``captured_at``); adding a time twice changes nothing;
* the *row*: everything else (`row_of`), written for the subjects in `Judged.changed`.

`restored` makes the subject again from both. An event that changes only the buckets does not touch the row, nor its
``applied_at``: judged again it adds the same time to the same set and finds the same hits up to its own time (hits
later than the event are never looked at).

**The order in which a shell writes**, per event:

1. send the alerts, await their acknowledgement;
2. write the rows in `Judged.changed` and the buckets in `Judged.remembered`, in any order, and commit the event only
   when both are acknowledged;
3. delete buckets as garbage (all their times ``<= forget_before``, or `REMEMBERED_MS` older than the subject's newest
   hit) only when every row written so far is *acknowledged*. A deletion that outlives the row that made it garbage
   would lose hits that the event, judged again, must find.

A crash anywhere in between repeats events on top of what was written: alerts come out the same, or not again. Rows and
buckets are different topics, so either may be durable without the other. That is harmless because every remembered
hit is later than its row's ``applied_at``: a row that survives never silences the event whose bucket did not. (Where
one event ends an episode and is itself remembered, ``applied_at`` is the millisecond before it.)
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from schemas.documents.rois import MAX_WITHIN_SECONDS
from schemas.messages import Evidence, Model, Severity

NEVER: Final = -1
"""Before every instant."""

REMEMBERED_MS: Final = MAX_WITHIN_SECONDS * 1000
"""Hits are remembered this long before the subject's newest, whatever `within_seconds` is today: a revision that
enlarges it finds the same hits in a process that restarted and in one that did not."""


class Subject(NamedTuple):
    """What an alert is about, within one camera."""

    roi: str
    label: str


class Opening(Struct, frozen=True):
    """What the opening of an alert said and `resolved` repeats (``first_hit_at`` is the episode's)."""

    alert_id: str
    opened_at: int
    roi_revision: str
    severity: Severity
    model: Model
    evidence: Evidence
    suppressed: int


class Episode(Struct, frozen=True, omit_defaults=True):
    """Hits close enough together to be one stay. ``opening`` None: held back by the debounce window.

    ``resolve_after_ms`` is that of the document last applied, for the day its ROI is gone. ``watched_at`` is the first
    judged event after ``last_hit_at``: with it an end is `quiet`, without it `blind`. It is in the row, since a camera
    may go blind for longer than a restarted shell reads back.
    """

    first_hit_at: int
    last_hit_at: int
    hits: int
    resolve_after_ms: int
    opening: Opening | None = None
    watched_at: int | None = None


class SubjectState(Struct, frozen=True, omit_defaults=True):
    """One subject.

    ``hits``: times of remembered hits, ascending, all later than ``forget_before``. ``suppressed``: episodes held back
    since the last opening. ``applied_at``: an event at or before it changes nothing here, so that what was judged and
    written is not judged again on top of itself. Every time in ``hits`` is later than it.
    """

    hits: tuple[int, ...] = ()
    episode: Episode | None = None
    last_opened_at: int | None = None
    suppressed: int = 0
    forget_before: int = NEVER
    applied_at: int = NEVER


class CameraState(Struct, frozen=True):
    """One camera: its newest ``captured_at`` and its subjects.

    ``watermark`` is not in the tables: a shell reads it back from the records before its committed offset. Make one
    with `camera_state`. ``open``, ``revision`` and ``size`` follow from the rest or from the next event and need not be
    kept: the subjects with an episode, the revision that the subjects agree with, and the picture size last checked.
    """

    watermark: int = NEVER
    subjects: Mapping[Subject, SubjectState] = {}
    open: tuple[Subject, ...] = ()
    revision: str | None = None
    size: tuple[int, int] | None = None


NOTHING: Final = SubjectState()
"""A subject of which nothing is known."""

NEW_CAMERA: Final = CameraState()


def camera_state(watermark: int, subjects: Mapping[Subject, SubjectState]) -> CameraState:
    """A camera's state from what a shell read back; ``watermark`` `NEVER` where no event is known."""
    return CameraState(
        watermark=watermark,
        subjects=dict(subjects),
        open=tuple(subject for subject, kept in subjects.items() if kept.episode is not None),
    )


def row_of(subject: SubjectState) -> SubjectState:
    """The subject without its hits: what the row holds."""
    return msgspec.structs.replace(subject, hits=())


def restored(row: SubjectState | None, hits: Iterable[int]) -> SubjectState:
    """The subject from its row (None: never written) and the times in its buckets, in any order, garbage included."""
    row = NOTHING if row is None else row
    counted = sorted({hit for hit in hits if hit > row.forget_before})
    return msgspec.structs.replace(row, hits=recent(tuple(counted)))


def recent(hits: tuple[int, ...]) -> tuple[int, ...]:
    """The ascending times without those more than `REMEMBERED_MS` before the newest."""
    if not hits or hits[-1] - hits[0] <= REMEMBERED_MS:
        return hits
    oldest = hits[-1] - REMEMBERED_MS
    return tuple(hit for hit in hits if hit >= oldest)
