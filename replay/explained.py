"""What became of a subject over a span, step by step: collected, and shown. Pure."""

from collections.abc import Hashable
from typing import Final

from msgspec import Struct

from replay.spans import Span, in_words
from replay.telling import Clock, Kind, Telling
from schemas.messages import Alert

DAY_MS: Final = 86_400_000

SHOWN_SINGLY: Final = 3
"""So many hits that are not enough are told one by one before they are told together."""


class Step(Struct, frozen=True):
    """One thing that happened to the subject, or ``count`` events alike, the first ``at``, the last ``until``.

    ``words`` are those of the event that came nearest to more. ``alert_id``: the alert that opened or resolved.
    """

    at: int
    until: int
    count: int
    kind: Kind
    words: str
    alert_id: str | None = None


class Explanation(Struct, frozen=True):
    """Why a subject's alerts of a span opened, or why none did.

    ``before`` is the state in which the span found the subject, ``conclusion`` a sentence on the whole. ``alerts`` are
    the phases whose instant lies in the span. ``events`` counts those of the span, ``skipped`` and ``late`` ones
    among them; ``seen`` are those that held a detection of the label, ``hits`` those that held a hit. ``inexact``: what
    cannot be known because the history does not reach back far enough (`time`, `suppressed`).
    """

    camera_id: str
    roi: str
    label: str
    span: Span
    before: str
    steps: tuple[Step, ...]
    conclusion: str
    alerts: tuple[Alert, ...]
    events: int
    skipped: int
    late: int
    seen: int
    hits: int
    inexact: tuple[str, ...]


class Story:
    """Collects what is told, and tells as one what is alike and nothing of note lies between."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._alike: dict[Hashable, tuple[int, float]] = {}
        self._counting = 0

    def add(self, told: Telling) -> None:
        """One thing more."""
        step = Step(told.at, told.at, 1, told.kind, told.words, told.alert_id)
        if told.key is None:
            self._alike.clear()
            self._counting = 0
            self._steps.append(step)
            return
        if told.kind == "counting":
            self._counting += 1
            if self._counting <= SHOWN_SINGLY:
                self._steps.append(step)
                return
        place, nearest = self._alike.setdefault(told.key, (len(self._steps), told.nearest))
        if place == len(self._steps):
            self._steps.append(step)
            return
        known = self._steps[place]
        nearer = told.nearest > nearest
        if nearer:
            self._alike[told.key] = (place, told.nearest)
        words = told.words if nearer else known.words
        self._steps[place] = Step(known.at, told.at, known.count + 1, known.kind, words)

    def steps(self) -> tuple[Step, ...]:
        """What was told so far."""
        return tuple(self._steps)


def clock_of(span: Span) -> Clock:
    """Times of day in UTC, to the millisecond where there is any, and with the date where it is not the span's only."""
    day = span.begin // DAY_MS
    one_day = day == (span.end - 1) // DAY_MS

    def clock(at: int) -> str:
        written = in_words(at)
        return written[11:-1] if one_day and at // DAY_MS == day else f"{written[:10]} {written[11:-1]}"

    return clock


def lines(explanation: Explanation, clock: Clock) -> list[str]:
    """The explanation for a terminal: the state before, a line per step, the conclusion."""
    times = [
        clock(step.at) if step.at == step.until else f"{clock(step.at)} to {clock(step.until)}"
        for step in explanation.steps
    ]
    wide = max(map(len, ("before", *times)))
    told = [f"  {'before':<{wide}}  {explanation.before}"]
    for when, step in zip(times, explanation.steps, strict=True):
        told.append(f"  {when:<{wide}}  {step.words}{_alike(step)}")
    return [*told, explanation.conclusion]


def _alike(step: Step) -> str:
    if step.count == 1:
        return f" [{step.alert_id}]" if step.kind == "opened" else ""
    return f" ({'the nearest of ' if step.kind in {'miss', 'counting'} else ''}{step.count} events)"
