"""What one event did to one subject, in words: from the subject before and after, and what the event held. Pure."""

from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from replay.misses import Look, seconds, settings_in_words
from rules.engine import Document
from rules.state import Episode, Subject, SubjectState
from schemas.effective import RoiRules
from schemas.messages import Alert, DetectionEvent

Kind = Literal[
    "revision", "counting", "opened", "held", "further", "forgotten", "resolved", "ended", "miss", "skipped", "late",
    "unjudged", "floor",
]  # fmt: skip

Clock = Callable[[int], str]
"""How an instant is written."""

_SKIPS: Final = {
    "stale": "nobody looked: the frame was too old (stale)",
    "undecodable": "nobody looked: there was no picture in the frame (undecodable)",
    "offline": "nobody looked: the camera was away (offline)",
}
_REASONS: Final = {
    "quiet": "quiet: frames were looked at and showed none",
    "blind": "blind: no frame was looked at since",
}


class Telling(NamedTuple):
    """One thing to tell. Things with the same ``key`` may be told as one, with the words of the ``nearest``; None: it
    stands alone, and what is alike is told anew after it."""

    at: int
    kind: Kind
    words: str
    key: object = None
    nearest: float = 0.0
    alert_id: str | None = None


class Change(NamedTuple):
    """One judged event and what it made of the subject. ``roi`` None: the document does not have the subject."""

    event: DetectionEvent
    subject: Subject
    document: Document | None
    roi: RoiRules | None
    before: SubjectState
    after: SubjectState
    alerts: tuple[Alert, ...]
    look: Look

    @property
    def at(self) -> int:
        """The event's instant."""
        return self.event.captured_at

    @property
    def ended(self) -> Episode | None:
        """The episode that was over by this event."""
        was, now = self.before.episode, self.after.episode
        return None if was is None or (now is not None and now.first_hit_at == was.first_hit_at) else was

    def of_seq(self, seq: int) -> Alert | None:
        """The subject's alert of this phase, where the event brought one."""
        return next((each for each in self.alerts if each.seq == seq), None)


def tell(change: Change, clock: Clock) -> Iterator[Telling]:
    """What the event did, the end of an episode first."""
    if change.ended is not None:
        yield _end(change, change.ended, clock)
    if change.event.skipped is not None:
        yield Telling(change.at, "skipped", _SKIPS[change.event.skipped], change.event.skipped)
    elif change.look.miss is not None:
        miss = change.look.miss
        yield Telling(change.at, "miss", f"no hit: {miss.words}", miss.reasons, miss.nearness)
    elif change.look.hit is not None and change.roi is not None:
        yield _hit(change, change.roi, clock)


def tell_document(at: int, subject: Subject, document: Document | None) -> Telling:
    """By what the subject is judged from here on."""
    return Telling(at, "revision", _document_in_words(subject, document))


def tell_floor(at: int, roi: RoiRules, floor: float) -> Telling:
    """The record holds less than the ROI asks for."""
    words = f"the detector reported nothing under {floor:g} and {roi.name} asks for {roi.min_confidence:g}: "
    return Telling(at, "floor", words + "what lies between is not in the record")


