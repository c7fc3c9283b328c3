"""One partition's events under the candidate, resumable after any of them. Pure."""

from collections.abc import Mapping
from typing import Final

from msgspec import structs

from replay.comparison import CameraFacts
from replay.judging import CameraRun, Inexact, Outcome
from replay.run import Side
from replay.shadow_log import CameraProgress, Candidate, KeptSubject, PartitionProgress
from replay.spans import Span
from rules.state import CameraState, Subject, camera_state
from schemas.messages import Alert, DetectionEvent

_FOR_EVER: Final = 1 << 62


class PartitionJudging:
    """Goes on from ``progress``. Events must come in the order of their offsets, from its position on."""

    def __init__(self, candidate: Candidate, side: Side, progress: PartitionProgress) -> None:
        self._candidate = candidate
        self._side = side
        self._span = Span(candidate.started_at, _FOR_EVER)
        self._before = {each.facts.camera_id: each for each in progress.cameras}
        self._runs = {each.facts.camera_id: self._run(each.facts.camera_id, each) for each in progress.cameras}
        self._seen = {each.facts.camera_id: each.seen for each in progress.cameras}
        self._partition = progress.partition
        self._left_out = progress.left_out
        self.position = progress.position

    def judge(self, offset: int, event: DetectionEvent) -> list[Alert]:
        """The phases that the event at this offset brings, of alerts that opened since the shadow began.

        Raises `BelowFloor`, and `ValueError` where the engine does; the state is that of before then.
        """
        run = self._runs.get(event.camera_id)
        if run is None:
            run = self._runs[event.camera_id] = self._run(event.camera_id, None)
        run.feed((event,))
        self.position = offset + 1
        self._seen[event.camera_id] = offset
        alerts = [alert for alert in run.alerts if alert.opened_at >= self._span.begin]
        run.alerts.clear()
        return alerts

    def leave_out(self, offset: int) -> None:
        """The record at this offset could not be read or judged."""
        self.position = offset + 1
        self._left_out += 1

    def progress(self, now: int) -> PartitionProgress:
        """Up to the newest record given; ``now`` is wall time, ms UTC."""
        return PartitionProgress(
            shadow=self._candidate.shadow,
            partition=self._partition,
            position=self.position,
            written_at=now,
            left_out=self._left_out,
            cameras=tuple(
                camera_progress(run.outcome(), self._seen[camera_id], self._before.get(camera_id))
                for camera_id, run in self._runs.items()
                if camera_id in self._seen
            ),
        )

    def _run(self, camera_id: str, before: CameraProgress | None) -> CameraRun:
        run = CameraRun(camera_id, self._side.of(camera_id), self._span, None)
        if before is not None:
            run.state = _state(before)
        return run


def first_progress(camera_id: str, state: CameraState, seen: int) -> CameraProgress:
    """A camera of which nothing is counted yet."""
    return CameraProgress(seen, state.watermark, _kept(state), CameraFacts(camera_id, 0, 0, 0, 0, 0, None, None))


def camera_progress(outcome: Outcome, seen: int, before: CameraProgress | None) -> CameraProgress:
    """The camera after ``outcome``, on top of what was counted before; ``seen``: the offset of its newest record."""
    facts = CameraFacts(
        camera_id=outcome.camera_id,
        judged=outcome.judged,
        skipped=outcome.skipped,
        late=outcome.late,
        hits=outcome.hits,
        unlisted=outcome.unlisted,
        first_at=outcome.first_at,
        last_at=outcome.last_at,
        sizes=outcome.sizes,
    )
    models = outcome.models
    if before is not None:
        facts = _sum(before.facts, facts)
        models |= frozenset(before.models)
    return CameraProgress(
        seen=seen,
        watermark=outcome.state.watermark,
        subjects=_kept(outcome.state),
        facts=facts,
        models=tuple(sorted(models, key=lambda model: (model.name, model.version, model.sha256))),
    )


def outcomes(candidate: Candidate, progress: Mapping[int, PartitionProgress]) -> list[Outcome]:
    """What the shadow made of each camera so far, by camera; without the alerts, which are on their topic."""
    inexact: dict[str, list[Inexact]] = {}
    for each in candidate.inexact:
        inexact.setdefault(each.camera_id, []).append(each)
    found = []
    for camera in (camera for partition in progress.values() for camera in partition.cameras):
        facts = structs.asdict(camera.facts)
        found.append(
            Outcome(
                **facts,
                alerts=(),
                inexact=tuple(inexact.get(camera.facts.camera_id, ())),
                models=frozenset(camera.models),
                state=_state(camera),
            )
        )
    return sorted(found, key=lambda outcome: outcome.camera_id)


def _kept(state: CameraState) -> tuple[KeptSubject, ...]:
    return tuple(KeptSubject(*subject, kept) for subject, kept in state.subjects.items())


def _state(progress: CameraProgress) -> CameraState:
    return camera_state(progress.watermark, {Subject(each.roi, each.label): each.state for each in progress.subjects})


def _sum(before: CameraFacts, after: CameraFacts) -> CameraFacts:
    sizes = after.sizes
    if before.sizes and sizes and before.sizes[-1][1:] == sizes[0][1:]:
        sizes = sizes[1:]
    return CameraFacts(
        camera_id=before.camera_id,
        judged=before.judged + after.judged,
        skipped=before.skipped + after.skipped,
        late=before.late + after.late,
        hits=before.hits + after.hits,
        unlisted=before.unlisted + after.unlisted,
        first_at=after.first_at if before.first_at is None else before.first_at,
        last_at=before.last_at if after.last_at is None else after.last_at,
        sizes=(*before.sizes, *sizes),
    )
