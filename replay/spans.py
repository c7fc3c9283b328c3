"""Spans of time as people write them."""

from typing import NamedTuple

from schemas.instants import BadInstant, in_words, instant

__all__ = ["BadInstant", "Span", "in_words", "instant", "span_of"]


class Span(NamedTuple):
    """From ``begin`` (included) to ``end`` (not), capture time in milliseconds UTC."""

    begin: int
    end: int

    def holds(self, instant: int) -> bool:
        """Whether the instant lies in the span."""
        return self.begin <= instant < self.end


def span_of(begin: str, end: str, now: int) -> Span:
    """The span between two written instants. Raises `BadInstant`, also where it is empty."""
    span = Span(instant(begin, now), instant(end, now))
    if span.begin >= span.end:
        raise BadInstant(f"the span from {in_words(span.begin)} to {in_words(span.end)} is empty")
    return span
