"""From `rois.yaml` to records of `roi-revisions`: what would change, when it takes effect, and whether it may."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from runtime.revisions import RevisionHistory
from schemas.documents.rois import CameraRois, RoiDefaults, Rois, effective_rules
from schemas.effective import CameraRules, RoiRevision, revision_of
from schemas.messages import Origin

AHEAD_MS: Final = 10_000
"""A change takes effect at least this far ahead: workers refresh every 5 s, so all of them know it by then."""


class Plan(NamedTuple):
    """What applying would do.

    ``publish``: records to write. ``unchanged``: cameras whose document holds already. ``overruled``: cameras whose
    active document came through the API after the file was last applied; the file does not overrule those unasked.
    """

    publish: tuple[RoiRevision, ...]
    unchanged: tuple[str, ...]
    overruled: tuple[str, ...]


def plan_revisions(
    history: RevisionHistory,
    rois: Rois,
    defaults: RoiDefaults,
    now: int,
    *,
    origin: Origin = "file",
    force: bool = False,
) -> Plan:
    """Compares the document with the newest revision of every camera. ``now`` is milliseconds UTC.

    A camera's first document holds from instant 0, so that its whole history can be judged by it. A camera that is in
    the history and no longer in the document gets an empty one.
    """
    entries: Mapping[str, CameraRois] = {entry.camera_id: entry for entry in rois.cameras}
    publish: list[RoiRevision] = []
    unchanged: list[str] = []
    overruled: list[str] = []
    for camera_id in (*entries, *(known for known in history.cameras() if known not in entries)):
        entry = entries.get(camera_id)
        document = CameraRules(camera_id) if entry is None else effective_rules(entry, defaults)
        newest = history.newest(camera_id)
        revision = revision_of(document)
        if newest is not None and newest.revision == revision:
            unchanged.append(camera_id)
            continue
        if newest is not None and newest.origin == "api" and origin == "file" and not force:
            overruled.append(camera_id)
            continue
        publish.append(
            RoiRevision(
                camera_id=camera_id,
                revision=revision,
                effective_from=0 if newest is None else max(now + AHEAD_MS, newest.effective_from + 1),
                published_at=now,
                origin=origin,
                document=document,
                written=None if entry is None else entry.model_dump(mode="json", by_alias=True, exclude_unset=True),
            )
        )
    return Plan(tuple(publish), tuple(unchanged), tuple(overruled))
