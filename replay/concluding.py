"""One sentence on a whole span: what opened, or why nothing did. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from msgspec import Struct, field

from replay.misses import seconds
from replay.telling import Change, Clock, counting_hits, plural
from schemas.messages import Alert

_REASONS: Final = {
    "outside": "outside the ROI",
    "overlap": "too little of the box inside",
    "confidence": "not confident enough",
    "inactive": "the ROI not active",
}


class Tally(Struct):
    """What a subject's events of a span came to. ``looked`` are those that its ROI could have been hit in."""

    events: int = 0
    skipped: int = 0
    late: int = 0
    looked: int = 0
    seen: int = 0
    hits: int = 0
    of_open: int = 0
    of_held: int = 0
    counted: int = 0
    nearest: tuple[int, int, int] = (0, 0, 0)
    misses: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def count(self, change: Change, *, late: bool) -> None:
        """One event more."""
        event, roi, looked = change.event, change.roi, change.look
        self.events += 1
        self.late += late
        self.skipped += event.skipped is not None
        self.seen += any(each.label == change.subject.label for each in event.detections)
        if late or roi is None or event.skipped is not None:
            return
        self.looked += 1
        if looked.miss is not None:
            self.misses[looked.miss.reasons] += 1
        if looked.hit is None:
            return
        self.hits += 1
        episode = change.after.episode
        if episode is None:
            self.counted += 1
            hits = counting_hits(change.after, roi, change.at)
            self.nearest = max(self.nearest, (hits, roi.confirm_hits, roi.confirm_within_ms))
        elif episode.opening is None:
            self.of_held += 1
        else:
            self.of_open += 1

    def conclusion(self, label: str, alerts: Sequence[Alert], clock: Clock, *, was_open: bool) -> str:
        """The sentence. ``alerts``: the subject's phases of the span. ``was_open``: one was open when it began."""
        opened = [alert for alert in alerts if alert.seq == 0]
        if opened:
            if len(opened) == 1:
                return f"Opened once: {clock(opened[0].opened_at)}."
            return (
                f"Opened {len(opened)} times, first {clock(opened[0].opened_at)}, last {clock(opened[-1].opened_at)}."
            )
        why = self._why_nothing(label)
        return f"Nothing opened{' beside the alert that was open already' if was_open else ''}: {why}."

    def _why_nothing(self, label: str) -> str:
        if not self.events:
            return "the camera has no event in the span"
        if self.late == self.events:
            return f"every event came late ({self.events})"
        if self.skipped == self.events - self.late:
            return f"nobody looked, every event was skipped ({self.skipped})"
        if not self.looked:
            return "no ROI document that held in the span judges it"
        if not self.hits:
            if not self.misses:
                return f"no {label} was seen in {plural(self.looked, 'event')}"
            why = ", ".join(
                f"{count} × {' and '.join(_REASONS[each] for each in reasons)}"
                for reasons, count in self.misses.most_common()
            )
            return f"{label} was seen in {plural(self.misses.total(), 'event')} and never was a hit ({why})"
        said = []
        if self.of_open:
            said.append(f"{plural(self.of_open, 'hit')} of an alert that was open")
        if self.of_held:
            said.append(f"{plural(self.of_held, 'hit')} of an episode that the debounce window held back")
        if self.counted:
            hits, needed, within = self.nearest
            said.append(f"{plural(self.counted, 'hit')}, never more than {hits} of {needed} within {seconds(within)}")
        return ", ".join(said)
