"""One subject through one event: remember hits, confirm, hold, open, end. The law is docs/rules.md."""

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import NamedTuple

from msgspec import structs

from rules.state import Episode, Opening, SubjectState, recent
from schemas.effective import RoiRules
from schemas.messages import ResolveReason

Open = Callable[[int], Opening]
"""Makes the opening of an alert at this event, from the count of suppressed episodes that it carries."""


class Ended(NamedTuple):
    """An alert that resolved: the episode as it was, when, and why."""

    episode: Episode
    opening: Opening
    resolved_at: int
    reason: ResolveReason


class Verdict(NamedTuple):
    """What an event did to a subject. ``changed``: its row; ``remembered``: the event's time joined its hits."""

    subject: SubjectState
    changed: bool
    remembered: bool = False
    ended: Ended | None = None
    opened: Episode | None = None


def judge(subject: SubjectState, roi: RoiRules, at: int, watched: bool, hit: Open | None) -> Verdict:
    """Judge the subject at an event of time ``at``, later than every event before it.

    ``watched``: the event was not skipped. ``hit``: the event holds a hit, and how an alert would open on it.

    A hit at the very instant at which an episode ends is forgotten with it. The confirming hit is among the event's
    own: an alert needs evidence from the frame it opens on, so a revision that asks for fewer hits waits for the next.
    """
    if at <= subject.applied_at:
        return Verdict(subject, changed=False)
    episode = subject.episode
    if episode is None:
        if hit is None:
            return Verdict(subject, changed=False)
        return _gain(subject, roi, at, hit)
    end = episode.last_hit_at + roi.resolve_after_ms
    if at >= end:
        subject, ended = _end(subject, episode, end, at, watched)
        if hit is None or at == end:
            return Verdict(subject, changed=True, ended=ended)
        # A held episode ends without a word, but its row changes all the same.
        return _gain(subject, roi, at, hit, ended, changed=True)
    if hit is not None:
        return _prolong(subject, episode, roi, at, hit)
    watched_at = at if watched and episode.watched_at is None else episode.watched_at
    if watched_at == episode.watched_at and episode.resolve_after_ms == roi.resolve_after_ms:
        return Verdict(subject, changed=False)
    episode = structs.replace(episode, watched_at=watched_at, resolve_after_ms=roi.resolve_after_ms)
    return Verdict(structs.replace(subject, episode=episode, applied_at=at), changed=True)


def abandon(subject: SubjectState, at: int, effective_from: int) -> Verdict:
    """Judge a subject whose ROI or label the revision from ``effective_from`` on no longer has, at its first event.

    An open alert resolves; the subject starts afresh, as if nothing up to ``at`` had been seen.
    """
    if at <= subject.applied_at:
        return Verdict(subject, changed=False)
    episode = subject.episode
    ahead = _after(subject.hits, at)
    if episode is None and subject.last_opened_at is None and not subject.suppressed and ahead == subject.hits:
        return Verdict(subject, changed=False)
    ended = None
    if episode is not None and episode.opening is not None:
        resolved_at = min(episode.last_hit_at + episode.resolve_after_ms, effective_from)
        ended = Ended(episode, episode.opening, resolved_at, "revision")
    return Verdict(SubjectState(hits=ahead, forget_before=at, applied_at=at), changed=True, ended=ended)


def _end(
    subject: SubjectState, episode: Episode, end: int, at: int, watched: bool
) -> tuple[SubjectState, Ended | None]:
    seen_at = episode.watched_at
    quiet = (seen_at is not None and seen_at <= end) or (watched and at == end)
    held = episode.opening is None
    ended = None if episode.opening is None else Ended(episode, episode.opening, end, "quiet" if quiet else "blind")
    subject = SubjectState(
        hits=_after(subject.hits, end),
        last_opened_at=subject.last_opened_at,
        suppressed=subject.suppressed + held,
        forget_before=end,
        applied_at=at,
    )
    return subject, ended


def _gain(
    subject: SubjectState, roi: RoiRules, at: int, hit: Open, ended: Ended | None = None, changed: bool = False
) -> Verdict:
    """A hit without an episode: it is remembered, or begins one. ``changed``: an episode has just ended."""
    hits = subject.hits
    # Hits later than the event are there when it is judged again after a crash; they are not looked at.
    first = bisect_left(hits, at - roi.confirm_within_ms)
    last = bisect_left(hits, at)
    count = last - first + 1
    if count < roi.confirm_hits:
        known = last < len(hits) and hits[last] == at
        if changed:
            # The row must not say that it holds all of this event, or it could silence the hit should the bucket
            # be lost (see rules.state).
            subject = structs.replace(subject, applied_at=at - 1)
        if not known:
            gained = [*hits]
            insort(gained, at)
            kept = recent(tuple(gained))
            known = kept == hits  # a hit too old to be remembered beside newer ones
            subject = structs.replace(subject, hits=kept)
        return Verdict(subject, changed, remembered=not known, ended=ended)
    first_hit_at = hits[first] if first < last else at
    episode = Episode(first_hit_at, at, count, roi.resolve_after_ms)
    begun = structs.replace(subject, hits=_after(hits, at), forget_before=at)
    return _prolonged(begun, episode, roi, at, hit, ended)


def _prolong(subject: SubjectState, episode: Episode, roi: RoiRules, at: int, hit: Open) -> Verdict:
    """A hit within an episode."""
    longer = Episode(episode.first_hit_at, at, episode.hits + 1, roi.resolve_after_ms, episode.opening)
    return _prolonged(subject, longer, roi, at, hit, None)


def _prolonged(
    subject: SubjectState, episode: Episode, roi: RoiRules, at: int, hit: Open, ended: Ended | None
) -> Verdict:
    """The subject with this episode, which opens if it has not and the debounce window lets it."""
    last_opened_at, suppressed = subject.last_opened_at, subject.suppressed
    opened = None
    if episode.opening is None and (last_opened_at is None or at >= last_opened_at + roi.debounce_window_ms):
        opened = episode = structs.replace(episode, opening=hit(suppressed))
        last_opened_at, suppressed = at, 0
    subject = SubjectState(subject.hits, episode, last_opened_at, suppressed, subject.forget_before, at)
    return Verdict(subject, changed=True, ended=ended, opened=opened)


def _after(hits: tuple[int, ...], instant: int) -> tuple[int, ...]:
    return hits[bisect_left(hits, instant + 1) :] if hits else hits
