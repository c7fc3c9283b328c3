"""The cards of the report: one differing alert each. Pure."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from replay.comparison import Comparison, SideFacts
from replay.diff import Difference, Kind, changes
from replay.report.drawing import Drawing, Picture, drawing, evidence_of, roi_of
from replay.report.words import lasting, moment, percent
from rules.kinds import PictureSize
from schemas.effective import CameraRules
from schemas.messages import Alert, Mark

Href = Callable[[Picture], str]
"""Where the page finds the picture: a path relative to it, or the picture itself as a `data:` address."""


class Fact(Struct, frozen=True):
    """A line of a card: one value per side, ``differs`` where both sides have the alert and do not agree."""

    name: str
    before: str
    after: str
    differs: bool


class Card(Struct, frozen=True):
    """One differing alert. ``href`` None: no picture is kept any more; ``drawing`` may be there all the same."""

    number: int
    kind: Kind
    camera_id: str
    roi: str
    label: str
    at: str
    said: str
    verdict: str
    lost: bool
    facts: tuple[Fact, ...]
    href: str | None
    drawing: Drawing | None
    seen: str
    source: str
    alternative: str


def mark_of(difference: Difference, marks: Mapping[str, Mark]) -> Mark | None:
    """What operators said of the alert, by its id on either side."""
    for alert in (difference.before, difference.after):
        if alert is not None and alert.alert_id in marks:
            return marks[alert.alert_id]
    return None


def card_of(
    number: int,
    comparison: Comparison,
    difference: Difference,
    marks: Mapping[str, Mark],
    picture: Picture | None,
    href: Href,
) -> Card:
    """The card of a difference. ``picture`` None: none is kept any more."""
    evidence = evidence_of(difference)[0] if picture is None else picture.evidence
    alert = difference.after or difference.before
    assert alert is not None
    source_size = picture.source_size if picture is not None else None
    source_size = source_size or _source_size(comparison, difference.camera_id, evidence.captured_at)
    size = picture.size if picture is not None else source_size
    sides = [
        _document(side, own, difference.camera_id, difference.at)
        for side, own in ((comparison.before, difference.before), (comparison.after, difference.after))
    ]
    drawn = None
    if size is not None:
        before, after = (roi_of(document, difference.roi, difference.camera_id) for document in sides)
        drawn = drawing(size, source_size, evidence, difference.label, before, after)
    seen = f"{difference.label}, {percent(evidence.confidence)} sure, at {moment(evidence.captured_at)}"
    mark = mark_of(difference, marks)
    return Card(
        number=number,
        kind=difference.kind,
        camera_id=difference.camera_id,
        roi=difference.roi,
        label=difference.label,
        at=moment(difference.at),
        said=", ".join(changes(difference)) or _alone(difference.kind, alert),
        verdict="" if mark is None else _verdict(mark),
        lost=difference.kind == "removed" and mark is not None and mark.true,
        facts=_facts(difference),
        href=None if picture is None else href(picture),
        drawing=drawn,
        seen=seen,
        source="no picture is kept any more" if picture is None else picture.words,
        alternative=f"camera {difference.camera_id}: {seen}, and the polygon of {difference.roi} before and after",
    )


def _alone(kind: Kind, alert: Alert) -> str:
    ends = (
        "still open at the end" if alert.resolved_at is None else f"for {lasting(alert.resolved_at - alert.opened_at)}"
    )
    return f"{'only after' if kind == 'added' else 'only before'}: {ends}, {alert.hits} hits"


def _verdict(mark: Mark) -> str:
    comment = f": {mark.comment}" if mark.comment else ""
    return f"marked {'true' if mark.true else 'a false alarm'} by {mark.by}{comment}"


def _facts(difference: Difference) -> tuple[Fact, ...]:
    day = moment(difference.at)[:11]

    def clock(at: int) -> str:
        return moment(at).removeprefix(day)

    def resolved(alert: Alert) -> str:
        if alert.resolved_at is None:
            return "not within the span"
        return f"{clock(alert.resolved_at)}, after {lasting(alert.resolved_at - alert.opened_at)} ({alert.reason})"

    rows: tuple[tuple[str, Callable[[Alert], str], bool], ...] = (
        ("opened", lambda alert: clock(alert.opened_at), True),
        ("resolved", resolved, True),
        ("first hit", lambda alert: clock(alert.first_hit_at), True),
        ("last hit", lambda alert: clock(alert.last_hit_at), True),
        ("hits", lambda alert: f"{alert.hits:,}", True),
        ("held back before it", lambda alert: f"{alert.suppressed:,}", True),
        ("severity", lambda alert: alert.severity, True),
        ("model", lambda alert: f"{alert.model.name} {alert.model.version}", True),
        # Names of what judged: that they differ says nothing of the alert.
        ("ROI revision", lambda alert: alert.roi_revision, False),
        ("alert", lambda alert: alert.alert_id, False),
    )
    both = difference.before is not None and difference.after is not None
    found = []
    for name, say, telling in rows:
        before, after = ("" if alert is None else say(alert) for alert in (difference.before, difference.after))
        found.append(Fact(name, before, after, both and telling and before != after))
    return tuple(found)


def _document(side: SideFacts, alert: Alert | None, camera_id: str, at: int) -> CameraRules | None:
    """The document that judged the alert; where there was none, the one that held then."""
    own = [each for each in side.revisions if each.camera_id == camera_id]
    if alert is not None:
        judged = next((each.document for each in own if each.revision == alert.roi_revision), None)
        if judged is not None:
            return judged
    held = [each for each in own if each.effective_from <= at]
    return max(held, key=lambda each: each.effective_from).document if held else None


def _source_size(comparison: Comparison, camera_id: str, at: int) -> PictureSize | None:
    for facts in comparison.cameras:
        if facts.camera_id == camera_id:
            sizes = [each for each in facts.sizes if each.since <= at] or list(facts.sizes[:1])
            return PictureSize(sizes[-1].width, sizes[-1].height) if sizes else None
    return None
