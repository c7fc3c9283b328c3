"""The timeline strips: where each alert lies in the span, side by side. Places, no drawing. Pure.

Along the time everything is in percent of the span, so that a strip is as wide as the page, whatever that is. However
many alerts there are, a lane holds a few hundred bars at most: what would touch is one bar.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from replay.comparison import CameraFacts, Comparison
from replay.diff import KINDS, Difference, Kind
from replay.report.words import lasting, moment
from replay.spans import Span
from schemas.messages import Alert

NARROWEST: Final = 0.3
"""Percent: what is shorter is drawn as wide as this."""
CLOSE: Final = 0.15
"""Percent: bars of one kind that are no farther apart are one."""
SIGN_ROOM: Final = 1.6
"""Percent between two signs; one nearer to the sign before it is left out."""
MOST_ROWS: Final = 12
MOST_TICKS: Final = 6

_SECOND: Final = 1000
_DAY: Final = 86_400 * _SECOND
_STEPS: Final = tuple(
    step * _SECOND for step in (1, 2, 5, 15, 30, 60, 120, 300, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)
) + tuple(days * _DAY for days in (1, 2, 7, 14, 28, 91, 365))

Subject = tuple[str, str]


class Bar(Struct, frozen=True):
    """One alert on one side, or several that touch. ``card``: the number of its card, where it has one."""

    left: float
    width: float
    kind: Kind
    title: str
    card: int | None


class Row(Struct, frozen=True):
    """A subject: what each side raised, and the signs of what differs at their places."""

    name: str
    before: tuple[Bar, ...]
    after: tuple[Bar, ...]
    signs: tuple[tuple[float, Kind], ...]


class Tick(Struct, frozen=True):
    """A place on the axis. ``date`` is None where it is that of the tick before."""

    left: float
    clock: str
    date: str | None


class Strip(Struct, frozen=True):
    """One camera's. ``silent``: parts (left, width) of the span, before its first and after its last event."""

    camera_id: str
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    silent: tuple[tuple[float, float], ...]
    counts: tuple[tuple[Kind, int], ...]


def strips(comparison: Comparison, cards: Mapping[int, int]) -> tuple[Strip, ...]:
    """One strip per camera. ``cards``: place of a difference in `Comparison.differences` to the number of its card."""
    span = comparison.manifest.span
    by_camera: defaultdict[str, list[int]] = defaultdict(list)
    for place, difference in enumerate(comparison.differences):
        by_camera[difference.camera_id].append(place)
    facts = {each.camera_id: each for each in comparison.cameras}
    shared = ticks(span)
    return tuple(
        Strip(
            camera_id=camera_id,
            rows=_rows(comparison.differences, by_camera[camera_id], span, cards),
            ticks=shared,
            silent=_silent(facts.get(camera_id), span),
            counts=_counts([comparison.differences[place].kind for place in by_camera[camera_id]]),
        )
        for camera_id in sorted({*facts, *by_camera})
    )


def ticks(span: Span) -> tuple[Tick, ...]:
    """At most `MOST_TICKS` round instants (UTC) of the span."""
    length = span.end - span.begin
    step = next((each for each in _STEPS if length <= each * MOST_TICKS), -(-length // MOST_TICKS // _DAY) * _DAY)
    found: list[Tick] = []
    said = ""
    for at in range(-(-span.begin // step) * step, span.end, step):
        instant = datetime.fromtimestamp(at / 1000, UTC)
        date = f"{instant.day} {instant:%b}"
        clock = date if step >= _DAY else f"{instant:%H:%M:%S}" if step < 60 * _SECOND else f"{instant:%H:%M}"
        found.append(Tick(_place(at, span), clock, None if step >= _DAY or date == said else date))
        said = date
    return tuple(found)


def _rows(
    differences: Sequence[Difference], places: Sequence[int], span: Span, cards: Mapping[int, int]
) -> tuple[Row, ...]:
    by_subject: defaultdict[Subject, list[int]] = defaultdict(list)
    for place in places:
        by_subject[differences[place].roi, differences[place].label].append(place)
    # Where there are more subjects than rows, those that differ keep theirs.
    ranked = sorted(
        by_subject, key=lambda key: (-sum(differences[each].kind != "same" for each in by_subject[key]), key)
    )
    own = ranked if len(ranked) <= MOST_ROWS else ranked[: MOST_ROWS - 1]
    rows = [_row(" · ".join(key), differences, by_subject[key], span, cards) for key in sorted(own)]
    others = sorted(place for key in ranked[len(own) :] for place in by_subject[key])
    if others:
        rows.append(_row(f"{len(ranked) - len(own)} other subjects", differences, others, span, cards))
    return tuple(rows)


def _row(
    name: str, differences: Sequence[Difference], places: Sequence[int], span: Span, cards: Mapping[int, int]
) -> Row:
    before = [
        _bar(each.before, each.kind, span, cards.get(place))
        for place in places
        if (each := differences[place]).before is not None
    ]
    after = [
        _bar(each.after, each.kind, span, cards.get(place))
        for place in places
        if (each := differences[place]).after is not None
    ]
    signs: list[tuple[float, Kind]] = []
    for place in places:
        difference = differences[place]
        left = _place(difference.at, span)
        if difference.kind != "same" and (not signs or left - signs[-1][0] >= SIGN_ROOM):
            signs.append((left, difference.kind))
    return Row(name, tuple(_merged(before)), tuple(_merged(after)), tuple(signs))


def _bar(alert: Alert | None, kind: Kind, span: Span, card: int | None) -> Bar:
    assert alert is not None
    left = _place(alert.opened_at, span)
    right = 100.0 if alert.resolved_at is None else _place(alert.resolved_at, span)
    ends = "still open" if alert.resolved_at is None else f"for {lasting(alert.resolved_at - alert.opened_at)}"
    title = f"{kind}: {alert.label} in {alert.roi}, {moment(alert.opened_at)}, {ends}"
    return Bar(min(left, 100 - NARROWEST), max(NARROWEST, round(right - left, 2)), kind, title, card)


def _merged(bars: Sequence[Bar]) -> list[Bar]:
    """One bar for those of a kind that touch, those that differ drawn last."""
    found: list[Bar] = []
    for kind in reversed(KINDS):
        run: list[Bar] = []
        right = 0.0
        for bar in sorted((each for each in bars if each.kind == kind), key=lambda each: each.left):
            if run and bar.left - right > CLOSE:
                found.append(_one(run, right))
                run, right = [], 0.0
            run.append(bar)
            right = max(right, bar.left + bar.width)
        if run:
            found.append(_one(run, right))
    return found


def _one(run: Sequence[Bar], right: float) -> Bar:
    first = run[0]
    if len(run) == 1:
        return first
    card = next((each.card for each in run if each.card is not None), None)
    return Bar(first.left, round(right - first.left, 2), first.kind, f"{len(run)} alerts. First {first.title}", card)


def _silent(facts: CameraFacts | None, span: Span) -> tuple[tuple[float, float], ...]:
    if facts is None or facts.first_at is None or facts.last_at is None:
        return ((0.0, 100.0),)
    first, last = _place(facts.first_at, span), _place(facts.last_at, span)
    parts = ((0.0, first), (last, round(100 - last, 2)))
    return tuple(part for part in parts if part[1] >= NARROWEST)


def _counts(kinds: Sequence[Kind]) -> tuple[tuple[Kind, int], ...]:
    return tuple((kind, kinds.count(kind)) for kind in KINDS)


def _place(at: int, span: Span) -> float:
    return round(min(100.0, max(0.0, 100 * (at - span.begin) / (span.end - span.begin))), 2)
