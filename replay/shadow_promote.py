"""The shadow's candidate as the active documents."""

from collections.abc import Iterator

from replay.shadow_log import Candidate
from runtime.revisions import RevisionHistory
from runtime.roi_apply import Plan, plan_revisions
from runtime.roi_changes import changes


def plan_promotion(candidate: Candidate, history: RevisionHistory, now: int) -> Plan:
    """What making it active would publish, exactly as it was tried: with the defaults of then.

    Its origin is `api`, so that a `rois.yaml` with the older documents does not take it back unasked. ``now`` is
    milliseconds UTC. Raises `BadDocument`.
    """
    return plan_revisions(history, *candidate.document(), now, origin="api")


def promotion_in_words(plan: Plan, history: RevisionHistory) -> Iterator[str]:
    """What would change, a line each."""
    for revision in plan.publish:
        newest = history.newest(revision.camera_id)
        yield f"{revision.camera_id}: revision {revision.revision}"
        yield from (f"    {each}" for each in changes(None if newest is None else newest.document, revision.document))
    yield from (f"{camera_id}: unchanged" for camera_id in plan.unchanged)
