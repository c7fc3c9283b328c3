"""What a replay found: the differences, what they rest on, and what is uncertain. Made once, shown in several ways."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from replay.diff import KINDS, Difference, Kind, compare, last_phases
from replay.history import Extent, Source
from replay.judging import Inexact, Outcome, SeenSize
from replay.spans import Span, in_words
from schemas.effective import CameraRules, RoiRevision
from schemas.messages import Alert, Mark


class SideFacts(Struct, frozen=True):
    """One side: its name in words, its ROI documents in force in the span (none for recorded alerts whose documents
    are gone), and the versions of the engine that judged it."""

    name: str
    revisions: tuple[RoiRevision, ...]
    engines: tuple[str, ...]

    def document(self, camera_id: str) -> CameraRules | None:
        """The camera's newest document of the side."""
        return next((each.document for each in reversed(self.revisions) if each.camera_id == camera_id), None)


class Manifest(Struct, frozen=True):
    """What a run rests on, so that it can be repeated: where the events came from, who judged, who saw.

    ``models`` are "name version (sha256)" with the cameras each saw. ``code`` is the version of Backsight.
    """

    run: str
    made_at: int
    span: Span
    source: str
    extents: tuple[Extent, ...]
    cameras: tuple[str, ...]
    models: dict[str, tuple[str, ...]]
    engine: str
    code: str


class Verdicts(Struct, frozen=True):
    """Marked alerts on one side: how many operators found right and how many false."""

    true: int
    false: int

    @property
    def precision(self) -> float | None:
        """The share that was right; None where nothing is marked."""
        marked = self.true + self.false
        return self.true / marked if marked else None

    @property
    def in_words(self) -> str:
        """A sentence; empty where nothing is marked."""
        if self.precision is None:
            return ""
        return f"{self.true} of {self.true + self.false} marked alerts are true ({self.precision:.0%})"


class CameraFacts(Struct, frozen=True):
    """One camera on the candidate's side: events of the span and what became of them. ``sizes`` of its picture."""

    camera_id: str
    judged: int
    skipped: int
    late: int
    hits: int
    unlisted: int
    first_at: int | None
    last_at: int | None
    sizes: tuple[SeenSize, ...] = ()


class Comparison(Struct, frozen=True):
    """Baseline (before) and candidate (after) over one span.

    ``lost``: ids of alerts marked true that the candidate would not raise. ``notes`` are sentences for the reader.
    """

    manifest: Manifest
    before: SideFacts
    after: SideFacts
    differences: tuple[Difference, ...]
    inexact: tuple[Inexact, ...]
    cameras: tuple[CameraFacts, ...]
    verdicts_before: Verdicts
    verdicts_after: Verdicts
    lost: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def different(self) -> bool:
        """Whether any alert was added, removed or changed."""
        return any(each.kind != "same" for each in self.differences)

    def counts(self) -> dict[Kind, int]:
        """How many differences of each kind."""
        return {kind: sum(each.kind == kind for each in self.differences) for kind in KINDS}


def compared(
    manifest: Manifest,
    before: SideFacts,
    after: SideFacts,
    alerts_before: Iterable[Alert],
    alerts_after: Iterable[Alert],
    outcomes: Sequence[Outcome],
    marks: dict[str, Mark],
    notes: Iterable[str],
) -> Comparison:
    """The comparison of two lists of alert phases. ``outcomes`` are the candidate's, one per camera."""
    span = manifest.span
    differences = compare(last_phases(alerts_before, span), last_phases(alerts_after, span))
    verdicts_after, lost = compared_verdicts(differences, marks)
    return Comparison(
        manifest=manifest,
        before=before,
        after=after,
        differences=differences,
        inexact=tuple(each for outcome in outcomes for each in outcome.inexact),
        cameras=tuple(
            CameraFacts(
                outcome.camera_id,
                outcome.judged,
                outcome.skipped,
                outcome.late,
                outcome.hits,
                outcome.unlisted,
                outcome.first_at,
                outcome.last_at,
                outcome.sizes,
            )
            for outcome in outcomes
        ),
        verdicts_before=_verdicts((each for each in differences if each.before is not None), marks),
        verdicts_after=verdicts_after,
        lost=lost,
        notes=tuple(notes),
    )


def compared_verdicts(differences: Sequence[Difference], marks: dict[str, Mark]) -> tuple[Verdicts, tuple[str, ...]]:
    """What operators said of the alerts that the candidate raises too, and which true ones it would lose."""
    lost = tuple(
        each.before.alert_id
        for each in differences
        if each.kind == "removed" and each.before is not None and _verdict(each, marks) is True
    )
    return _verdicts((each for each in differences if each.after is not None), marks), lost


def _verdict(difference: Difference, marks: dict[str, Mark]) -> bool | None:
    """What operators said of the alert, by its id on either side: a pair is the same thing seen twice."""
    for alert in (difference.before, difference.after):
        mark = None if alert is None else marks.get(alert.alert_id)
        if mark is not None:
            return mark.true
    return None


def _verdicts(differences: Iterable[Difference], marks: dict[str, Mark]) -> Verdicts:
    said = [_verdict(each, marks) for each in differences]
    return Verdicts(sum(each is True for each in said), sum(each is False for each in said))


def models_seen(outcomes: Iterable[Outcome]) -> dict[str, tuple[str, ...]]:
    """Which model saw which cameras."""
    found: dict[str, list[str]] = {}
    for outcome in outcomes:
        for model in outcome.models:
            found.setdefault(f"{model.name} {model.version} ({model.sha256[:12]})", []).append(outcome.camera_id)
    return {name: tuple(sorted(cameras)) for name, cameras in sorted(found.items())}


def missing_parts(source: Source, span: Span, cameras: Collection[str] | None) -> list[str]:
    """Which part of the span the source no longer has, in sentences; empty where it has all of it."""
    extents = source.extents() if cameras is None else {source.extent_of(camera_id) for camera_id in cameras}
    said = []
    for extent in sorted(extents, key=lambda each: each.partition):
        if extent.whole:
            continue
        if extent.first_at is None:
            # Of a camera of long ago, most likely: only who asks for a camera of it must know.
            if cameras is not None:
                said.append(f"partition {extent.partition}: everything it held is deleted")
        elif extent.first_at > span.begin:
            until = in_words(min(extent.first_at, span.end))
            said.append(f"partition {extent.partition}: {in_words(span.begin)} to {until} is deleted")
    return said


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values, for `--json` and the run's manifest."""
    plain: dict[str, Any] = msgspec.to_builtins(comparison)
    plain["counts"] = comparison.counts()
    plain["different"] = comparison.different
    return plain
