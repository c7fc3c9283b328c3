"""Judge a span of history under several sets of documents at once, each with as much warm-up as it needs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from replay.history import Source
from replay.judging import CameraRun, Outcome, Timeline
from replay.known import longest_resolve_ms, quiet_ms
from replay.spans import Span
from runtime.revisions import RevisionHistory
from schemas.documents.rois import RoiDefaults, Rois, effective_rules
from schemas.effective import CameraRules, RoiRevision
from schemas.messages import Alert, DetectionEvent

FIRST_WARM_UP_MS: Final = 10 * 60_000
GROWTH: Final = 8
"""A camera whose state is not known by then is read again from so many times as far back."""

Progress = Callable[[int, int], None]
"""Told of events read and of the newest capture time among them, often."""


class Side:
    """One set of documents to judge by: a name, and a timeline per camera. A camera without one is not judged."""

    def __init__(self, name: str, timelines: Mapping[str, Timeline]) -> None:
        self.name = name
        self._timelines = dict(timelines)
        self._nothing = Timeline([])

    @classmethod
    def of_rois(cls, name: str, rois: Rois, defaults: RoiDefaults) -> "Side":
        """The documents of a `rois.yaml`, as if they had always held. A camera that it lacks has no ROIs."""
        return cls.of_rules(name, [effective_rules(entry, defaults) for entry in rois.cameras])

    @classmethod
    def of_rules(cls, name: str, rules: Iterable[CameraRules]) -> "Side":
        """Effective documents, as if they had always held."""
        return cls(name, {each.camera_id: Timeline.constant(each) for each in rules})

    @classmethod
    def recorded(cls, name: str, history: RevisionHistory) -> "Side":
        """What held at each instant, as the rules app judged."""
        return cls(name, {camera_id: Timeline(history.of(camera_id)) for camera_id in history.cameras()})

    @classmethod
    def active(cls, name: str, history: RevisionHistory) -> "Side":
        """The newest document of each camera, as if it had always held."""
        newest = [history.newest(camera_id) for camera_id in history.cameras()]
        return cls.of_rules(name, [each.document for each in newest if each is not None])

    def of(self, camera_id: str) -> Timeline:
        """The camera's timeline."""
        return self._timelines.get(camera_id, self._nothing)

    def revisions(self) -> tuple[RoiRevision, ...]:
        """Every document, of every camera."""
        return tuple(revision for timeline in self._timelines.values() for revision in timeline.revisions)

    def cameras(self) -> frozenset[str]:
        """The cameras that it has documents of."""
        return frozenset(self._timelines)


class Judgement(Struct, frozen=True):
    """What one side made of the span: per camera its `Outcome`."""

    side: str
    outcomes: dict[str, Outcome]

    def alerts(self) -> list[Alert]:
        """Every phase of every camera whose instant lies in the span, camera by camera."""
        return [alert for outcome in self.outcomes.values() for alert in outcome.alerts]


class _Round:
    """One reading of the source: from `since` on, for some cameras or all."""

    def __init__(self, source: Source, span: Span, sides: Sequence[Side], since: int) -> None:
        self._source = source
        self._span = span
        self._sides = sides
        self._since = since
        self.runs: dict[str, list[CameraRun]] = {}
        self.from_the_beginning: set[str] = set()
        self.read = 0
        # A revision that shortens the time to resolve may close an alert at an instant long past, within the span.
        self._resolve_ms = max((longest_resolve_ms(side.revisions()) for side in sides), default=0)

    def judge(self, cameras: frozenset[str] | None, progress: Progress | None) -> None:
        runs = self.runs
        for events in self._source.read(Span(self._since, self._span.end + self._resolve_ms), cameras):
            for event in events:
                known = runs.get(event.camera_id)
                if known is None:
                    known = runs[event.camera_id] = self._begin(event)
                for run in known:
                    run.judge(event)
            self.read += len(events)
            if progress is not None and events:
                progress(self.read, events[-1].captured_at)

    def _begin(self, first: DetectionEvent) -> list[CameraRun]:
        camera_id = first.camera_id
        extent = self._source.extent_of(camera_id)
        since: int | None = self._since
        if extent.first_at is None or extent.first_at >= self._since:
            self.from_the_beginning.add(camera_id)
            # Not `extent.first_at`: what a slower camera wrote may be older than what was deleted of this one.
            since = None if extent.whole else first.captured_at
        return [CameraRun(camera_id, side.of(camera_id), self._span, since) for side in self._sides]

    def unknown(self) -> frozenset[str]:
        """Cameras that an earlier beginning could tell more of."""
        return frozenset(
            camera_id
            for camera_id, runs in self.runs.items()
            if camera_id not in self.from_the_beginning and any(run.inexact for run in runs)
        )


def judge(
    source: Source,
    span: Span,
    sides: Sequence[Side],
    cameras: frozenset[str] | None = None,
    *,
    progress: Progress | None = None,
    most_warm_up_ms: int | None = None,
) -> list[Judgement]:
    """What each side makes of the span. ``cameras`` None: all that the source holds.

    A camera is read from some time before the span on, and again from further back for as long as an alert of the span
    depends on what was before, at most ``most_warm_up_ms`` and never beyond the history's beginning; what stays
    uncertain is in `Outcome.inexact`. Raises `BelowFloor`, and what the source raises.
    """
    runs: dict[str, list[CameraRun]] = {}
    warm_up = max(FIRST_WARM_UP_MS, 2 * max((quiet_ms(side.revisions()) for side in sides), default=0))
    wanted = cameras
    while True:
        if most_warm_up_ms is not None:
            warm_up = min(warm_up, most_warm_up_ms)
        one = _Round(source, span, sides, max(0, span.begin - warm_up))
        one.judge(wanted, progress)
        runs |= one.runs
        wanted = one.unknown()
        if not wanted or warm_up == most_warm_up_ms:
            break
        warm_up *= GROWTH
    outcomes = {camera_id: [run.outcome() for run in runs[camera_id]] for camera_id in sorted(runs)}
    return [
        Judgement(side.name, {camera_id: each[place] for camera_id, each in outcomes.items()})
        for place, side in enumerate(sides)
    ]
