"""The active rules and the shadow held against one another, as far as both have judged."""

import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

from msgspec import structs

from replay.comparison import Comparison, Manifest, SideFacts, compared, models_seen
from replay.history import Extent
from replay.judging import instant_of
from replay.kafka_source import Records
from replay.recorded import Recorded, recorded_alerts
from replay.shadow_following import HEADER
from replay.shadow_judging import outcomes
from replay.shadow_log import Candidate, PartitionProgress
from replay.spans import Span, in_words
from replay.trial import Refused, in_force, notes_on_inexact, notes_on_recorded, notes_on_taken_away
from rules.engine import ENGINE_VERSION
from runtime.marks import read_marks
from runtime.pipeline.drain import committed, group_view
from runtime.revisions import RevisionHistory
from runtime.settings import Settings
from schemas.topics import ALERTS_SHADOW, DETECTIONS

LOOKED_BACK: Final = 5_000
"""Where the rules are behind, a camera's newest event that they have judged is looked for in as many records."""
BEHIND_MS: Final = 60_000
"""A camera that is compared up to so long before the others is named."""

Cuts = dict[str, int]
"""Per camera the capture time of an event that both have judged: every phase up to it is on both topics, if at all."""


def cuts(progress: Mapping[int, PartitionProgress], judged: Mapping[int, int]) -> tuple[Cuts, dict[int, set[str]]]:
    """From what the shadow has judged and what the rules have (offsets, by partition).

    Also answers the cameras, by partition, of which the shadow has judged more than the rules: what is common must be
    looked up for them.
    """
    known: Cuts = {}
    behind: dict[int, set[str]] = {}
    for number, partition in progress.items():
        for camera in partition.cameras:
            if camera.seen < judged.get(number, 0):
                known[camera.facts.camera_id] = camera.watermark
            else:
                behind.setdefault(number, set()).add(camera.facts.camera_id)
    return known, behind


def kept(recorded: Recorded, up_to: Cuts) -> Recorded:
    """Without the phases that the other side may not have come to."""
    alerts = tuple(alert for alert in recorded.alerts if instant_of(alert) <= up_to.get(alert.camera_id, -1))
    return structs.replace(recorded, alerts=alerts)


def report(
    settings: Settings, candidate: Candidate, progress: Mapping[int, PartitionProgress], history: RevisionHistory
) -> Comparison:
    """Recorded alerts against the shadow's, from its beginning on. Raises `Refused`, `BrokerUnreachable`."""
    now = round(time.time() * 1000)
    begin = max(candidate.started_at, now - (ALERTS_SHADOW.retention_ms or now))
    up_to, left_out = _common(settings, progress)
    newest = max(up_to.values(), default=-1)
    if newest < begin:
        raise Refused(f"no event since {in_words(begin)} is judged by both, the rules and the shadow, yet")
    span = Span(begin, newest + 1)
    made = outcomes(candidate, progress)
    side = candidate.side()
    before = kept(recorded_alerts(settings.kafka, settings.prefix, span), up_to)
    header = (HEADER, candidate.shadow.encode())
    after = kept(recorded_alerts(settings.kafka, settings.prefix, span, topic=ALERTS_SHADOW.name, header=header), up_to)
    notes = [f"{camera_id}: left out, the rules are behind by too much" for camera_id in sorted(left_out)]
    notes += _cut_short(up_to, newest)
    if begin > candidate.started_at:
        notes.append(f"the shadow began at {in_words(candidate.started_at)}; its older alerts are deleted")
    notes += notes_on_recorded(before, history)
    notes += notes_on_inexact("candidate", made)
    notes += notes_on_taken_away(side, made, history)
    manifest = Manifest(
        run=f"shadow-{candidate.shadow}",
        made_at=now,
        span=span,
        source=f"{settings.prefix}{ALERTS_SHADOW.name} beside {settings.prefix}alerts",
        extents=tuple(
            Extent(number, candidate.starts.get(number, 0), each.position, None, whole=False)
            for number, each in sorted(progress.items())
        ),
        cameras=tuple(each.camera_id for each in made),
        models=models_seen(made),
        engine=ENGINE_VERSION,
        code=version("backsight"),
    )
    return compared(
        manifest,
        SideFacts("recorded", in_force(history, span), tuple(sorted(before.engines))),
        SideFacts(side.name, side.revisions(), tuple(sorted(after.engines))),
        before.alerts,
        after.alerts,
        made,
        read_marks(settings.kafka, settings.prefix),
        notes,
    )


def _common(settings: Settings, progress: Mapping[int, PartitionProgress]) -> tuple[Cuts, set[str]]:
    """The cuts, and the cameras of which nobody can tell one."""
    topic = DETECTIONS.full_name(settings.prefix)
    view = group_view(settings.kafka, f"{settings.prefix}rules")
    try:
        judged = committed(view, topic, sorted(progress))
    finally:
        view.close()
    known, behind = cuts(progress, judged)
    if not behind:
        return known, set()
    records = Records(settings.kafka, topic)
    try:
        records.spans = {
            number: (low, min(high, judged.get(number, 0)))
            for number, (low, high) in records.spans.items()
            if number in behind
        }
        starts = {number: max(low, end - LOOKED_BACK) for number, (low, end) in records.spans.items()}
        for some in records.read(starts):
            for record in some:
                camera_id = (record.key() or b"").decode(errors="replace")
                if camera_id in behind[record.partition()]:
                    known[camera_id] = max(known.get(camera_id, -1), record.timestamp()[1])
    finally:
        records.close()
    return known, set().union(*behind.values()) - known.keys()


def _cut_short(up_to: Cuts, newest: int) -> list[str]:
    said = [f"both sides have judged every camera up to {in_words(min(up_to.values()))}"]
    return said + [
        f"{camera_id}: no event after {in_words(at)} is judged by both"
        for camera_id, at in sorted(up_to.items())
        if newest - at > BEHIND_MS
    ]
