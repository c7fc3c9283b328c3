"""One trial: a candidate tried on a span of history, held against a baseline."""

import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from msgspec import Struct

from replay.comparison import Comparison, Manifest, SideFacts, compared, missing_parts, models_seen
from replay.history import Source
from replay.judging import Outcome
from replay.recorded import Recorded, recorded_alerts
from replay.run import Progress, Side, judge
from replay.spans import Span
from rules.engine import ENGINE_VERSION
from runtime.marks import read_marks
from runtime.revisions import RevisionHistory, RevisionLog
from runtime.settings import Settings
from schemas.effective import RoiRevision
from schemas.messages import Alert


class Refused(ValueError):
    """The trial cannot be made as asked; says why and what to do."""


class Trial(Struct, frozen=True):
    """What is tried. ``baseline`` None: the alerts as they were recorded. ``cameras`` None: all that the source holds.

    ``source_words`` is for the manifest, ``partial`` goes on where part of the span is gone, ``run`` names the trial.
    """

    run: str
    span: Span
    source: Source
    source_words: str
    candidate: Side
    baseline: Side | None = None
    cameras: frozenset[str] | None = None
    partial: bool = False
    most_warm_up_ms: int | None = None


def read_history(settings: Settings) -> RevisionHistory:
    """Every revision there ever was. Raises `BrokerUnreachable`."""
    log = RevisionLog(settings.kafka, settings.prefix, "backsight-replay-revisions")
    try:
        log.refresh()
        return log.history
    finally:
        log.close()


def compare_sides(
    settings: Settings, trial: Trial, history: RevisionHistory, progress: Progress | None = None
) -> tuple[Comparison, list[Alert]]:
    """The comparison, and the candidate's alert phases. Raises `Refused`, `BelowFloor`, `BrokerUnreachable`."""
    _check_cameras(trial, history)
    gone = missing_parts(trial.source, trial.span, trial.cameras)
    if gone and not trial.partial:
        raise Refused("part of the span is no longer in the history (--partial goes on without it): " + "; ".join(gone))
    sides = [trial.candidate] if trial.baseline is None else [trial.candidate, trial.baseline]
    judged = judge(
        trial.source,
        trial.span,
        sides,
        trial.cameras,
        progress=progress,
        most_warm_up_ms=trial.most_warm_up_ms,
    )
    after = judged[0].alerts()
    outcomes = list(judged[0].outcomes.values())
    notes = [f"not in the history any more: {part}" for part in gone]
    if trial.baseline is None:
        recorded = recorded_alerts(settings.kafka, settings.prefix, trial.span, trial.cameras)
        before: Sequence[Alert] = recorded.alerts
        facts = SideFacts("recorded", in_force(history, trial.span), tuple(sorted(recorded.engines)))
        notes += notes_on_recorded(recorded, history)
    else:
        before = judged[1].alerts()
        facts = SideFacts(trial.baseline.name, trial.baseline.revisions(), (ENGINE_VERSION,))
        outcomes_before = list(judged[1].outcomes.values())
        notes += notes_on_inexact("baseline", outcomes_before)
    notes += notes_on_inexact("candidate", outcomes)
    notes += [
        f"{outcome.camera_id}: {outcome.unjudgeable} event(s) cannot be judged and were left out"
        for outcome in outcomes
        if outcome.unjudgeable
    ]
    notes += notes_on_taken_away(trial.candidate, outcomes, history)
    manifest = Manifest(
        run=trial.run,
        made_at=round(time.time() * 1000),
        span=trial.span,
        source=trial.source_words,
        extents=trial.source.extents(),
        cameras=tuple(outcome.camera_id for outcome in outcomes),
        models=models_seen(outcomes),
        engine=ENGINE_VERSION,
        code=version("backsight"),
    )
    candidate = SideFacts(trial.candidate.name, trial.candidate.revisions(), (ENGINE_VERSION,))
    marks = read_marks(settings.kafka, settings.prefix)
    return compared(manifest, facts, candidate, before, after, outcomes, marks, notes), after


def _check_cameras(trial: Trial, history: RevisionHistory) -> None:
    known = {*history.cameras(), *trial.candidate.cameras(), *(trial.source.cameras() or ())}
    unknown = sorted((trial.cameras or frozenset()) - known)
    if unknown:
        raise Refused(f"no camera is called {', '.join(unknown)}; known: {', '.join(sorted(known)) or 'none'}")


def in_force(history: RevisionHistory, span: Span) -> tuple[RoiRevision, ...]:
    """The revisions that held at some instant of the span."""
    found: list[RoiRevision] = []
    for camera_id in history.cameras():
        first = history.at(camera_id, span.begin)
        found += [] if first is None else [first]
        found += [each for each in history.of(camera_id) if span.begin < each.effective_from < span.end]
    return tuple(found)


def notes_on_recorded(recorded: Recorded, history: RevisionHistory) -> list[str]:
    """What the reader must know of the recorded side: other engines, revisions not active now, unreadable records."""
    notes = []
    others = sorted(recorded.engines - {ENGINE_VERSION})
    if others:
        notes.append(
            f"recorded alerts were judged by engine {', '.join(others)}, the candidate by engine {ENGINE_VERSION}: "
            "a difference may come from that"
        )
    older: dict[str, int] = {}
    for alert in recorded.alerts:
        active = history.newest(alert.camera_id)
        if alert.seq == 0 and (active is None or active.revision != alert.roi_revision):
            older[alert.camera_id] = older.get(alert.camera_id, 0) + 1
    notes += [
        f"{camera_id}: {count} recorded alert(s) were judged under a revision other than the one now active"
        for camera_id, count in sorted(older.items())
    ]
    if recorded.bad:
        notes.append(f"{recorded.bad} record(s) of the topic alerts cannot be read and were left out")
    return notes


def notes_on_inexact(side: str, outcomes: Iterable[Outcome]) -> list[str]:
    """Which subjects' first alerts depend on history that is not known."""
    notes = []
    for outcome in outcomes:
        subjects = {(each.roi, each.label) for each in outcome.inexact if each.what == "time"}
        if subjects:
            named = ", ".join(f"{roi}/{label}" for roi, label in sorted(subjects))
            notes.append(
                f"{outcome.camera_id} ({side}): the history before the span is not known far enough back; the first "
                f"alerts of {named} are inexact"
            )
    return notes


def notes_on_taken_away(candidate: Side, outcomes: Iterable[Outcome], history: RevisionHistory) -> list[str]:
    """Cameras that are judged and that the candidate lacks."""
    return [
        f"{outcome.camera_id} is not in {candidate.name}: judged as if it had no ROIs"
        for outcome in outcomes
        if outcome.camera_id not in candidate.cameras() and outcome.camera_id in history.cameras()
    ]
