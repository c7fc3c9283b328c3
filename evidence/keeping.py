"""One opened alert: its frame is read, its picture made, both are kept."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from evidence.drawing import evidence_picture
from evidence.layout import File
from evidence.store import Account, EvidenceStore
from inference.pictures import BadPicture
from rules.kinds import PictureSize
from rules.kinds.presence import needs_size
from runtime.frame_records import Frame
from runtime.logs import get_logger
from runtime.metrics import EVIDENCE, EVIDENCE_BYTES
from schemas.effective import RoiRevision, RoiRules
from schemas.messages import Alert, FrameRef

log = get_logger(__name__)


class Frames(Protocol):
    """`runtime.frame_records.FrameRecords`."""

    def read(self, refs: Iterable[FrameRef]) -> Iterator[tuple[FrameRef, Frame]]:
        """The frames that are still there. Raises `BrokerUnreachable`."""


class Evidence(NamedTuple):
    """What is to be kept of an alert. Where a picture is None ``missing`` says why, in words."""

    clean: bytes | None
    drawn: bytes | None
    missing: str | None = None


def evidence_of(alert: Alert, frames: Frames, roi_of: Callable[[Alert], RoiRules | None], quality: int) -> Evidence:
    """The alert's pictures from the topic of frames. Raises `BrokerUnreachable`."""
    ref = alert.evidence.frame
    place = f"{ref.topic} (partition {ref.partition}, offset {ref.offset})"
    frame = next((frame for _, frame in frames.read([ref])), None)
    if frame is None:
        return Evidence(None, None, f"the frame is no longer on {place}")
    # A topic that was removed and made again has other frames at the same offsets.
    if (frame.camera_id, frame.head.captured_at) != (alert.camera_id, alert.evidence.captured_at):
        return Evidence(None, None, f"another frame lies at {place}")
    source = PictureSize(frame.head.source_width, frame.head.source_height)
    roi = roi_of(alert)
    if roi is not None and needs_size(roi) and min(source) <= 0:
        roi = None
    try:
        return Evidence(frame.jpeg, evidence_picture(frame.jpeg, alert, roi, source, quality))
    except BadPicture as bad:
        return Evidence(None, None, f"the frame on {place} does not decode: {bad}")
    except Exception as error:  # whatever it is, it would be so again, and the next alert waits
        return Evidence(frame.jpeg, None, f"the picture could not be drawn: {type(error).__name__}: {error}")


def keep(store: EvidenceStore, alert: Alert, evidence: Evidence, now: int) -> None:
    """Keeps what was not kept before. ``now``: milliseconds UTC. Raises `StoreTrouble`; it may be called again then."""
    known = store.account(alert.alert_id, alert.opened_at)
    if known is not None and (known.missing is None or evidence.drawn is None):
        return
    files: list[tuple[File, bytes | None]] = [("clean.jpg", evidence.clean), ("evidence.jpg", evidence.drawn)]
    for file, content in files:
        if content is not None:
            store.put(alert.alert_id, alert.opened_at, file, content)
            EVIDENCE_BYTES.inc(len(content))
    if evidence.missing is not None:
        log.warning("evidence_missing", alert=alert.alert_id, camera=alert.camera_id, reason=evidence.missing)
    store.write_account(Account(alert, now, evidence.missing))
    EVIDENCE.labels("kept" if evidence.missing is None else "missing").inc()


def roi_in(revisions: Iterable[RoiRevision], alert: Alert) -> RoiRules | None:
    """The ROI as it was when the alert was judged, or None where that revision is not known."""
    for revision in revisions:
        if revision.revision == alert.roi_revision:
            return next((roi for roi in revision.document.rois if roi.name == alert.roi), None)
    return None
