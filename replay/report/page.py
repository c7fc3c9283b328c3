"""What the report says, as plain values that the template only has to set. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from replay.comparison import Comparison
from replay.diff import KINDS, SIGNS, Kind
from replay.report.cards import Card, Href, card_of, mark_of
from replay.report.documents import DocumentChange, document_changes
from replay.report.drawing import Picture
from replay.report.timeline import Strip, strips
from schemas.messages import Mark

MOST_CARDS: Final = 500


class SubjectCounts(Struct, frozen=True):
    """A line of the table; ``counts`` in the order of `KINDS`. ``card``: the first differing alert's."""

    camera_id: str
    roi: str
    label: str
    counts: tuple[int, ...]
    card: int | None


class Page(Struct, frozen=True):
    """The whole report. ``more``: differing alerts without a card. ``unlike``: the same alert, but other hits."""

    comparison: Comparison
    counts: tuple[tuple[Kind, str, int], ...]
    unlike: int
    subjects: tuple[SubjectCounts, ...]
    strips: tuple[Strip, ...]
    cards: tuple[Card, ...]
    more: int
    documents: tuple[DocumentChange, ...]
    notes: tuple[str, ...]


def chosen(comparison: Comparison, marks: Mapping[str, Mark], most: int = MOST_CARDS) -> tuple[int, ...]:
    """The differences that get a card, as places in `Comparison.differences`: in order of time. Where there are more
    than fit, those that somebody marked come first."""
    differing = [place for place, each in enumerate(comparison.differences) if each.kind != "same"]
    ranked = sorted(differing, key=lambda place: mark_of(comparison.differences[place], marks) is None)
    return tuple(sorted(ranked[:most]))


def page_of(
    comparison: Comparison,
    marks: Mapping[str, Mark],
    places: Sequence[int],
    pictures: Sequence[Picture | None],
    href: Href,
    troubles: Sequence[str] = (),
) -> Page:
    """The report. ``places``: as `chosen` answers; ``pictures``: one for each of them."""
    numbers = {place: number for number, place in enumerate(places, 1)}
    differing = sum(each.kind != "same" for each in comparison.differences)
    counts = comparison.counts()
    return Page(
        comparison=comparison,
        counts=tuple((kind, SIGNS[kind], counts[kind]) for kind in KINDS),
        unlike=sum(each.kind == "same" and not each.identical for each in comparison.differences),
        subjects=_subjects(comparison, numbers),
        strips=strips(comparison, numbers),
        cards=tuple(
            card_of(numbers[place], comparison, comparison.differences[place], marks, picture, href)
            for place, picture in zip(places, pictures, strict=True)
        ),
        more=differing - len(places),
        documents=document_changes(comparison.before, comparison.after, comparison.manifest.cameras),
        notes=(*comparison.notes, *troubles),
    )


def _subjects(comparison: Comparison, numbers: Mapping[int, int]) -> tuple[SubjectCounts, ...]:
    kinds: defaultdict[tuple[str, str, str], list[Kind]] = defaultdict(list)
    first: dict[tuple[str, str, str], int] = {}
    for place, each in enumerate(comparison.differences):
        key = each.camera_id, each.roi, each.label
        kinds[key].append(each.kind)
        if place in numbers:
            first.setdefault(key, numbers[place])
    return tuple(
        SubjectCounts(*key, tuple(some.count(kind) for kind in KINDS), first.get(key))
        for key, some in sorted(kinds.items())
    )