def roi_of(document: Document | None, subject: Subject) -> RoiRules | None:
    """The subject's ROI, where the document judges the subject."""
    if document is None or subject not in document.place:
        return None
    return document.rois[document.place[subject] // len(document.rules.alert_classes)]


def state_in_words(kept: SubjectState, roi: RoiRules | None, at: int, clock: Clock) -> str:
    """How it stands with a subject before an instant: what may still matter."""
    said = []
    episode = kept.episode
    if episode is not None:
        opening = episode.opening
        said.append(
            f"{plural(episode.hits, 'hit')} held back since {clock(episode.first_hit_at)}"
            if opening is None
            else f"an alert is open since {clock(opening.opened_at)} [{opening.alert_id}]"
        )
        said.append(f"last hit {clock(episode.last_hit_at)}")
        if not lasts(kept, at):
            said.append(f"over at {clock(episode.last_hit_at + episode.resolve_after_ms)}, as the next event tells")
    if roi is not None:
        recent = [hit for hit in kept.hits if hit >= at - roi.confirm_within_ms]
        if recent:
            said.append(f"{plural(len(recent), 'hit')} remembered, the last of {clock(recent[-1])}")
        if kept.last_opened_at is not None and at < kept.last_opened_at + roi.debounce_window_ms:
            said.append(f"debounce window until {clock(kept.last_opened_at + roi.debounce_window_ms)}")
    if kept.suppressed:
        said.append(f"suppressed since the last alert: {kept.suppressed}")
    return ", ".join(said) or "nothing open, no hit that still counts"


def counting_hits(kept: SubjectState, roi: RoiRules, at: int) -> int:
    """How many remembered hits count towards an episode at a hit of this instant."""
    return sum(at - roi.confirm_within_ms <= hit <= at for hit in kept.hits)


def lasts(kept: SubjectState, at: int) -> bool:
    """Whether the subject's episode lasts until an instant: the engine learns of an end from the event after it."""
    return kept.episode is not None and kept.episode.last_hit_at + kept.episode.resolve_after_ms > at


def plural(count: int, word: str) -> str:
    """`1 hit`, `2 hits`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `11th`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _document_in_words(subject: Subject, document: Document | None) -> str:
    if document is None:
        return "no ROI document holds: nothing is judged"
    name = f"revision {document.revision}"
    if subject.roi not in {roi.name for roi in document.rois}:
        return f"{name} has no ROI {subject.roi}: not judged"
    if subject.label in document.rules.allowed_classes:
        return f"under {name} {subject.label} is in allowed_classes: never a hit"
    roi = roi_of(document, subject)
    if roi is None:
        return f"under {name} {subject.label} is not in alert_classes: never a hit"
    return f"judged by {name}: {settings_in_words(roi, subject.label)}"


def _end(change: Change, episode: Episode, clock: Clock) -> Telling:
    resolved = change.of_seq(1)
    gone = change.roi is None
    if resolved is None or resolved.resolved_at is None:
        end = change.at if change.roi is None else episode.last_hit_at + change.roi.resolve_after_ms
        words = (
            "the episode that was held back is forgotten: the revision does not judge it any more"
            if gone
            else f"the episode that was held back ends, {seconds(end - episode.last_hit_at)} after its last hit at "
            f"{clock(episode.last_hit_at)}, and never opened (suppressed: {change.before.suppressed + 1})"
        )
        return Telling(end, "ended", words)
    why = "revision: the ROI or label is gone" if gone else _REASONS[str(resolved.reason)]
    after = f"{seconds(resolved.resolved_at - episode.last_hit_at)} after the last hit at {clock(episode.last_hit_at)}"
    words = f"the alert resolves, {after} ({why})"
    return Telling(resolved.resolved_at, "resolved", words, alert_id=resolved.alert_id)


def _hit(change: Change, roi: RoiRules, clock: Clock) -> Telling:
    at, episode, was = change.at, change.after.episode, change.before.episode
    if episode is None:
        return _counting(change, roi, clock)
    first = clock(episode.first_hit_at)
    opened = change.of_seq(0)
    if opened is not None:
        tail = f"; suppressed before it: {opened.suppressed}" if opened.suppressed else ""
        if was is None or change.ended is not None:
            words = f"{_confirming(episode, roi, first)}: the alert opens{tail}"
        else:
            words = f"{ordinal(episode.hits)} hit of the episode held back since {first}, and the debounce window "
            words += f"is over: the alert opens{tail}"
        return Telling(at, "opened", words, alert_id=opened.alert_id)
    if episode.opening is not None:
        return Telling(at, "further", f"the alert stays open, {episode.hits} hits by then", "open", episode.hits)
    until = clock((change.after.last_opened_at or 0) + roi.debounce_window_ms)
    if was is None or change.ended is not None:
        words = f"{_confirming(episode, roi, first)}; held back by the debounce window until {until}"
        return Telling(at, "held", words)
    return Telling(at, "further", f"held back until {until}, {episode.hits} hits by then", "held", episode.hits)


def _counting(change: Change, roi: RoiRules, clock: Clock) -> Telling:
    at, hits = change.at, change.after.hits
    if at not in hits:
        return Telling(at, "forgotten", "a hit at the very instant at which an episode ends is forgotten with it")
    count = counting_hits(change.after, roi, at)
    words = f"{ordinal(count)} hit of {roi.confirm_hits} within {seconds(roi.confirm_within_ms)}"
    older = [hit for hit in hits if hit < at - roi.confirm_within_ms]
    if older:
        words += f"; the one of {clock(older[-1])}, {seconds(at - older[-1])} ago, no longer counts"
    return Telling(at, "counting", words, "counting", count)


def _confirming(episode: Episode, roi: RoiRules, first: str) -> str:
    words = f"{ordinal(episode.hits)} hit of {roi.confirm_hits} within {seconds(roi.confirm_within_ms)}"
    return words if episode.hits == 1 else f"{words} (the first at {first})"
