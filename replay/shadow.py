"""The shadow's process: `detections`, judged by a candidate, to `alerts.shadow`. It writes to no live topic.

It belongs to no group. Every few seconds, when the broker has every alert so far, a record per partition on `shadow`
says up to where it has judged and with what state; there the next process goes on. What was judged after that is judged
again, by the same engine from the same state: the same alerts under the same ids.
"""

import time

from replay.run import Progress
from replay.shadow_begin import begin, check_resumable, same_document
from replay.shadow_following import STAGE, Follower
from replay.shadow_log import Candidate, ShadowLog, candidate_record, progress_record, shadow_client, write_records
from replay.spans import in_words
from replay.trial import Refused
from runtime.health import Health
from runtime.lifecycle import Stop
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas.documents.rois import Rois

log = get_logger(__name__)


def prepare(
    settings: Settings,
    shadow_log: ShadowLog,
    rois: Rois | None,
    name: str,
    started_at: int | None,
    *,
    restart: bool,
    progress: Progress | None = None,
) -> Candidate:
    """The candidate to go on with, or a new one, written down together with the state it begins with.

    ``rois`` None: go on with the one there is. ``started_at`` (ms UTC) is for a new one alone; None is now. Raises
    `Refused`, `BadDocument`, `BelowFloor`, `BrokerUnreachable`.
    """
    shadow_log.refresh()
    known = None if restart else shadow_log.candidate()
    if known is not None:
        if rois is not None and not same_document(known, rois, settings.roi_defaults):
            raise Refused(
                f"another candidate runs in the shadow, {known.name} since {in_words(known.started_at)}: "
                f"`backsight shadow run --restart` gives it up and begins with {name}"
            )
        check_resumable(settings, shadow_log.progress(known.shadow))
        return known
    if rois is None:
        raise Refused("no candidate runs in the shadow; --rois FILE names one")
    now = round(time.time() * 1000)
    candidate, first = begin(
        settings, name, rois, settings.roi_defaults, now if started_at is None else started_at, progress
    )
    records = [*map(progress_record, first), candidate_record(candidate), *shadow_log.forgotten()]
    write_records(shadow_client(settings), settings.prefix, records)
    shadow_log.refresh()
    newest = shadow_log.candidate()
    if newest is None or newest.shadow != candidate.shadow:
        raise Refused("another shadow was begun or stopped at this moment")
    return candidate


def follow(settings: Settings, shadow_log: ShadowLog, candidate: Candidate, stop: Stop) -> bool:
    """`Follower.run`, with the health endpoint that the settings ask for. ``shadow_log`` may be closed."""
    health = Health(STAGE, stop.is_set)
    try:
        health.serve(settings.health_port, settings.health_host)
        progress = shadow_log.progress(candidate.shadow)
        log.info(
            "shadow_follows",
            candidate=candidate.name,
            shadow=candidate.shadow,
            since=candidate.started_at,
            cameras=sum(len(each.cameras) for each in progress.values()),
            positions={number: each.position for number, each in sorted(progress.items())},
        )
        going_on = Follower(settings, shadow_log, candidate, health).run(stop)
        log.info("shadow_stopped" if going_on else "shadow_replaced", shadow=candidate.shadow)
        return going_on
    finally:
        health.close()
